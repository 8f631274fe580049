# Every system on every benchmark: texts are encoded once, and each run is scored by a job of its own, so that a new
# benchmark or system reruns nothing that exists. Stage `evaluation` scores the test split; `development` the one that may
# choose what is tuned. Jobs take tables, never a benchmark's folder: what chooses has no test judgements among its inputs.


rule embed_documents:
    """Vectors of a benchmark's documents; a killed job goes on where it was."""
    input:
        texts="resources/benchmarks/{benchmark}/documents.parquet",
        encoder=lambda wildcards: encoder_folder(wildcards.system),
    output:
        # Kept until they are made anew: of the same texts nothing is encoded again.
        vectors=update("results/vectors/{system}/{benchmark}/documents.npy"),
        record=update("results/vectors/{system}/{benchmark}/documents.json"),
    log:
        "logs/embed/{system}/{benchmark}/documents.log",
    benchmark:
        "benchmarks/embed/{system}/{benchmark}/documents.tsv"
    wildcard_constraints:
        system=one_of(ENCODERS),
        benchmark=one_of(RETRIEVAL_BENCHMARKS),
    conda:
        "../envs/models.yaml"
    threads: MODEL_THREADS
    resources:
        mem_mb=memory_of_model("encoder", 4000, copies=2),
        runtime=720,
        gpu=GPUS_OF_A_JOB,
        # How, not what: as a resource it reruns nothing.
        batch_size=CONFIG["evaluation"]["batch_size"],
        others=options_of_candidates,
    params:
        kind="documents",
        task=task_of,
        precision=precision_option(CONFIG["evaluation"]),
    shell:
        "python -m biohicl --threads {threads} embed {input.encoder} {input.texts} --as {params.kind} "
        "{params.task} {params.precision} --batch-size {resources.batch_size} --output {output.vectors} "
        "{resources.others} > {log} 2>&1"


use rule embed_documents as embed_queries with:
    """Vectors of the queries of one split."""
    input:
        texts="resources/benchmarks/{benchmark}/{split}/queries.parquet",
        encoder=lambda wildcards: encoder_folder(wildcards.system),
    output:
        vectors=update("results/vectors/{system}/{benchmark}/{split}.npy"),
        record=update("results/vectors/{system}/{benchmark}/{split}.json"),
    log:
        "logs/embed/{system}/{benchmark}/{split}.log",
    benchmark:
        "benchmarks/embed/{system}/{benchmark}/{split}.tsv"
    wildcard_constraints:
        system=one_of(ENCODERS),
        benchmark=one_of(RETRIEVAL_BENCHMARKS),
    params:
        kind="queries",
        task=task_of,
        precision=precision_option(CONFIG["evaluation"]),


use rule embed_documents as embed_sentences with:
    """Vectors of both sentences of each pair."""
    input:
        texts="resources/benchmarks/{benchmark}/pairs.parquet",
        encoder=lambda wildcards: encoder_folder(wildcards.system),
    output:
        vectors=update("results/vectors/{system}/{benchmark}/sentences.npy"),
        record=update("results/vectors/{system}/{benchmark}/sentences.json"),
    log:
        "logs/embed/{system}/{benchmark}/sentences.log",
    benchmark:
        "benchmarks/embed/{system}/{benchmark}/sentences.tsv"
    wildcard_constraints:
        system=one_of(ENCODERS),
        benchmark=one_of(PAIR_BENCHMARKS),
    params:
        kind="sentences",
        task=task_of,
        precision=precision_option(CONFIG["evaluation"]),


rule evaluate_dense:
    """One encoder on one retrieval benchmark: run, values a query, metrics."""
    input:
        documents="results/vectors/{system}/{benchmark}/documents.npy",
        queries=vectors_of_queries,
        tables=tables_of_benchmark,
    output:
        run="results/{stage}/{system}/{benchmark}/run.parquet",
        trec="results/{stage}/{system}/{benchmark}/run.trec",
        per_query="results/{stage}/{system}/{benchmark}/per_query.parquet",
        metrics="results/{stage}/{system}/{benchmark}/metrics.parquet",
    log:
        "logs/{stage}/{system}/{benchmark}.log",
    benchmark:
        "benchmarks/{stage}/{system}/{benchmark}.tsv"
    wildcard_constraints:
        system=one_of(DENSE),
        benchmark=one_of(RETRIEVAL_BENCHMARKS),
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=60,
    params:
        options=run_options,
        variant=lambda wildcards: "{}",
    shell:
        "python -m biohicl --threads {threads} evaluate-vectors {input.documents} {input.queries} "
        "--variant {params.variant:q} {params.options} > {log} 2>&1"


