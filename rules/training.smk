# Training: a frozen release, selections drawn from it, their tokens and labels, and the nodes.
#
# A release that exists has no rule: it is a source like any other, so that no update of the corpus, no new MeSH
# and no other mirror can freeze it anew and retrain. (ancient() alone does not keep that promise where a
# checkpoint runs in between.) Naming a new training.release in config.yaml is how one asks for newer data.

if not IS_FROZEN:

    rule freeze_release:
        """The corpus and the hierarchy as they are now, under a name."""
        input:
            current="results/corpus/current.parquet",
            hierarchy="results/mesh/hierarchy.parquet",
            terms="results/mesh/terms.parquet",
            scope_notes="results/mesh/scope_notes.parquet",
            allowed_qualifiers="results/mesh/allowed_qualifiers.parquet",
            mesh_record=ancient("resources/mesh/release.json"),
        output:
            citations=f"{TRAINING_RELEASE}/citations.parquet",
            hierarchy=f"{TRAINING_RELEASE}/hierarchy.parquet",
            terms=TERMS,
            optional=[f"{TRAINING_RELEASE}/{name}.parquet" for name in OPTIONAL_TABLES],
            record=f"{TRAINING_RELEASE}/release.json",
        log:
            "logs/freeze_release.log",
        benchmark:
            "benchmarks/freeze_release.tsv"
        conda:
            "../envs/tables.yaml"
        resources:
            mem_mb=memory(1000),
            runtime=60,
        params:
            folder=lambda wildcards: TRAINING_RELEASE,
        shell:
            "python -m biohicl freeze --current {input.current} --hierarchy {input.hierarchy} --terms {input.terms} "
            "--scope-notes {input.scope_notes} --allowed-qualifiers {input.allowed_qualifiers} "
            "--mesh-record {input.mesh_record} --output {params.folder} > {log} 2>&1"


# The articles that the release refers to are no input: they are there when it is frozen, and are not asked of
# NLM again once its listing has moved on. Where one was deleted, the command says which, and what to do.
rule select:
    """The citations to train on, with text and headings."""
    input:
        citations=f"{TRAINING_RELEASE}/citations.parquet",
        record=f"{TRAINING_RELEASE}/release.json",
        # What they hold decides, not when they came (texts_of_selection).
        excluded=ancient(excluded_texts),
    output:
        selection="results/training/selections/{selection}.parquet",
        excluded="results/training/excluded/{selection}.parquet",
    log:
        "logs/select/{selection}.log",
    benchmark:
        "benchmarks/select/{selection}.tsv"
    wildcard_constraints:
        selection=one_of(CITATIONS),
    conda:
        "../envs/tables.yaml"
    threads: 4
    resources:
        mem_mb=memory(4000),
        runtime=120,
    params:
        release=lambda wildcards: TRAINING_RELEASE,
        settings=settings_of_citations,
        given=texts_of_selection,
    shell:
        "python -m biohicl --threads {threads} select --release {params.release} --pubmed results/pubmed "
        "--settings {params.settings:q} --benchmarks resources/benchmarks {params.given} --excluded {output.excluded} "
        "--output {output.selection} > {log} 2>&1"


rule select_concepts:
    """MeSH descriptors with texts that describe them, and their names as queries."""
    input:
        hierarchy=f"{TRAINING_RELEASE}/hierarchy.parquet",
        terms=terms_for_concepts,
        optional=optional_tables,
    output:
        selection="results/training/selections/{selection}.parquet",
        queries="results/training/queries/{selection}.parquet",
    log:
        "logs/select_concepts/{selection}.log",
    benchmark:
        "benchmarks/select_concepts/{selection}.tsv"
    wildcard_constraints:
        selection=one_of(CONCEPTS),
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=30,
    params:
        release=lambda wildcards: TRAINING_RELEASE,
        settings=lambda wildcards: as_json(CONCEPTS[wildcards.selection]),
    shell:
        "python -m biohicl --threads {threads} select-concepts --release {params.release} "
        "--settings {params.settings:q} --queries {output.queries} --output {output.selection} > {log} 2>&1"


