# Models for others: cards, and ONNX.


rule export_onnx:
    """A model as ONNX, checked against itself."""
    input:
        "results/models/{node}",
    output:
        directory("results/onnx/{node}"),
    log:
        "logs/export_onnx/{node}.log",
    benchmark:
        "benchmarks/export_onnx/{node}.tsv"
    wildcard_constraints:
        node=one_of(name for name in CONFIG["nodes"] if name not in nodes_by("encode")),
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=16000,
    shell:
        "python -m biohicl --threads {threads} export-onnx {input} --output {output} > {log} 2>&1"


rule onnx:
    """results/onnx/<node>: the models as ONNX, with pooling and normalisation inside. Not part of all."""
    input:
        expand("results/onnx/{node}", node=CONFIG["models"]),
    localrule: True
