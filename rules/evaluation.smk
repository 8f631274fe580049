# Every system on every benchmark, one job each: a new benchmark or system reruns nothing that exists.


rule evaluate_system:
    """One system on one benchmark: run, values a query, metrics."""
    input:
        benchmark=benchmark_files,
        model=lambda wildcards: ([] if wildcards.system == "bm25" else encoder_folder(wildcards.system)),
    output:
        run="results/evaluation/{system}/{benchmark}/run.parquet",
        per_query="results/evaluation/{system}/{benchmark}/per_query.parquet",
        metrics="results/evaluation/{system}/{benchmark}/metrics.parquet",
    log:
        "logs/evaluate_system/{system}/{benchmark}.log",
    benchmark:
        "benchmarks/evaluate_system/{system}/{benchmark}.tsv"
    conda:
        "../envs/models.yaml"
    threads: MODEL_THREADS
    resources:
        gpu=GPUS_OF_A_JOB,
        mem_mb=16000,
        # How, not what: as a resource it reruns nothing.
        batch_size=CONFIG["evaluation"]["batch_size"],
    params:
        options=evaluation_options,
        model=system_of,
        folder=lambda wildcards: f"results/evaluation/{wildcards.system}/{wildcards.benchmark}",
    shell:
        "python -m biohicl --threads {threads} evaluate {params.model} resources/benchmarks/{wildcards.benchmark} "
        "--output {params.folder} {params.options} --batch-size {resources.batch_size} > {log} 2>&1"


rule summarize:
    """Every system on every benchmark, one table."""
    input:
        expand("results/evaluation/{evaluation}/metrics.parquet", evaluation=EVALUATIONS),
    output:
        "results/summary.parquet",
    log:
        "logs/summarize.log",
    benchmark:
        "benchmarks/summarize.tsv"
    conda:
        "../envs/tables.yaml"
    params:
        roles=json.dumps(ROLES),
    shell:
        "python -m biohicl summary {input} --roles {params.roles:q} --output {output} > {log} 2>&1"


rule evaluate:
    """The score table: models, their backbones and BM25 on the configured benchmarks."""
    input:
        "results/summary.parquet",
    localrule: True