rule select_pairs:
    """Documents with labelled queries, of benchmarks and of files of JSON lines."""
    input:
        # What they hold decides, not when they came (texts_of_selection).
        excluded=ancient(excluded_texts),
        benchmarks=ancient(trained_texts),
        files=lambda wildcards: PAIRS[wildcards.selection]["files"],
    output:
        selection="results/training/selections/{selection}.parquet",
        queries="results/training/queries/{selection}.parquet",
        excluded="results/training/excluded/{selection}.parquet",
    log:
        "logs/select_pairs/{selection}.log",
    benchmark:
        "benchmarks/select_pairs/{selection}.tsv"
    wildcard_constraints:
        selection=one_of(PAIRS),
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        settings=lambda wildcards: as_json(PAIRS[wildcards.selection]),
        tasks=tasks_of_benchmarks,
        given=texts_of_selection,
    shell:
        "python -m biohicl --threads {threads} select-pairs --benchmarks resources/benchmarks "
        "--settings {params.settings:q} --tasks {params.tasks:q} {params.given} --queries {output.queries} "
        "--excluded {output.excluded} --output {output.selection} > {log} 2>&1"


rule synthesize:
    """Queries cut out of the citations of a selection: conclusions and sections."""
    input:
        selection="results/training/selections/{selection}.parquet",
        citations=f"{TRAINING_RELEASE}/citations.parquet",
        record=f"{TRAINING_RELEASE}/release.json",
    output:
        "results/training/queries/{selection}.parquet",
    log:
        "logs/synthesize/{selection}.log",
    benchmark:
        "benchmarks/synthesize/{selection}.tsv"
    wildcard_constraints:
        selection=one_of(CITATIONS),
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=120,
    params:
        release=lambda wildcards: TRAINING_RELEASE,
        task=task_of_selection,
    shell:
        "python -m biohicl --threads {threads} synthesize --selection {input.selection} --release {params.release} "
        "--pubmed results/pubmed --task {params.task:q} --output {output} > {log} 2>&1"


rule negatives:
    """Hard negatives of each row of a selection: near by words, and no right answer."""
    input:
        selection="results/training/selections/{selection}.parquet",
        hierarchy=hierarchy_of_negatives,
        queries=queries_of_negatives,
    output:
        "results/training/negatives/{selection}.parquet",
    log:
        "logs/negatives/{selection}.log",
    benchmark:
        "benchmarks/negatives/{selection}.tsv"
    conda:
        # bm25s is there.
        "../envs/models.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=240,
    params:
        tables=tables_of_negatives,
    shell:
        "python -m biohicl --threads {threads} negatives --selection {input.selection} {params.tables} "
        "--output {output} > {log} 2>&1"


rule labels:
    """Label ids of a selection, direct and with all that stands above them."""
    input:
        selection="results/training/selections/{selection}.parquet",
        hierarchy=f"{TRAINING_RELEASE}/hierarchy.parquet",
    output:
        labels="results/training/labels/{selection}.parquet",
        unknown="results/training/unknown_headings/{selection}.parquet",
    log:
        "logs/labels/{selection}.log",
    benchmark:
        "benchmarks/labels/{selection}.tsv"
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=60,
    shell:
        "python -m biohicl --threads {threads} labels --selection {input.selection} --hierarchy {input.hierarchy} "
        "--max-unknown $MAX_UNKNOWN_HEADINGS --output {output.labels} --unknown {output.unknown} > {log} 2>&1"


rule count_labels:
    """How many citations of the release have each descriptor, or one below it."""
    input:
        citations=f"{TRAINING_RELEASE}/citations.parquet",
        hierarchy=f"{TRAINING_RELEASE}/hierarchy.parquet",
        record=f"{TRAINING_RELEASE}/release.json",
    output:
        LABEL_COUNTS,
    log:
        "logs/count_labels.log",
    benchmark:
        "benchmarks/count_labels.tsv"
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(3000),
        runtime=60,
    params:
        release=lambda wildcards: TRAINING_RELEASE,
    shell:
        "python -m biohicl --threads {threads} count-labels --release {params.release} --pubmed results/pubmed "
        "--max-unknown $MAX_UNKNOWN_HEADINGS --output {output} > {log} 2>&1"


