# Models for others: cards, and ONNX.


# README.md and checksums.sha256 go into the model's folder, which is another rule's output: the copy is what Snakemake
# knows. It dates the folder by a file that this leaves alone.
rule describe_node:
    """A model's card and the checksums of its files, in its folder; the card again in results/model_cards."""
    input:
        model="results/models/{node}",
        nodes=lambda wildcards: [
            f"results/models/{name}"
            for name in configuration.ancestry_of(CONFIG, wildcards.node)
            if name != wildcards.node and name not in nodes_by("encode")
        ],
        backbone=lambda wildcards: encoder_folder(configuration.chain_of(CONFIG, wildcards.node)[-1]),
        record=f"{TRAINING_RELEASE}/release.json",
        selections=lambda wildcards: expand(
            "results/training/selections/{selection}.parquet",
            selection=configuration.selections_of(CONFIG, wildcards.node),
        ),
        excluded=lambda wildcards: expand(
            "results/training/excluded/{selection}.parquet",
            selection=trained_on(wildcards.node, [*CITATIONS, *PAIRS]),
        ),
        overlaps=overlaps_of_model,
        scores=lambda wildcards: (
            expand("results/{table}.parquet", table=["summary", "seeds", "left_out"])
            if wildcards.node in CONFIG["models"]
            else []
        ),
    output:
        "results/model_cards/{node}.md",
    log:
        "logs/describe_node/{node}.log",
    benchmark:
        "benchmarks/describe_node/{node}.tsv"
    wildcard_constraints:
        node=one_of(name for name in CONFIG["nodes"] if name not in nodes_by("encode")),
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=30,
    params:
        # A function: its braces are no wildcards.
        about=lambda wildcards: as_json(about_model(wildcards.node)),
        release=lambda wildcards: TRAINING_RELEASE,
        summary=lambda wildcards, input: options_of({"--summary": input.scores and input.scores[0]}),
    shell:
        "python -m biohicl describe {input.model} --about {params.about:q} --nodes {input.nodes} "
        "--backbone {input.backbone} --release {params.release} --selections {input.selections} "
        "--excluded {input.excluded} --overlaps {input.overlaps} {params.summary} "
        "--times benchmarks/train_node --logs results/training/checkpoints --lock resources/lock.json "
        "--output {output} > {log} 2>&1"


rule model_cards:
    """results/model_cards/<node>.md: what each model is, how it was made, what it scores. In its folder too."""
    input:
        expand("results/model_cards/{node}.md", node=CONFIG["models"]),
    localrule: True


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
        mem_mb=memory(8000),
        runtime=60,
    shell:
        "python -m biohicl --threads {threads} export-onnx {input} --output {output} > {log} 2>&1"


rule onnx:
    """results/onnx/<node>: the models as ONNX, with pooling and normalisation inside. Not part of all."""
    input:
        expand("results/onnx/{node}", node=CONFIG["models"]),
    localrule: True
