# Which label weighting is right: a study of its own, not part of `all`.

import shlex


def screening_table(wildcards):
    """The table of label_study.screening; no input where there is none."""
    path = CONFIG["label_study"]["screening"]
    if path and not Path(path).is_file():
        sys.exit(f"Configuration error: label_study.screening: {path}: no such file")
    return path or []


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
        screening=lambda wildcards, input: f"--screening {shlex.quote(str(input.screening))}" if input.screening else "",
    shell:
        "python -m biohicl --threads {threads} label-study --release {params.release} --pubmed results/pubmed "
        "--label-counts {input.counts} {params.screening} --settings {params.settings:q} --output results/label_study > {log} 2>&1 "
        "&& cat results/label_study/auc.txt"
