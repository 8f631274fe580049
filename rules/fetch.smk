# What comes from outside: listings of NLM's server, its files, benchmarks, backbones. All of it is fetched by the machine
# that runs Snakemake: a cluster's nodes often have no way out.


checkpoint list_pubmed:
    """Ask the server which files the release has; `snakemake refresh` asks again."""
    output:
        # Kept until the new one is written: its checksums need not be asked for again, nor is it lost if that fails.
        update("resources/pubmed/release.json"),
    log:
        "logs/list_pubmed.log",
    benchmark:
        "benchmarks/list_pubmed.tsv"
    localrule: True
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(500),
        runtime=60,
    params:
        # A function: what it returns is not searched for wildcards, so that a folder may have braces in its name.
        mirrors=lambda wildcards: CONFIG["pubmed"]["mirrors"],
        wanted=PUBMED_WANTED,
    shell:
        'python -m biohicl list-pubmed --mirrors "$PUBMED_MIRRORS" {params.wanted} --output {output} > {log} 2>&1'


checkpoint list_mesh:
    """Ask the server for the MeSH descriptor file."""
    output:
        update("resources/mesh/release.json"),
    log:
        "logs/list_mesh.log",
    benchmark:
        "benchmarks/list_mesh.tsv"
    localrule: True
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(500),
        runtime=60,
    params:
        mirrors=lambda wildcards: CONFIG["mesh"]["mirrors"],
        wanted=CONFIG["mesh"]["release"],
    shell:
        'python -m biohicl list-mesh --mirrors "$MESH_MIRRORS" --release {params.wanted} --output {output} > {log} 2>&1'


# Without a benchmark file: Snakemake takes it for an output, and would ask only once.
rule refresh:
    """Ask NLM's server again, record the answer, and print what is new; `all` then brings it in."""
    log:
        "logs/refresh.log",
    localrule: True
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(500),
        runtime=60,
    params:
        wanted=PUBMED_WANTED,
        mesh=CONFIG["mesh"]["release"],
    shell:
        """
        (
            python -m biohicl list-pubmed --mirrors "$PUBMED_MIRRORS" {params.wanted} --output resources/pubmed/release.json
            python -m biohicl list-mesh --mirrors "$MESH_MIRRORS" --release {params.mesh} --output resources/mesh/release.json
        ) 2>&1 | tee {log}
        """


rule fetch_pubmed:
    """One PubMed file, compared with NLM's MD5."""
    output:
        "resources/pubmed/{kind}/{file}.xml.gz",
    log:
        "logs/fetch_pubmed/{kind}/{file}.log",
    benchmark:
        "benchmarks/fetch_pubmed/{kind}/{file}.tsv"
    localrule: True
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(500),
        runtime=60,
        downloads=1,
    params:
        md5=md5_of_pubmed,
    shell:
        'python -m biohicl fetch-pubmed --mirrors "$PUBMED_MIRRORS" --kind {wildcards.kind} --name {wildcards.file} '
        "--output {output} > {log} 2>&1"


rule fetch_mesh:
    """The MeSH descriptor file, and its hash."""
    output:
        file="resources/mesh/{mesh}.gz",
        # Kept until the new one is written, so that the log says when the hash changed.
        sha256=update("resources/mesh/{mesh}.gz.sha256"),
    log:
        "logs/fetch_mesh/{mesh}.log",
    benchmark:
        "benchmarks/fetch_mesh/{mesh}.tsv"
    localrule: True
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(500),
        runtime=60,
        downloads=1,
    params:
        issue=issue_of_mesh,
    shell:
        'python -m biohicl fetch-mesh --mirrors "$MESH_MIRRORS" --name {wildcards.mesh} --output {output.file} > {log} 2>&1'


# What cannot be had is no failure: the tables are empty, and say why, and the terminal is told at once. Each run tries
# again (`attempt`).
rule fetch_benchmark:
    """A retrieval benchmark: documents, and queries with judgements of its two splits."""
    output:
        # Kept until they are made anew: where that fails, they stay.
        documents=update("resources/benchmarks/{benchmark}/documents.parquet"),
        queries=update("resources/benchmarks/{benchmark}/test/queries.parquet"),
        qrels=update("resources/benchmarks/{benchmark}/test/qrels.parquet"),
        development_queries=update("resources/benchmarks/{benchmark}/development/queries.parquet"),
        development_qrels=update("resources/benchmarks/{benchmark}/development/qrels.parquet"),
        record=update("resources/benchmarks/{benchmark}/benchmark.json"),
    log:
        "logs/fetch_benchmark/{benchmark}.log",
    benchmark:
        "benchmarks/fetch_benchmark/{benchmark}.tsv"
    wildcard_constraints:
        benchmark=one_of(name for name in RETRIEVAL_BENCHMARKS if name not in TRAINABLE_BENCHMARKS),
    # Before anything long begins.
    priority: 100
    localrule: True
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=120,
        downloads=1,
    params:
        settings=source_of_benchmark,
        # Not in the command: where it changes, the job runs again.
        own_files=own_files_of_benchmark,
        folder=lambda wildcards: f"resources/benchmarks/{wildcards.benchmark}",
        attempt=attempt("resources/benchmarks/{benchmark}"),
    shell:
        "python -m biohicl fetch-benchmark --name {wildcards.benchmark} --settings {params.settings:q} "
        "--lock resources/lock.json --attempt {params.attempt} --output {params.folder} > {log} 2>&1 && {{ grep 'left out: ' {log} >&2 || true; }}"


use rule fetch_benchmark as fetch_trainable_benchmark with:
    """A retrieval benchmark with a third split, which may be trained on."""
    output:
        documents=update("resources/benchmarks/{benchmark}/documents.parquet"),
        queries=update("resources/benchmarks/{benchmark}/test/queries.parquet"),
        qrels=update("resources/benchmarks/{benchmark}/test/qrels.parquet"),
        development_queries=update("resources/benchmarks/{benchmark}/development/queries.parquet"),
        development_qrels=update("resources/benchmarks/{benchmark}/development/qrels.parquet"),
        training_queries=update("resources/benchmarks/{benchmark}/training/queries.parquet"),
        training_qrels=update("resources/benchmarks/{benchmark}/training/qrels.parquet"),
        record=update("resources/benchmarks/{benchmark}/benchmark.json"),
    wildcard_constraints:
        benchmark=one_of(TRAINABLE_BENCHMARKS),


use rule fetch_benchmark as fetch_pairs with:
    """Pairs of sentences, and how similar people found them."""
    output:
        pairs=update("resources/benchmarks/{benchmark}/pairs.parquet"),
        record=update("resources/benchmarks/{benchmark}/benchmark.json"),
    wildcard_constraints:
        benchmark=one_of(PAIR_BENCHMARKS),


rule fetch_backbone:
    """A text encoder, from the hub or a folder; pooling, length and instructions written into it."""
    output:
        directory("resources/backbones/{backbone}"),
    log:
        "logs/fetch_backbone/{backbone}.log",
    benchmark:
        "benchmarks/fetch_backbone/{backbone}.tsv"
    priority: 100
    localrule: True
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=240,
        downloads=1,
    params:
        settings=source_of_backbone,
        optional=lambda wildcards: "--optional" if wildcards.backbone in CONFIG["peers"] else "",
        attempt=attempt("resources/backbones/{backbone}"),
    shell:
        "python -m biohicl fetch-backbone --name {wildcards.backbone} --settings {params.settings:q} {params.optional} "
        "--lock resources/lock.json --attempt {params.attempt} --output {output} > {log} 2>&1 && {{ grep 'left out: ' {log} >&2 || true; }}"
