# Functions from the configuration to what the jobs of training.smk read, and to their options.


def tokens_of_node(wildcards):
    """A node reads the tokens of the backbone at the end of its chain, or of the one that these are shared with."""
    return f"results/training/tokens/{reading_of_node(wildcards.node)}.parquet"


def reading_of_node(node):
    """Of which tokenizer, of what length and of which selection its tokens are."""
    block = CONFIG["nodes"][node]
    backbone = configuration.chain_of(CONFIG, node)[-1]
    owner = CONFIG["backbones"][backbone]["tokens_of"] or backbone
    return f"{owner}-{block['max_length']}/{block['selection']}"


def labels_of_node(wildcards):
    """Of citations and of concepts; labelled pairs have no headings."""
    selection = CONFIG["nodes"][wildcards.node]["selection"]
    return [] if selection in PAIRS else f"results/training/labels/{selection}.parquet"


def hierarchy_of_node(wildcards):
    return f"{TRAINING_RELEASE}/hierarchy.parquet" if labels_of_node(wildcards) else []


def queries_of_node(wildcards):
    """Only where the node reads the texts' own queries."""
    if "query_text" not in CONFIG["nodes"][wildcards.node]["losses"]:
        return []
    return f"results/training/query_tokens/{reading_of_node(wildcards.node)}.parquet"


def negatives_of_node(wildcards):
    """Only where the node's queries get hard negatives."""
    block = CONFIG["nodes"][wildcards.node]
    return f"results/training/negatives/{block['selection']}.parquet" if configuration.has_negatives(block) else []


def label_counts_of_node(wildcards):
    """Only where the node's losses weigh labels by the corpus."""
    return [LABEL_COUNTS] if configuration.needs_label_counts(CONFIG["nodes"][wildcards.node]) else []


def terms_needed_by(what):
    """The terms of the release's MeSH; a release of an older version of this workflow has none."""
    if IS_FROZEN and not Path(TERMS).is_file():
        sys.exit(
            f"Configuration error: training.release: '{CONFIG['training']['release']}' was frozen without the terms of "
            f"MeSH, which {what} needs. Name a new release."
        )
    return TERMS


def terms_of_node(wildcards):
    """Only where the node makes queries of headings."""
    if "heading_abstract" not in CONFIG["nodes"][wildcards.node]["losses"]:
        return []
    return [terms_needed_by(f"losses.heading_abstract of node {wildcards.node}")]


def teacher_of_node(wildcards):
    """The vectors that the node is trained towards, and their records; only where it has a teacher."""
    teacher = CONFIG["nodes"][wildcards.node]["teacher"]
    views = CONFIG["nodes"][teacher]["views"] if teacher else []
    return [f"results/teachers/{teacher}/{view}.{kind}" for view in views for kind in ("npy", "json")]


def average_options(wildcards, input):
    block = CONFIG["nodes"][wildcards.node]
    options = [f"--share {float(block['share'])}", "--snapshots" if block["snapshots"] else ""]
    return " ".join([*options, *(f"--with {folder}" for folder in input.other)]).strip()


def development_scores(systems):
    """Metrics of these systems on all development sets."""
    sets = [*CONFIG["development"]["retrieval"], *CONFIG["development"]["similarity"]]
    return [f"results/development/{system}/{name}/metrics.parquet" for name in sets for system in systems]


def development_options():
    options = [f"--{kind} {' '.join(CONFIG['development'][kind])}" for kind in ("retrieval", "similarity")]
    return " ".join(option for option in options if not option.endswith(" "))


def choice_options(wildcards):
    against = encoder_folder(judged_for(wildcards.node)[-1])
    return f"--against {against} --max-loss {CONFIG['development']['max_loss']} {development_options()}"


def shown_systems():
    """Each system with the backbone that it is compared with; a backbone with none."""
    backbones = {name: configuration.chain_of(CONFIG, name)[-1] for name in SHOWN}
    return [name if backbone == name else f"{name}={backbone}" for name, backbone in backbones.items()]


def known_of_development():
    """The systems that were trained on a development split, and which; and those that were chosen by them."""
    known = [f"{name}={benchmark}" for name in SHOWN for benchmark in configuration.trained_on(CONFIG, name)]
    chosen = [name for name in SHOWN if configuration.is_chosen(CONFIG, name)]
    options = {"--trained-on": known, "--chosen": chosen}
    return " ".join(f"{option} {' '.join(names)}" for option, names in options.items() if names)


def tables_of_similarities(wildcards, input):
    """Options for the tables that not every node reads, of those that say what its texts and labels are."""
    return options_of(
        {
            "--labels": input.labels,
            "--hierarchy": input.hierarchy,
            "--label-counts": input.counts,
            "--terms": input.terms,
            "--queries": input.queries,
        }
    )


def tables_of_training(wildcards, input):
    """Options for the tables that not every node reads."""
    given = {"--negatives": input.negatives}
    teacher = CONFIG["nodes"][wildcards.node]["teacher"]
    given["--teacher"] = f"results/teachers/{teacher}" if teacher else None
    given["--teacher-views"] = " ".join(CONFIG["nodes"][teacher]["views"]) if teacher else None
    return f"{tables_of_similarities(wildcards, input)} {options_of(given)}".strip()