rule tokens:
    """Tokens of a selection for one backbone's tokenizer and one length."""
    input:
        selection="results/training/selections/{selection}.parquet",
        encoder="resources/backbones/{backbone}",
    output:
        "results/training/tokens/{backbone}-{length}/{selection}.parquet",
    log:
        "logs/tokens/{backbone}-{length}/{selection}.log",
    benchmark:
        "benchmarks/tokens/{backbone}-{length}/{selection}.tsv"
    wildcard_constraints:
        backbone=one_of(name for name in CONFIG["backbones"] if name not in ASKING),
    conda:
        "../envs/models.yaml"
    threads: 4
    resources:
        mem_mb=memory(8000),
        runtime=120,
    shell:
        "python -m biohicl --threads {threads} tokens --selection {input.selection} --encoder {input.encoder} "
        "--max-length {wildcards.length} --output {output} > {log} 2>&1"


# A rule of its own: an option in the other one's command would make every table of tokens anew.
rule tokens_for_task:
    """The same for a backbone whose instructions say what is asked."""
    input:
        selection="results/training/selections/{selection}.parquet",
        encoder="resources/backbones/{backbone}",
    output:
        "results/training/tokens/{backbone}-{length}/{selection}.parquet",
    log:
        "logs/tokens/{backbone}-{length}/{selection}.log",
    benchmark:
        "benchmarks/tokens/{backbone}-{length}/{selection}.tsv"
    wildcard_constraints:
        backbone=one_of(ASKING),
    conda:
        "../envs/models.yaml"
    threads: 4
    resources:
        mem_mb=memory(8000),
        runtime=120,
    params:
        task=task_of_selection,
    shell:
        "python -m biohicl --threads {threads} tokens --selection {input.selection} --encoder {input.encoder} "
        "--max-length {wildcards.length} --task {params.task:q} --output {output} > {log} 2>&1"


rule query_tokens:
    """Tokens of the queries of a selection's rows, and where their words stand among the tokens of the texts."""
    input:
        selection="results/training/selections/{selection}.parquet",
        queries="results/training/queries/{selection}.parquet",
        encoder="resources/backbones/{backbone}",
    output:
        "results/training/query_tokens/{backbone}-{length}/{selection}.parquet",
    log:
        "logs/query_tokens/{backbone}-{length}/{selection}.log",
    benchmark:
        "benchmarks/query_tokens/{backbone}-{length}/{selection}.tsv"
    wildcard_constraints:
        backbone=one_of(CONFIG["backbones"]),
    conda:
        "../envs/models.yaml"
    threads: 4
    resources:
        mem_mb=memory(8000),
        runtime=120,
    params:
        task=task_of_selection,
    shell:
        "python -m biohicl --threads {threads} query-tokens --selection {input.selection} --queries {input.queries} "
        "--encoder {input.encoder} --max-length {wildcards.length} --task {params.task:q} --output {output} "
        "> {log} 2>&1"


# Checkpoints are no output: Snakemake removes the outputs of a job that failed, and these are what it goes on from.
rule train_node:
    """One phase of training: from a backbone or a node to a new one."""
    input:
        start=lambda wildcards: encoder_folder(CONFIG["nodes"][wildcards.node]["start"]),
        tokens=tokens_of_node,
        labels=labels_of_node,
        hierarchy=hierarchy_of_node,
        counts=label_counts_of_node,
        terms=terms_of_node,
        queries=queries_of_node,
        negatives=negatives_of_node,
        teacher=teacher_of_node,
    output:
        directory("results/models/{node}"),
    log:
        "logs/train_node/{node}.log",
    benchmark:
        "benchmarks/train_node/{node}.tsv"
    wildcard_constraints:
        node=one_of(nodes_by("train")),
    conda:
        "../envs/models.yaml"
    threads: MODEL_THREADS
    resources:
        mem_mb=memory_of_model("start", 6000, copies=5),
        runtime=1440,
        gpu=GPUS_OF_TRAINING,
    params:
        settings=lambda wildcards: as_json(configuration.node_settings(CONFIG["nodes"][wildcards.node])),
        tables=tables_of_training,
    shell:
        "$TRAINING_LAUNCHER biohicl --threads {threads} train --start {input.start} --tokens {input.tokens} "
        "{params.tables} --settings {params.settings:q} "
        "--checkpoints results/training/checkpoints/{wildcards.node} $TRAINING_OPTIONS --output {output} > {log} 2>&1"


