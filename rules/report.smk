# What people look at: the report page and the DuckDB catalog.


rule write_report:
    """The report page, its figures, and the score table as CSV."""
    input:
        summary="results/summary.parquet",
        beside=expand("results/{table}.parquet", table=["variants", "seeds", "left_out"]),
        excluded=expand("results/training/excluded/{selection}.parquet", selection=COMPARED_SELECTIONS),
        overlaps=expand(
            "results/training/overlap/{selection}/{benchmark}.parquet",
            selection=COMPARED_SELECTIONS,
            benchmark=BENCHMARKS,
        ),
        similarities=expand("results/similarities/{node}.parquet", node=LABELLED),
        nodes=expand("results/models/{node}", node=NODES),
        current="results/corpus/current.parquet",
        description="results/corpus/description.parquet",
        hierarchy="results/mesh/hierarchy.parquet",
        corpus_anomalies="results/corpus/anomalies.parquet",
        mesh_anomalies="results/mesh/anomalies.parquet",
        record=ancient("resources/pubmed/release.json"),
    output:
        page=report("results/report.html", caption="../workflow/report/page.rst", category="Report"),
        scores=report("results/scores.csv", caption="../workflow/report/scores.rst", category="Report"),
        figures=report(
            directory("results/figures"),
            patterns=["{figure}.svg"],
            caption="../workflow/report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        "logs/write_report.log",
    benchmark:
        "benchmarks/write_report.tsv"
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        # What was run beside `all`: shown where it is there, made for nobody.
        beside=options_of({f"--{name}": table for name, table in BESIDE.items() if name in ON_THE_PAGE}),
        beside_is=digests_of(BESIDE[name] for name in ON_THE_PAGE if name in BESIDE),
    shell:
        "python -m biohicl report --summary {input.summary} --nodes {input.nodes} --current {input.current} "
        "--description {input.description} --anomalies {input.corpus_anomalies} --pubmed results/pubmed "
        "--mesh results/mesh --pubmed-record {input.record} --excluded {input.excluded} --overlaps {input.overlaps} "
        "--similarities {input.similarities} {params.beside} --output {output.page} --scores {output.scores} "
        "--figures {output.figures} > {log} 2>&1"


rule report:
    """results/report.html: scores, trainings, studies, corpus, hierarchy, and how all of it was made."""
    input:
        rules.write_report.output,
        "results/corpus/description.parquet",
    localrule: True


rule write_catalog:
    """The DuckDB catalog: a view for every table, over explicit lists of files."""
    input:
        expand(
            "results/mesh/{table}.parquet",
            table=[*MESH_TABLES, "hierarchy", "anomalies"],
        ),
        expand("results/training/selections/{selection}.parquet", selection=TRAINED_ON),
        expand("results/training/excluded/{selection}.parquet", selection=COMPARED_SELECTIONS),
        expand(
            "results/training/{table}/{selection}.parquet",
            table=["labels", "unknown_headings"],
            selection=SELECTIONS + CONCEPT_SELECTIONS,
        ),
        expand(
            "results/training/queries/{selection}.parquet",
            selection=CONCEPT_SELECTIONS + PAIR_SELECTIONS + QUERIED,
        ),
        f"{TRAINING_RELEASE}/hierarchy.parquet",
        COUNTED,
        expand("results/models/{node}", node=TRAINED),
        expand("results/similarities/{node}.parquet", node=LABELLED),
        expand("results/evaluation/{evaluation}/run.parquet", evaluation=EVALUATIONS),
        expand("results/evaluation/{evaluation}/metrics.parquet", evaluation=EVALUATIONS),
        expand("results/evaluation/{evaluation}/per_query.parquet", evaluation=evaluations("retrieval")),
        expand("results/development/{developed}/metrics.parquet", developed=DEVELOPED),
        expand(
            "results/comparisons/{benchmark}/{table}.parquet",
            benchmark=BENCHMARKS,
            table=["estimates", "differences", "rank_changes", "seeds"],
        ),
        expand(
            "results/training/overlap/{selection}/{benchmark}.parquet",
            selection=COMPARED_SELECTIONS,
            benchmark=BENCHMARKS,
        ),
        expand("resources/benchmarks/{benchmark}/benchmark.json", benchmark=BENCHMARKS),
        "results/corpus/current.parquet",
        "results/corpus/anomalies.parquet",
        "results/corpus/description.parquet",
        expand("results/{table}.parquet", table=["summary", "variants", "seeds", "left_out"]),
        record=ancient("resources/pubmed/release.json"),
    output:
        "results/biohicl.duckdb",
    log:
        "logs/write_catalog.log",
    benchmark:
        "benchmarks/write_catalog.tsv"
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=30,
    params:
        names=catalog_names(),
        # What was run beside `all`: shown where it is there, made for nobody.
        beside=f"--beside {' '.join(f'{name}={path}' for name, path in BESIDE.items())}" if BESIDE else "",
    shell:
        "python -m biohicl catalog --record {input.record} {params.names} {params.beside} --output {output} > {log} 2>&1"


rule catalog:
    """results/biohicl.duckdb: every table as a view; biohicl sql asks it."""
    input:
        "results/biohicl.duckdb",
    localrule: True