use rule evaluate_dense as evaluate_candidate with:
    """One that is only chosen between: on development queries, and never on those that score."""
    wildcard_constraints:
        stage="development",
        system=one_of([name for name in ENCODERS if name not in DENSE]),
        benchmark=one_of(RETRIEVAL_BENCHMARKS),


use rule evaluate_dense as evaluate_variant with:
    """The same with smaller embeddings."""
    input:
        documents=lambda wildcards: f"results/vectors/{SYSTEMS[wildcards.system].of}/{wildcards.benchmark}/documents.npy",
        queries=vectors_of_queries,
        tables=tables_of_benchmark,
    wildcard_constraints:
        system=one_of(VARIANTS),
        benchmark=one_of(RETRIEVAL_BENCHMARKS),
    params:
        options=run_options,
        variant=lambda wildcards: as_json(SYSTEMS[wildcards.system].settings),


rule evaluate_lexical:
    """BM25 on one retrieval benchmark."""
    input:
        tables_of_benchmark,
    output:
        run="results/{stage}/bm25/{benchmark}/run.parquet",
        trec="results/{stage}/bm25/{benchmark}/run.trec",
        per_query="results/{stage}/bm25/{benchmark}/per_query.parquet",
        metrics="results/{stage}/bm25/{benchmark}/metrics.parquet",
    log:
        "logs/{stage}/bm25/{benchmark}.log",
    benchmark:
        "benchmarks/{stage}/bm25/{benchmark}.tsv"
    wildcard_constraints:
        benchmark=one_of(RETRIEVAL_BENCHMARKS),
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=60,
    params:
        options=lexical_options,
    shell:
        "python -m biohicl --threads {threads} evaluate bm25 resources/benchmarks/{wildcards.benchmark} "
        "{params.options} > {log} 2>&1"


rule tune_hybrids:
    """How to join a dense system with BM25, chosen on development queries."""
    input:
        dense=tuned_on("results/development/{system}/{benchmark}/run.parquet"),
        lexical=tuned_on("results/development/bm25/{benchmark}/run.parquet"),
        qrels=tuned_on("resources/benchmarks/{benchmark}/development/qrels.parquet"),
    output:
        "results/development/{system}/hybrids.json",
    log:
        "logs/tune_hybrids/{system}.log",
    benchmark:
        "benchmarks/tune_hybrids/{system}.tsv"
    wildcard_constraints:
        system=one_of(DENSE),
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        depth=CONFIG["evaluation"]["run_depth"],
    shell:
        "python -m biohicl tune-hybrids --dense {input.dense} --lexical {input.lexical} --qrels {input.qrels} "
        "--run-depth {params.depth} --output {output} > {log} 2>&1"


rule evaluate_hybrid:
    """A dense system joined with BM25, on one retrieval benchmark."""
    input:
        dense=lambda wildcards: f"results/evaluation/{SYSTEMS[wildcards.system].of}/{wildcards.benchmark}/run.parquet",
        lexical="results/evaluation/bm25/{benchmark}/run.parquet",
        tuned=lambda wildcards: f"results/development/{SYSTEMS[wildcards.system].of}/hybrids.json",
        tables=tables_of_benchmark,
    output:
        run="results/{stage}/{system}/{benchmark}/run.parquet",
        trec="results/{stage}/{system}/{benchmark}/run.trec",
        per_query="results/{stage}/{system}/{benchmark}/per_query.parquet",
        metrics="results/{stage}/{system}/{benchmark}/metrics.parquet",
    log:
        "logs/{stage}/{system}/{benchmark}.log",
    benchmark:
        "benchmarks/{stage}/{system}/{benchmark}.tsv"
    wildcard_constraints:
        stage="evaluation",
        system=one_of(HYBRIDS),
        benchmark=one_of(RETRIEVAL_BENCHMARKS),
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        options=run_options,
        method=lambda wildcards: SYSTEMS[wildcards.system].settings["method"],
    shell:
        "python -m biohicl --threads {threads} evaluate-hybrid --dense {input.dense} --lexical {input.lexical} "
        "--tuned {input.tuned} --method {params.method} {params.options} > {log} 2>&1"