def texts_of_selection(wildcards):
    """Another word where the texts that a selection leaves out, or takes in, are others than when it was made."""
    excluded = Path(f"results/training/excluded/{wildcards.selection}.parquet")
    given = texts_given(excluded, list(map(Path, excluded_texts(wildcards) + trained_texts(wildcards))))
    return f"--given {given}" if given else ""


def block_of_selection(name):
    """The block of config.yaml of a selection of any kind."""
    return next(kind[name] for kind in (CITATIONS, CONCEPTS, PAIRS) if name in kind)


def settings_of_citations(wildcards):
    """Without the task: it is no reason to draw anew."""
    return as_json({key: value for key, value in CITATIONS[wildcards.selection].items() if key != "task"})


def trained_texts(wildcards):
    """The tables of the benchmarks that a selection of pairs takes in."""
    block = PAIRS.get(wildcards.selection, {})
    return [str(file) for file in tables_read(block.get("benchmarks", ()), Path("resources/benchmarks"))]


def tasks_of_benchmarks(wildcards):
    """Of the benchmarks of a selection of pairs the tasks that config.yaml gives them."""
    tasks = {name: CONFIG["benchmarks"][name]["task"] for name in PAIRS[wildcards.selection]["benchmarks"]}
    return as_json({name: task for name, task in tasks.items() if task})


def terms_for_concepts(wildcards):
    return terms_needed_by(f"training.concepts.{wildcards.selection}")


def optional_tables(wildcards):
    """Scope notes and qualifiers, which older releases lack; a selection of concepts then goes without."""
    tables = [f"{TRAINING_RELEASE}/{name}.parquet" for name in OPTIONAL_TABLES]
    return [table for table in tables if not IS_FROZEN or Path(table).is_file()]


def hierarchy_of_negatives(wildcards):
    """Pairs have no headings."""
    return [] if wildcards.selection in PAIRS else [f"{TRAINING_RELEASE}/hierarchy.parquet"]


def queries_of_negatives(wildcards):
    """Several documents of pairs may answer one query."""
    return [f"results/training/queries/{wildcards.selection}.parquet"] if wildcards.selection in PAIRS else []


def tables_of_negatives(wildcards, input):
    return options_of({"--hierarchy": input.hierarchy, "--queries": input.queries})


def task_of_selection(wildcards):
    return block_of_selection(wildcards.selection)["task"]


# Backbones whose instructions in config.yaml have a place for a task: their tokens depend on it.
ASKING = [
    name
    for name, block in CONFIG["backbones"].items()
    if any("{task}" in (block[f"{kind}_instruction"] or "") for kind in ("query", "passage"))
]


def excluded_texts(wildcards):
    """The texts of the benchmarks that a selection leaves out: these alone are its inputs."""
    named = block_of_selection(wildcards.selection)["exclude_benchmarks"]
    tables = ("pairs" if name in PAIR_BENCHMARKS else "documents" for name in named)
    return [f"resources/benchmarks/{name}/{table}.parquet" for name, table in zip(named, tables)]


def comparable_cells(wildcards):
    """Nothing, where the cells can be compared."""
    if reason := configuration.unfair(CONFIG):
        sys.exit(f"Configuration error: {reason}.")
    return []


def torch_sees_no_gpu():
    """Whether torch is here and says so; not asked of another environment's, with --sdm conda."""
    asks = "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 3)"
    return subprocess.run([sys.executable, "-c", asks], stderr=subprocess.DEVNULL).returncode == 3


def announce_cost():
    """Says before the start what training without a GPU will cost."""
    planned = {job.wildcards.node for job in workflow.persistence.dag.needrun_jobs() if job.rule.name == "train_node"}
    if not planned or (HAS_GPU and (CONFIG["gpu"] == "always" or not torch_sees_no_gpu())):
        return
    why = "No GPU here"
    if HAS_GPU:
        why = "nvidia-smi is here, but torch sees no GPU (is it built for CUDA, and the driver new enough for it?)"
    print(f"{why}: {', '.join(sorted(planned))} will be trained on the CPU.", file=sys.stderr)
    machine = estimate.Machine(cores=all_cores(None), gpus=0)
    nodes = estimate.Nodes(CONFIG, Path(), estimate.read_rates(), machine)
    for node in sorted(planned):
        block = CONFIG["nodes"][node]
        # How many texts the others have is not known before they are made.
        count = CITATIONS.get(block["selection"], {}).get("citations")
        if isinstance(count, int):
            minutes = nodes.training(node).seconds(machine) / 60
            time = f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:,.0f} hours"
            print(
                f"  {node}: up to {count:,} citations of {block['max_length']} tokens, {block['schedule']['epochs']} times: "
                f"about {time} on {min(MODEL_THREADS, machine.cores)} cores ({nodes.size(node).weights / 1e6:,.0f} M weights "
                "without embeddings).",
                file=sys.stderr,
            )
    print(
        "  Smaller: training.selections.*.citations and nodes.*.max_length in config.yaml. All of a run: biohicl estimate.",
        file=sys.stderr,
    )
