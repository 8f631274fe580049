# Functions from the configuration to what the jobs of fetch.smk read of benchmarks, and those of evaluation.smk and
# efficiency.smk, and to their options.


def source_of_benchmark(wildcards):
    """Only what determines its tables: a new licence text fetches nothing anew."""
    return as_json(configuration.benchmark_source(CONFIG["benchmarks"][wildcards.benchmark]))


def own_files_of_benchmark(wildcards):
    """Size and time of the files in a folder that the user names: where they change, it is read again.

    No inputs: a benchmark that cannot be had stops nothing, and those with test judgements would stand above what is
    chosen on others of the same folder.
    """
    block = configuration.benchmark_source(CONFIG["benchmarks"][wildcards.benchmark])
    names = files_of(block["layout"], list(splits_of(block).values())) if block["path"] else []
    found = [(file, file.stat()) for file in (Path(block["path"], name) for name in names) if file.is_file()]
    return as_json({file.name: [stat.st_size, stat.st_mtime_ns] for file, stat in found})


def tables_of_benchmark(wildcards):
    """What is read of a benchmark for the stage, by role of the split."""
    folder = f"resources/benchmarks/{wildcards.benchmark}"
    if wildcards.benchmark in PAIR_BENCHMARKS:
        return [f"{folder}/pairs.parquet", f"{folder}/benchmark.json"]
    split = split_of(wildcards)
    return [
        f"{folder}/documents.parquet",
        f"{folder}/{split}/queries.parquet",
        f"{folder}/{split}/qrels.parquet",
        f"{folder}/benchmark.json",
    ]


def split_of(wildcards):
    """Stage evaluation scores the test split, and so do jobs of no stage."""
    return "development" if getattr(wildcards, "stage", None) == "development" else "test"


def texts_of_benchmark(wildcards):
    table = "pairs" if wildcards.benchmark in PAIR_BENCHMARKS else "documents"
    return f"resources/benchmarks/{wildcards.benchmark}/{table}.parquet"


def scored_queries(wildcards):
    """The queries of a benchmark that are scored; pairs of sentences have none."""
    of_retrieval = wildcards.benchmark in RETRIEVAL_BENCHMARKS
    return f"resources/benchmarks/{wildcards.benchmark}/test/queries.parquet" if of_retrieval else []


def task_of(wildcards):
    return task_on(wildcards.system, wildcards.benchmark)


def task_on(system, benchmark):
    """The benchmark's task, for encoders whose instructions have a place for it: config.yaml's, or the folder's own."""
    return task_option(system, CONFIG["benchmarks"][benchmark]["task"])


def task_option(system, task):
    """What is asked, for encoders whose instructions have a place for it; others read none, and encode nothing anew."""
    block = encoder_block(configuration.chain_of(CONFIG, system)[-1])
    given = [block[f"{kind}_instruction"] for kind in ("query", "passage")]
    is_asked = any(instruction is None or "{task}" in instruction for instruction in given)
    return f"--task {shlex.quote(task)}" if is_asked and task else ""


def vectors_of_queries(wildcards):
    # What is only chosen between is no system of the score table.
    system = SYSTEMS.get(wildcards.system)
    encoder = (system and system.of) or wildcards.system
    return f"results/vectors/{encoder}/{wildcards.benchmark}/{split_of(wildcards)}.npy"


def options_of_candidates(wildcards):
    """Where vectors of a chosen model may lie already: it is one of those that it was chosen from. No inputs, for these
    are encoded on development sets alone."""
    if wildcards.system not in nodes_by("select"):
        return ""
    table = "sentences" if wildcards.benchmark in PAIR_BENCHMARKS else "documents"
    file = f"{wildcards.benchmark}/{getattr(wildcards, 'split', table)}.npy"
    candidates = CONFIG["nodes"][wildcards.system]["of"]
    return f"--others {' '.join(f'results/vectors/{name}/{file}' for name in candidates)}"


def run_options(wildcards):
    """What determines a run's scores, and nothing that does not."""
    block, stage = CONFIG["benchmarks"][wildcards.benchmark], getattr(wildcards, "stage")
    return (
        f"--system {wildcards.system} --benchmark resources/benchmarks/{wildcards.benchmark} "
        f"--split {split_of(wildcards)} --output results/{stage}/{wildcards.system}/{wildcards.benchmark} "
        f"--run-depth {CONFIG['evaluation']['run_depth']} --own-document {block['own_document']}"
    )


def lexical_options(wildcards):
    block, bm25 = CONFIG["benchmarks"][wildcards.benchmark], CONFIG["evaluation"]["bm25"]
    return (
        f"--split {split_of(wildcards)} --output results/{wildcards.stage}/bm25/{wildcards.benchmark} "
        f"--run-depth {CONFIG['evaluation']['run_depth']} --own-document {block['own_document']} "
        f"--bm25-k1 {bm25['k1']} --bm25-b {bm25['b']}"
    )


def timed_tables(wildcards):
    """What efficiency reads of its benchmark."""
    if TIMED_ON is None:
        sys.exit(
            "Configuration error: evaluation.efficiency.benchmark: null takes the first retrieval benchmark of "
            "evaluation.benchmarks, and there is none; name one of `benchmarks`"
        )
    return [f"resources/benchmarks/{TIMED_ON}/{table}.parquet" for table in ("documents", "test/queries")]


def efficiency_options():
    block = CONFIG["evaluation"]["efficiency"]
    return f"--texts {block['texts']} --queries {block['queries']}"


def evaluations_of_benchmark(wildcards):
    tables = ["run", "metrics"] if wildcards.benchmark in PAIR_BENCHMARKS else ["run", "per_query", "metrics"]
    return [
        f"results/evaluation/{system}/{wildcards.benchmark}/{table}.parquet"
        for system in systems_of_benchmark(wildcards.benchmark)
        for table in tables
    ]


def tuned_on(pattern):
    """Of a system, the files of the benchmarks that its hybrids are tuned on."""
    return lambda wildcards: expand(
        pattern, system=wildcards.system, benchmark=configuration.tuned_on(CONFIG, wildcards.system)
    )


def systems_on(benchmark):
    """What compare has to know of each system that is scored on the benchmark."""
    return {
        name: {
            "folder": f"results/evaluation/{name}/{benchmark}",
            "against": SYSTEMS[name].against,
            "backbone": SYSTEMS[name].backbone,
            "of": SYSTEMS[name].of if name in VARIANTS else None,
            "selections": configuration.selections_of(CONFIG, name) if name in CONFIG["models"] else [],
        }
        for name in systems_of_benchmark(benchmark)
    }


def overlaps_of(benchmark):
    """Selection to the table of what it shares with the benchmark."""
    return {name: f"results/training/overlap/{name}/{benchmark}.parquet" for name in COMPARED_SELECTIONS}