rule evaluate_pairs:
    """One encoder on sentence pairs: similarities and metrics."""
    input:
        vectors="results/vectors/{system}/{benchmark}/sentences.npy",
        tables=tables_of_benchmark,
    output:
        run="results/{stage}/{system}/{benchmark}/run.parquet",
        metrics="results/{stage}/{system}/{benchmark}/metrics.parquet",
    log:
        "logs/{stage}/{system}/{benchmark}.log",
    benchmark:
        "benchmarks/{stage}/{system}/{benchmark}.tsv"
    wildcard_constraints:
        stage="evaluation",
        system=one_of(DENSE),
        benchmark=one_of(PAIR_BENCHMARKS),
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=30,
    params:
        options=run_options,
    shell:
        "python -m biohicl --threads {threads} evaluate-vectors {input.vectors} {params.options} > {log} 2>&1"


use rule evaluate_pairs as evaluate_development_pairs with:
    """The same of pairs that choose, and therefore score nothing."""
    wildcard_constraints:
        stage="development",
        system=one_of(ENCODERS),
        benchmark=one_of(CONFIG["development"]["similarity"]),


rule select_node:
    """Of several models the one that is best on the development sets."""
    input:
        candidates=lambda wildcards: [encoder_folder(name) for name in CONFIG["nodes"][wildcards.node]["of"]],
        metrics=lambda wildcards: development_scores(dict.fromkeys(judged_for(wildcards.node))),
    output:
        directory("results/models/{node}"),
    log:
        "logs/select_node/{node}.log",
    benchmark:
        "benchmarks/select_node/{node}.tsv"
    wildcard_constraints:
        node=one_of(nodes_by("select")),
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=30,
    params:
        options=choice_options,
    shell:
        "python -m biohicl --threads {threads} choose {input.candidates} {params.options} --output {output} > {log} 2>&1"


rule development:
    """results/development.parquet and .txt: models beside their backbones on what chooses. Not part of all."""
    input:
        development_scores(SHOWN),
    output:
        table="results/development.parquet",
        text="results/development.txt",
    log:
        "logs/development.log",
    benchmark:
        "benchmarks/development.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        systems=shown_systems(),
        options=f"{development_options()} {known_of_development()}",
        draws=f"--draws {CONFIG['evaluation']['draws']} --seed {CONFIG['evaluation']['seed']}",
    shell:
        "python -m biohicl --threads {threads} development {params.systems} {params.options} {params.draws} "
        "--output {output.table} 2> {log} | tee {output.text}"


rule overlap:
    """Which of a benchmark's texts a selection holds."""
    input:
        selection="results/training/selections/{selection}.parquet",
        texts=texts_of_benchmark,
    output:
        "results/training/overlap/{selection}/{benchmark}.parquet",
    log:
        "logs/overlap/{selection}/{benchmark}.log",
    benchmark:
        "benchmarks/overlap/{selection}/{benchmark}.tsv"
    wildcard_constraints:
        selection=one_of(CITATIONS),
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    shell:
        "python -m biohicl --threads {threads} overlap --selection {input.selection} --benchmark {wildcards.benchmark} "
        "--texts {input.texts} --output {output} > {log} 2>&1"


