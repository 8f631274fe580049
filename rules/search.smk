# The index that `biohicl search` and `biohicl serve` look in. Its parts are functions of one PubMed file (and the
# model); which records are current is written beside them, so that an update makes the parts of its own file alone.


rule index_texts:
    """What the search shows, filters and ranks by words, of one PubMed file's records."""
    input:
        articles="results/pubmed/articles/{file}.parquet",
        headings="results/pubmed/mesh_headings/{file}.parquet",
    output:
        records="results/texts/{file}.records.arrow",
        postings="results/texts/{file}.postings.safetensors",
    log:
        "logs/index_texts/{file}.log",
    benchmark:
        "benchmarks/index_texts/{file}.tsv"
    conda:
        # bm25s is there.
        "../envs/models.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=30,
    params:
        way=TEXTS_WAY,
    shell:
        "python -m biohicl --threads {threads} index-texts {input.articles} --mesh-headings {input.headings} "
        "--records {output.records} --postings {output.postings} > {log} 2>&1"


rule index_vectors:
    """The vectors of one PubMed file's records, current or not; a killed job goes on where it was."""
    input:
        articles="results/pubmed/articles/{file}.parquet",
        encoder=encoder_folder(INDEXED),
    output:
        # Kept until it is made anew: of the same texts nothing is encoded again.
        update(f"results/index/{INDEXED}/{STORAGE}/{{file}}.safetensors"),
    log:
        f"logs/index_vectors/{INDEXED}/{STORAGE}/{{file}}.log",
    benchmark:
        f"benchmarks/index_vectors/{INDEXED}/{STORAGE}/{{file}}.tsv"
    conda:
        "../envs/models.yaml"
    threads: MODEL_THREADS
    resources:
        mem_mb=memory_of_model("encoder", 4000, copies=2),
        # An H200 takes 20 seconds, two cores three hours.
        runtime=15 if HAS_GPU else 240,
        gpu=GPUS_OF_A_JOB,
        # How, not what: as a resource it reruns nothing.
        batch_size=CONFIG["evaluation"]["batch_size"],
    params:
        storage=STORAGE,
        task=task_option(INDEXED, CONFIG["index"]["task"]),
        precision=precision_option(CONFIG["evaluation"]),
    shell:
        "python -m biohicl --threads {threads} index-vectors {input.encoder} {input.articles} --storage {params.storage} "
        "{params.task} {params.precision} --batch-size {resources.batch_size} --output {output} > {log} 2>&1"


rule write_index:
    """Which records are current, and what the index consists of."""
    input:
        indexed("results/texts/{file}.postings.safetensors"),
        indexed(f"results/index/{INDEXED}/{STORAGE}/{{file}}.safetensors"),
        model=encoder_folder(INDEXED),
        current="results/corpus/current.parquet",
        tuned=f"results/development/{INDEXED}/hybrids.json",
        record=ancient("resources/pubmed/release.json"),
    output:
        f"results/index/{INDEXED}/index.safetensors",
    log:
        f"logs/write_index/{INDEXED}.log",
    benchmark:
        f"benchmarks/write_index/{INDEXED}.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        vectors=f"results/index/{INDEXED}/{STORAGE}",
        task=task_option(INDEXED, CONFIG["index"]["task"]),
        bm25="--bm25-k1 {k1} --bm25-b {b}".format(**CONFIG["evaluation"]["bm25"]),
    shell:
        "python -m biohicl index --model {input.model} --current {input.current} --release {input.record} "
        "--vectors {params.vectors} --texts . --tuned {input.tuned} {params.task} {params.bm25} --output {output} "
        "> {log} 2>&1"


rule index:
    """results/index/<model>: what biohicl search and biohicl serve look in. Not part of all."""
    input:
        f"results/index/{INDEXED}/index.safetensors",
        # Its parts, so that what was lost is made again: Snakemake asks for the inputs of targets alone.
        indexed("results/texts/{file}.records.arrow"),
        indexed("results/texts/{file}.postings.safetensors"),
        indexed(f"results/index/{INDEXED}/{STORAGE}/{{file}}.safetensors"),
        "results/mesh/hierarchy.parquet",
        "results/mesh/terms.parquet",
    localrule: True
