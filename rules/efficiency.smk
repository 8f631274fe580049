# What each system costs on this machine. Measured one after the other, each with all cores, and beside `all`: times are no
# results that a workflow can repeat.


rule measure_encoder:
    """Size, pace, latency and memory of one encoder."""
    input:
        encoder=lambda wildcards: encoder_folder(wildcards.system),
        vectors=f"results/vectors/{{system}}/{TIMED_ON}/documents.npy",
        tables=timed_tables,
    output:
        "results/efficiency/{device}/{system}.parquet",
    log:
        "logs/measure/{device}/{system}.log",
    benchmark:
        "benchmarks/measure/{device}/{system}.tsv"
    wildcard_constraints:
        system=one_of(DENSE),
    conda:
        "../envs/models.yaml"
    # All of them: nothing else runs meanwhile.
    threads: all_cores
    resources:
        mem_mb=memory_of_model("encoder", 4000, copies=2),
        runtime=120,
        gpu=lambda wildcards: 1 if wildcards.device == "cuda" else 0,
        batch_size=CONFIG["evaluation"]["batch_size"],
    params:
        counts=efficiency_options(),
        task=lambda wildcards: task_on(wildcards.system, TIMED_ON),
        benchmark=lambda wildcards: f"resources/benchmarks/{TIMED_ON}",
        precision=precision_option(CONFIG["evaluation"]),
    shell:
        "python -m biohicl --threads {threads} measure {input.encoder} --system {wildcards.system} "
        "--benchmark {params.benchmark} --vectors {input.vectors} {params.counts} {params.task} --device {wildcards.device} "
        "{params.precision} --batch-size {resources.batch_size} --output {output} > {log} 2>&1"


rule measure_lexical:
    """The same of BM25."""
    input:
        timed_tables,
    output:
        "results/efficiency/cpu/bm25.parquet",
    log:
        "logs/measure/cpu/bm25.log",
    benchmark:
        "benchmarks/measure/cpu/bm25.tsv"
    conda:
        "../envs/models.yaml"
    threads: all_cores
    resources:
        mem_mb=memory(8000),
        runtime=60,
    params:
        counts=efficiency_options(),
        benchmark=lambda wildcards: f"resources/benchmarks/{TIMED_ON}",
        settings="--bm25-k1 {k1} --bm25-b {b}".format(**CONFIG["evaluation"]["bm25"]),
    shell:
        "python -m biohicl --threads 1 measure bm25 --system bm25 --benchmark {params.benchmark} {params.counts} "
        "{params.settings} --output {output} > {log} 2>&1"


rule efficiency:
    """results/efficiency.parquet and .txt: what each system costs on this machine. Not part of all."""
    input:
        expand("results/efficiency/{timed}.parquet", timed=TIMED),
    output:
        table="results/efficiency.parquet",
        text="results/efficiency.txt",
    log:
        "logs/efficiency.log",
    benchmark:
        "benchmarks/efficiency.tsv"
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=30,
    shell:
        "python -m biohicl efficiency {input} --output {output.table} --text {output.text} > {log} 2>&1"
