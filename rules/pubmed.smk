# PubMed's XML to tables, one job a file, and the current record of each citation.


rule parse_pubmed:
    """One PubMed file to its tables."""
    input:
        raw_file,
    output:
        articles="results/pubmed/articles/{file}.parquet",
        mesh_headings="results/pubmed/mesh_headings/{file}.parquet",
        deleted="results/pubmed/deleted/{file}.parquet",
        quarantine="results/pubmed/quarantine/{file}.parquet",
    log:
        "logs/parse_pubmed/{file}.log",
    benchmark:
        "benchmarks/parse_pubmed/{file}.tsv"
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=30,
    params:
        schema=PUBMED_SCHEMA,
        # The file may be gone once it is parsed; where another one has its name, it is fetched again.
        md5=md5_of_pubmed,
    shell:
        "python -m biohicl --threads {threads} parse-pubmed {input} --articles {output.articles} "
        "--mesh-headings {output.mesh_headings} --deleted {output.deleted} --quarantine {output.quarantine} "
        "$PARSE_OPTIONS > {log} 2>&1"


rule merge_citations:
    """The current record of each citation: latest version, deletes applied."""
    input:
        tables("articles", "deleted", "quarantine"),
        release=ancient("resources/pubmed/release.json"),
    output:
        current="results/corpus/current.parquet",
        anomalies="results/corpus/anomalies.parquet",
    log:
        "logs/merge_citations.log",
    benchmark:
        "benchmarks/merge_citations.tsv"
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=60,
    params:
        schema=PUBMED_SCHEMA,
        sequence=f"{PUBMED_NUMBERS} {STRICT_SEQUENCE}",
        skip_bad=os.environ["PARSE_OPTIONS"],
    # The log's warnings are shown too.
    shell:
        "python -m biohicl --threads {threads} corpus --release {input.release} --pubmed results/pubmed "
        "--output {output.current} --anomalies {output.anomalies} {params.sequence} "
        "{params.skip_bad} > {log} 2>&1 "
        "&& (grep '^warning: ' {log} >&2 || true)"


rule describe_corpus:
    """What the corpus is: citations by year, language, number of headings and category of the tree."""
    input:
        # Newer whenever an article's table is: listed too, 1,600 files would be looked up once more.
        current="results/corpus/current.parquet",
        hierarchy="results/mesh/hierarchy.parquet",
    output:
        "results/corpus/description.parquet",
    log:
        "logs/describe_corpus.log",
    benchmark:
        "benchmarks/describe_corpus.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 2
    resources:
        mem_mb=memory(2000),
        runtime=60,
    params:
        schema=PUBMED_SCHEMA,
    shell:
        "python -m biohicl --threads {threads} describe-corpus --current {input.current} --pubmed results/pubmed "
        "--hierarchy {input.hierarchy} --output {output} > {log} 2>&1"


rule corpus:
    """PubMed as tables: articles, headings, deletes, and the current record of each citation."""
    input:
        tables("articles", "mesh_headings", "deleted", "quarantine"),
        "results/corpus/current.parquet",
        "results/corpus/anomalies.parquet",
    localrule: True
