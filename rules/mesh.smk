# MeSH's XML to tables, and the hierarchy.


rule parse_mesh:
    """The descriptor file to its tables."""
    input:
        mesh_file,
    output:
        expand("results/mesh/{table}.parquet", table=MESH_TABLES),
    log:
        "logs/parse_mesh.log",
    benchmark:
        "benchmarks/parse_mesh.tsv"
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=30,
    params:
        schema=MESH_SCHEMA,
    shell:
        "python -m biohicl --threads {threads} parse-mesh {input} --output results/mesh > {log} 2>&1"


rule hierarchy:
    """Parents, ancestors, depth and information content of each descriptor, and what is odd in the tree."""
    input:
        "results/mesh/descriptors.parquet",
        "results/mesh/tree_numbers.parquet",
    output:
        hierarchy="results/mesh/hierarchy.parquet",
        anomalies="results/mesh/anomalies.parquet",
        graph="results/mesh/descriptors.graphml",
    log:
        "logs/hierarchy.log",
    benchmark:
        "benchmarks/hierarchy.tsv"
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=30,
    params:
        schema=MESH_SCHEMA,
    shell:
        "python -m biohicl --threads {threads} hierarchy --mesh results/mesh --output {output.hierarchy} "
        "--anomalies {output.anomalies} --graph {output.graph} > {log} 2>&1"


rule mesh:
    """MeSH as tables: descriptors, concepts, terms, tree numbers, hierarchy, anomalies and more; and as a graph."""
    input:
        expand("results/mesh/{table}.parquet", table=MESH_TABLES),
        rules.hierarchy.output,
    localrule: True
