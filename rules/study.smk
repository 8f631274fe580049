# Studies of their own, not part of `all`: which label weighting is right, and what each part of a recipe is worth.


rule label_study:
    """results/label_study: how well each label weighting tells related citations from unrelated ones."""
    input:
        citations=f"{TRAINING_RELEASE}/citations.parquet",
        hierarchy=f"{TRAINING_RELEASE}/hierarchy.parquet",
        record=f"{TRAINING_RELEASE}/release.json",
        counts=LABEL_COUNTS,
        screening=screening_table,
    output:
        expand("results/label_study/{table}.parquet", table=["auc", "units", "zeros"]),
        report("results/label_study/auc.svg", caption="../workflow/report/label_study.rst", category="Studies"),
        "results/label_study/auc.txt",
    log:
        "logs/label_study.log",
    benchmark:
        "benchmarks/label_study.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 4
    resources:
        mem_mb=memory(16000),
        runtime=240,
    params:
        release=lambda wildcards: TRAINING_RELEASE,
        settings=lambda wildcards: as_json({**CONFIG["label_study"], "screening": None}),
        screening=screening_option,
    shell:
        "python -m biohicl --threads {threads} label-study --release {params.release} --pubmed results/pubmed "
        "--label-counts {input.counts} {params.screening} --settings {params.settings:q} --output results/label_study > {log} 2>&1 "
        "&& cat results/label_study/auc.txt"


# Each training is a node like any other: what is finished stays, and a new level trains itself alone.
rule ablations:
    """results/ablations: what each part of a recipe is worth, over several seeds."""
    input:
        comparable_cells,
        per_query=expand(
            "results/development/{node}/{benchmark}/per_query.parquet",
            node=ABLATION_NODES,
            benchmark=CONFIG["development"]["retrieval"],
        ),
        pairs=expand(
            "results/development/{node}/{benchmark}/metrics.parquet",
            node=ABLATION_NODES,
            benchmark=CONFIG["development"]["similarity"],
        ),
        nodes=expand("results/models/{node}", node=ABLATION_NODES),
    output:
        expand("results/ablations/{table}.parquet", table=["ablations", "trainings"]),
        "results/ablations/ablations.svg",
        "results/ablations/ablations.txt",
    log:
        "logs/ablations.log",
    benchmark:
        "benchmarks/ablations.tsv"
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        cells=lambda wildcards: as_json(ABLATIONS, sort_keys=False),
        retrieval=CONFIG["development"]["retrieval"],
        similarity=CONFIG["development"]["similarity"],
    shell:
        "python -m biohicl ablations --cells {params.cells:q} --scores results/development --models results/models "
        "--retrieval {params.retrieval} --similarity {params.similarity} --output results/ablations > {log} 2>&1 "
        "&& cat results/ablations/ablations.txt"