rule overlap_of_pairs:
    """The same of labelled pairs, and which of the benchmark's queries they hold."""
    input:
        selection="results/training/selections/{selection}.parquet",
        queries="results/training/queries/{selection}.parquet",
        texts=texts_of_benchmark,
        scored=scored_queries,
    output:
        "results/training/overlap/{selection}/{benchmark}.parquet",
    log:
        "logs/overlap/{selection}/{benchmark}.log",
    benchmark:
        "benchmarks/overlap/{selection}/{benchmark}.tsv"
    wildcard_constraints:
        selection=one_of(PAIRS),
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        scored=lambda wildcards, input: options_of({"--scored": input.scored}),
    shell:
        "python -m biohicl --threads {threads} overlap --selection {input.selection} --queries {input.queries} "
        "--benchmark {wildcards.benchmark} --texts {input.texts} {params.scored} --output {output} > {log} 2>&1"


rule compare_systems:
    """All systems on one benchmark: intervals, who differs from whom, and scores without leaked documents."""
    input:
        evaluations_of_benchmark,
        tables_of_benchmark,
        overlaps=lambda wildcards: list(overlaps_of(wildcards.benchmark).values()),
    output:
        estimates="results/comparisons/{benchmark}/estimates.parquet",
        differences="results/comparisons/{benchmark}/differences.parquet",
        changes="results/comparisons/{benchmark}/rank_changes.parquet",
        seeds="results/comparisons/{benchmark}/seeds.parquet",
    log:
        "logs/compare_systems/{benchmark}.log",
    benchmark:
        "benchmarks/compare_systems/{benchmark}.tsv"
    conda:
        "../envs/models.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=120,
    params:
        systems=lambda wildcards: as_json(systems_on(wildcards.benchmark), sort_keys=False),
        overlaps=lambda wildcards: as_json(overlaps_of(wildcards.benchmark)),
        draws=f"--draws {CONFIG['evaluation']['draws']} --seed {CONFIG['evaluation']['seed']}",
        # A function: its braces are no wildcards.
        seeds=lambda wildcards: as_json(ABOUT["seeds"]),
    shell:
        "python -m biohicl --threads {threads} compare --benchmark resources/benchmarks/{wildcards.benchmark} "
        "--systems {params.systems:q} --overlaps {params.overlaps:q} --seeds {params.seeds:q} {params.draws} "
        "--output results/comparisons/{wildcards.benchmark} > {log} 2>&1"


rule summarize:
    """Every system on every benchmark, one table; what was left out; the spread over seeds."""
    input:
        metrics=expand("results/evaluation/{evaluation}/metrics.parquet", evaluation=EVALUATIONS),
        comparisons=expand("results/comparisons/{benchmark}/estimates.parquet", benchmark=BENCHMARKS),
        records=expand("resources/benchmarks/{benchmark}/benchmark.json", benchmark=BENCHMARKS),
        encoders=expand("resources/backbones/{peer}", peer=CONFIG["evaluation"]["peers"]),
    output:
        summary="results/summary.parquet",
        variants="results/variants.parquet",
        seeds="results/seeds.parquet",
        left_out="results/left_out.parquet",
    log:
        "logs/summarize.log",
    benchmark:
        "benchmarks/summarize.tsv"
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=30,
    params:
        # A function: its braces are no wildcards.
        about=lambda wildcards: as_json(ABOUT, sort_keys=False),
        comparisons=expand("results/comparisons/{benchmark}", benchmark=BENCHMARKS),
    shell:
        "python -m biohicl summary {input.metrics} --comparisons {params.comparisons} --about {params.about:q} "
        "--records {input.records} --encoders {input.encoders} --output results > {log} 2>&1"


rule evaluate:
    """The score table: models, their backbones, BM25, peers, hybrids and variants on the configured benchmarks."""
    input:
        rules.summarize.output,
        # What people read of each, so that what was lost is made again: Snakemake asks for the inputs of targets alone.
        expand(
            "results/evaluation/{evaluation}/{kind}", evaluation=EVALUATIONS, kind=["run.parquet", "metrics.parquet"]
        ),
        expand(
            "results/evaluation/{evaluation}/{kind}",
            evaluation=evaluations("retrieval"),
            kind=["run.trec", "per_query.parquet"],
        ),
        expand(
            "results/comparisons/{benchmark}/{table}.parquet",
            benchmark=BENCHMARKS,
            table=["estimates", "differences", "rank_changes", "seeds"],
        ),
        expand("results/similarities/{node}.parquet", node=LABELLED),
    localrule: True