# A job of its own, and no part of the training: models that are there are not trained again for it.
rule similarities_of_node:
    """How SimE of the held-out texts follows SimL, by what the node was trained from and by the node."""
    input:
        start=lambda wildcards: encoder_folder(CONFIG["nodes"][wildcards.node]["start"]),
        model="results/models/{node}",
        tokens=tokens_of_node,
        labels=labels_of_node,
        hierarchy=hierarchy_of_node,
        counts=label_counts_of_node,
        terms=terms_of_node,
        queries=queries_of_node,
    output:
        "results/similarities/{node}.parquet",
    log:
        "logs/similarities/{node}.log",
    benchmark:
        "benchmarks/similarities/{node}.tsv"
    wildcard_constraints:
        node=one_of(LABELLED),
    conda:
        "../envs/models.yaml"
    threads: MODEL_THREADS
    resources:
        mem_mb=memory_of_model("model", 4000, copies=3),
        runtime=120,
        gpu=GPUS_OF_A_JOB,
    params:
        settings=lambda wildcards: as_json(configuration.node_settings(CONFIG["nodes"][wildcards.node])),
        tables=tables_of_similarities,
        precision=precision_option(CONFIG["evaluation"]),
    shell:
        "python -m biohicl --threads {threads} similarities {input.model} --start {input.start} "
        "--tokens {input.tokens} {params.tables} --settings {params.settings:q} {params.precision} --output {output} "
        "> {log} 2>&1"


rule average_node:
    """The mean of several models' weights, perhaps mixed with another's."""
    input:
        of=lambda wildcards: [encoder_folder(name) for name in CONFIG["nodes"][wildcards.node]["of"]],
        other=lambda wildcards: [encoder_folder(name) for name in [CONFIG["nodes"][wildcards.node]["with"]] if name],
    output:
        directory("results/models/{node}"),
    log:
        "logs/average_node/{node}.log",
    benchmark:
        "benchmarks/average_node/{node}.tsv"
    wildcard_constraints:
        node=one_of(nodes_by("average")),
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=60,
    params:
        options=average_options,
    shell:
        "python -m biohicl --threads {threads} average --of {input.of} {params.options} --output {output} > {log} 2>&1"


rule encode_node:
    """A teacher's vectors of a selection's texts; a killed job goes on where it was."""
    input:
        tokens=tokens_of_node,
        encoder=lambda wildcards: encoder_folder(CONFIG["nodes"][wildcards.node]["encoder"]),
    output:
        # Kept until they are made anew: the same tokens are not encoded again.
        vectors=update("results/teachers/{node}/{view}.npy"),
        record=update("results/teachers/{node}/{view}.json"),
    log:
        "logs/encode_node/{node}/{view}.log",
    benchmark:
        "benchmarks/encode_node/{node}/{view}.tsv"
    wildcard_constraints:
        node=one_of(nodes_by("encode")),
        view="document|query|passage",
    conda:
        "../envs/models.yaml"
    threads: MODEL_THREADS
    resources:
        mem_mb=memory_of_model("encoder", 4000, copies=2),
        runtime=1440,
        gpu=GPUS_OF_A_JOB,
        # How, not what: as a resource it reruns nothing.
        batch_size=CONFIG["evaluation"]["batch_size"],
    params:
        precision=precision_option(CONFIG["evaluation"]),
    shell:
        "python -m biohicl --threads {threads} encode {input.encoder} {input.tokens} --views {wildcards.view} "
        "{params.precision} --batch-size {resources.batch_size} --output results/teachers/{wildcards.node} > {log} 2>&1"


rule train:
    """The models that config.yaml names."""
    input:
        expand("results/models/{node}", node=NODES),
    localrule: True
