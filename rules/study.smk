# Which label weighting is right: a study of its own, not part of `all`.


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
        "results/label_study/auc.svg",
        "results/label_study/auc.txt",
    log:
        "logs/label_study.log",
    benchmark:
        "benchmarks/label_study.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 4
    resources:
        mem_mb=16000,
    params:
        release=lambda wildcards: TRAINING_RELEASE,
        settings=lambda wildcards: as_json({**CONFIG["label_study"], "screening": None}),
        screening=screening_option,
    shell:
        "python -m biohicl --threads {threads} label-study --release {params.release} --pubmed results/pubmed "
        "--label-counts {input.counts} {params.screening} --settings {params.settings:q} --output results/label_study > {log} 2>&1 "
        "&& cat results/label_study/auc.txt"
