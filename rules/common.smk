# What the other files share: the checked configuration, and functions from it to file names.

import functools
import json
import os
import re
import shlex
import shutil
import sys
import time
from pathlib import Path

BASE = Path(workflow.basedir)

# Jobs run `python -m biohicl` with the Python that runs Snakemake, activated or not. With --sdm conda each
# job's own environment comes first, and finds the package, which is not installed there, in src/.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    PYTHONPATH=os.pathsep.join(part for part in (str(BASE / "src"), os.environ.get("PYTHONPATH")) if part),
)
sys.path.insert(0, str(BASE / "src"))

from biohicl import configuration
from biohicl.errors import BioHiCLError
from biohicl.evaluation.benchmarks import splits_of
from biohicl.evaluation.sources import files_of
from biohicl.fetch.attempts import next_attempt
from biohicl.mesh.schema import SCHEMA_VERSION as MESH_SCHEMA, TABLES as MESH_TABLES
from biohicl.pubmed.schema import SCHEMA_VERSION as PUBMED_SCHEMA
from biohicl.training.pairs import tables_read
from biohicl.training.release import OPTIONAL as OPTIONAL_TABLES
from biohicl.training.selection import texts_given

try:
    CONFIG = configuration.resolve(
        config,
        BASE / "workflow/schemas/config.schema.yaml",
        files=[BASE / "config.yaml", *workflow.overwrite_configfiles],
    )
except BioHiCLError as error:
    # Not a WorkflowError: Snakemake would wrap this one line in places of its own code.
    sys.exit(f"Configuration error: {error}")

# A GPU limits nothing by default; the command line (--resources gpu=2) overrides this.
workflow.global_resources.setdefault("gpu", CONFIG["training"]["gpus"])
workflow.global_resources.setdefault("downloads", 4)

HAS_GPU = shutil.which("nvidia-smi") is not None
GPUS_OF_A_JOB = 1 if HAS_GPU else 0
GPUS_OF_TRAINING = CONFIG["training"]["gpus"] if HAS_GPU else 0
MODEL_THREADS = CONFIG["training"]["threads"]
TRAINING_RELEASE = f"results/training/releases/{CONFIG['training']['release']}"

# The terms of its MeSH, which queries of headings are made of.
TERMS = f"{TRAINING_RELEASE}/terms.parquet"
LABEL_COUNTS = f"results/training/label_counts/{CONFIG['training']['release']}.parquet"

IS_FROZEN = all(
    Path(TRAINING_RELEASE, name).is_file() for name in ("citations.parquet", "hierarchy.parquet", "release.json")
)

# Names without regular-expression traps in file names.
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"


def one_of(names):
    """A wildcard that is one of these names; without any, none."""
    return "|".join(map(re.escape, names)) or "(?!)"


def training_launcher(gpus):
    """What stands before `biohicl`. Without the dashes torchrun takes --start for an option of its own."""
    return f"torchrun --standalone --nproc-per-node {gpus} -m --" if gpus > 1 else "python -m"


def training_options(training):
    """The options of biohicl train that training.* of config.yaml stands for."""
    options = [f"--checkpoint-minutes {training['checkpoint_minutes']}"]
    if training["chunk_tokens"] is not None:
        options.append(f"--chunk-tokens {training['chunk_tokens']}")
    if training["compile"] is not None:
        options.append("--compile" if training["compile"] else "--no-compile")
    if training["deterministic"]:
        options.append("--deterministic")
    if training["precision"] is not None:
        options.append(f"--precision {training['precision']}")
    return " ".join(options)


# Where files come from reaches the jobs through the environment and is no parameter of theirs: the same file
# from another server is the same file, and nothing reruns for it.
os.environ.update(
    PUBMED_MIRRORS=json.dumps(CONFIG["pubmed"]["mirrors"]),
    MESH_MIRRORS=json.dumps(CONFIG["mesh"]["mirrors"]),
    # No reason to parse again either: a file that was parsed without it has no bad citation.
    PARSE_OPTIONS="--skip-bad-citations" if CONFIG["pubmed"]["skip_bad_citations"] else "",
    # A limit that was kept changes nothing.
    MAX_UNKNOWN_HEADINGS=str(CONFIG["training"]["max_unknown_headings"]),
    # How a training runs, not what it computes.
    TRAINING_OPTIONS=training_options(CONFIG["training"]),
    TRAINING_LAUNCHER=training_launcher(GPUS_OF_TRAINING),
)


envvars:
    "PUBMED_MIRRORS",
    "MESH_MIRRORS",
    "PARSE_OPTIONS",
    "MAX_UNKNOWN_HEADINGS",
    "TRAINING_OPTIONS",
    "TRAINING_LAUNCHER",


wildcard_constraints:
    kind="baseline|updatefiles",
    file=r"pubmed\d\dn\d+",
    mesh=r"desc\d{4}",
    backbone=NAME,
    benchmark=NAME,
    system=NAME,
    node=NAME,
    selection=NAME,
    length=r"\d+",
    stage="evaluation|development",
    device="cpu|cuda",
    split="test|development",


def as_json(value, sort_keys=True):
    """A block of the configuration as one argument of a command (quoted by :q in the shell line)."""
    return json.dumps(value, ensure_ascii=False, sort_keys=sort_keys)


def release_files(wildcards):
    """The PubMed files of the recorded release; asks the server through the checkpoint where nothing is recorded."""
    record = Path(checkpoints.list_pubmed.get().output[0])
    return files_recorded(record, record.stat().st_mtime_ns).values()


@functools.cache
def files_recorded(record, written):
    """The files of a record as it was ``written``, by name: PubMed has 1,600 jobs that ask for them."""
    return {file["name"]: file for file in json.loads(record.read_text())["files"]}


def tables(*kinds):
    """An input function: these tables of every file of the release."""

    def of_release(wildcards):
        return [f"results/pubmed/{kind}/{file['name']}.parquet" for file in release_files(wildcards) for kind in kinds]

    return of_release


def encoder_folder(name):
    """Where a backbone or a node lies."""
    return f"results/models/{name}" if name in CONFIG["nodes"] else f"resources/backbones/{name}"


def nodes_by(*steps):
    """The nodes of the configuration that are made by one of these steps, those that nothing needs included."""
    return [name for name, node in CONFIG["nodes"].items() if node["step"] in steps]


def judged_for(node):
    """What a choice (a node with step select) is between, and last whose average precision it may not lose."""
    block = CONFIG["nodes"][node]
    return [*block["of"], block["against"] or configuration.chain_of(CONFIG, node)[-1]]


# The models of `all`, with every node that they are made from, each after those that it is made from itself.
ANCESTRY = configuration.ancestry_of(CONFIG, *CONFIG["models"])
# Of these the models (nodes that encode are teachers' vectors), and those that were trained and have a log.
NODES = [node for node in ANCESTRY if node not in nodes_by("encode")]
TRAINED = [node for node in NODES if node in nodes_by("train")]
# The cells of `ablations`: by name, the nodes by seed.
ABLATIONS = {cell: configuration.nodes_of_cell(CONFIG, cell) for cell in configuration.cells_of(CONFIG)}
ABLATION_NODES = [node for nodes in ABLATIONS.values() for node in nodes.values()]
COUNTED = [LABEL_COUNTS] if any(configuration.needs_label_counts(CONFIG["nodes"][node]) for node in TRAINED) else []
# What can be trained on, by kind; no name is of two kinds.
CITATIONS, CONCEPTS, PAIRS = (CONFIG["training"][kind] for kind in ("selections", "concepts", "pairs"))
# The selections of citations that the nodes read: what report and catalog have tables of.
SELECTIONS = list(
    dict.fromkeys(
        CONFIG["nodes"][node]["selection"] for node in TRAINED if CONFIG["nodes"][node]["selection"] in CITATIONS
    )
)
# The systems under test, by how they are scored, and the benchmarks, those that nothing names included.
SYSTEMS = configuration.systems_of(CONFIG)
DENSE = [name for name, system in SYSTEMS.items() if system.is_dense]
VARIANTS = [name for name, system in SYSTEMS.items() if system.role == "variant"]
HYBRIDS = [name for name, system in SYSTEMS.items() if system.role == "hybrid"]
# What `development` shows: backbones, models, and what is chosen between for these.
SHOWN = list(
    dict.fromkeys(
        [
            *(name for name, system in SYSTEMS.items() if system.role in ("backbone", "model")),
            *(name for node in NODES if node in nodes_by("select") for name in judged_for(node)),
        ]
    )
)
# All whose texts are encoded: what is chosen between, or compared by `ablations`, is scored on development sets alone.
ENCODERS = list(
    dict.fromkeys(
        [*DENSE, *SHOWN, *ABLATION_NODES, *(name for node in nodes_by("select") for name in judged_for(node))]
    )
)
RETRIEVAL_BENCHMARKS = [name for name, block in CONFIG["benchmarks"].items() if block["kind"] == "retrieval"]
TRAINABLE_BENCHMARKS = [name for name in RETRIEVAL_BENCHMARKS if CONFIG["benchmarks"][name]["training"]]
PAIR_BENCHMARKS = [name for name, block in CONFIG["benchmarks"].items() if block["kind"] == "similarity"]
BENCHMARKS = CONFIG["evaluation"]["benchmarks"]
TUNED_ON = CONFIG["evaluation"]["tuned_on"]
# What `efficiency` times, and on what: CPU always, a GPU where there is one.
TIMED_ON = CONFIG["evaluation"]["efficiency"]["benchmark"] or next(
    (name for name in BENCHMARKS if name in RETRIEVAL_BENCHMARKS), None
)
DEVICES = ["cpu", "cuda"] if HAS_GPU else ["cpu"]
TIMED = [f"cpu/{configuration.LEXICAL}", *(f"{device}/{name}" for device in DEVICES for name in DENSE)]


def systems_of_benchmark(benchmark):
    """BM25, hybrids and variants rank documents; of sentence pairs they tell nothing."""
    return DENSE if benchmark in PAIR_BENCHMARKS else list(SYSTEMS)


def evaluations(kind):
    """system/benchmark of `all` for benchmarks of this kind."""
    of_kind = [benchmark for benchmark in BENCHMARKS if CONFIG["benchmarks"][benchmark]["kind"] == kind]
    return [f"{system}/{benchmark}" for benchmark in of_kind for system in systems_of_benchmark(benchmark)]


EVALUATIONS = evaluations("retrieval") + evaluations("similarity")

# What the summary has to know of the configuration, in the order of its tables.
ABOUT = {
    "systems": {name: {"role": system.role, "against": system.against} for name, system in SYSTEMS.items()},
    "benchmarks": {
        name: {
            "headline": configuration.headline_of(CONFIG["benchmarks"][name]),
            "texts": CONFIG["benchmarks"][name]["texts"],
        }
        for name in BENCHMARKS
    },
    "seeds": configuration.seed_groups(CONFIG),
}


def numbers(spec):
    return spec if isinstance(spec, str) else ",".join(str(part) for part in spec) or "none"


PUBMED_NUMBERS = f"--baseline {numbers(CONFIG['pubmed']['baseline'])} --updates {numbers(CONFIG['pubmed']['updates'])}"
STRICT_SEQUENCE = "--strict-sequence" if CONFIG["pubmed"]["strict_sequence"] else ""
PUBMED_WANTED = f"--release {CONFIG['pubmed']['release']} {PUBMED_NUMBERS} {STRICT_SEQUENCE}"


def md5_of_pubmed(wildcards):
    """What list_pubmed recorded of the file: one that NLM replaces under its name is fetched and parsed again.

    Read here and no input, as with MeSH: a new listing alone fetches nothing.
    """
    record = Path("resources/pubmed/release.json")
    files = files_recorded(record, record.stat().st_mtime_ns) if record.exists() else {}
    return as_json(files.get(wildcards.file, {}).get("md5"))


def issue_of_mesh(wildcards):
    """What list_mesh recorded of the file: NLM replaces it within a year, and then it is fetched and parsed again.

    Read here and no input of fetch_mesh: a new listing alone, of another mirror for example, fetches nothing.
    """
    record = Path("resources/mesh/release.json")
    known = json.loads(record.read_text()) if record.exists() else {}
    return as_json(known.get("issue") if known.get("name") == wildcards.mesh else None)


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


def encoder_block(name):
    """The block of a backbone or a peer."""
    return CONFIG["backbones"].get(name) or CONFIG["peers"].get(name)


def source_of_backbone(wildcards):
    """Only what determines its folder: whose tokens it reads fetches nothing anew."""
    block = encoder_block(wildcards.backbone)
    return as_json({key: value for key, value in block.items() if key != "tokens_of"})


def attempt(folder):
    """An input function: another number for each run that tries to bring what could not be had; what is there keeps it."""
    return lambda wildcards: next_attempt(Path(folder.format(**wildcards)))


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


def terms_of_node(wildcards):
    """Only where the node makes queries of headings. A release of an older version of this workflow has none."""
    if "heading_abstract" not in CONFIG["nodes"][wildcards.node]["losses"]:
        return []
    if IS_FROZEN and not Path(TERMS).is_file():
        sys.exit(
            f"Configuration error: training.release: '{CONFIG['training']['release']}' was frozen without the terms of "
            f"MeSH, which losses.heading_abstract of node {wildcards.node} needs. Name a new release."
        )
    return [TERMS]


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


def trained_on_development():
    """The systems that were trained on a development split, and which."""
    known = [f"{name}={benchmark}" for name in SHOWN for benchmark in configuration.trained_on(CONFIG, name)]
    return f"--trained-on {' '.join(known)}" if known else ""


def tables_of_training(wildcards, input):
    """Options for the tables that not every node reads."""
    given = {
        "--labels": input.labels,
        "--hierarchy": input.hierarchy,
        "--label-counts": input.counts,
        "--terms": input.terms,
        "--queries": input.queries,
        "--negatives": input.negatives,
    }
    teacher = CONFIG["nodes"][wildcards.node]["teacher"]
    given["--teacher"] = f"results/teachers/{teacher}" if teacher else None
    return options_of(given)


def options_of(given):
    """Of options and the files that they name those that name one."""
    return " ".join(f"{option} {path}" for option, path in given.items() if path)


def screening_table(wildcards):
    """The table of label_study.screening; no input where there is none."""
    path = CONFIG["label_study"]["screening"]
    if path and not Path(path).is_file():
        sys.exit(f"Configuration error: label_study.screening: {path}: no such file")
    return path or []


def screening_option(wildcards, input):
    return f"--screening {shlex.quote(str(input.screening))}" if input.screening else ""


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


def task_of(wildcards):
    return task_on(wildcards.system, wildcards.benchmark)


def task_on(system, benchmark):
    """The benchmark's task, for encoders whose instructions have a place for it: config.yaml's, or the folder's own."""
    block = encoder_block(configuration.chain_of(CONFIG, system)[-1])
    given = [block[f"{kind}_instruction"] for kind in ("query", "passage")]
    is_asked = any(instruction is None or "{task}" in instruction for instruction in given)
    task = CONFIG["benchmarks"][benchmark]["task"]
    return f"--task {shlex.quote(task)}" if is_asked and task else ""


def vectors_of_queries(wildcards):
    # What is only chosen between is no system of the score table.
    system = SYSTEMS.get(wildcards.system)
    encoder = (system and system.of) or wildcards.system
    return f"results/vectors/{encoder}/{wildcards.benchmark}/{split_of(wildcards)}.npy"


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
    """A release of an older version of this workflow has none."""
    if IS_FROZEN and not Path(TERMS).is_file():
        sys.exit(
            f"Configuration error: training.release: '{CONFIG['training']['release']}' was frozen without the terms of "
            f"MeSH, which training.concepts.{wildcards.selection} needs. Name a new release."
        )
    return TERMS


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
    return {selection: f"results/training/overlap/{selection}/{benchmark}.parquet" for selection in SELECTIONS}


def excluded_texts(wildcards):
    """The texts of the benchmarks that a selection leaves out: these alone are its inputs."""
    named = block_of_selection(wildcards.selection)["exclude_benchmarks"]
    tables = ("pairs" if name in PAIR_BENCHMARKS else "documents" for name in named)
    return [f"resources/benchmarks/{name}/{table}.parquet" for name, table in zip(named, tables)]


def announce_cost():
    """Says before the start what training without a GPU will cost."""
    planned = {job.wildcards.node for job in workflow.persistence.dag.needrun_jobs() if job.rule.name == "train_node"}
    if HAS_GPU or not planned:
        return
    print(f"No GPU here: {', '.join(sorted(planned))} will be trained on the CPU.", file=sys.stderr)
    for node in sorted(planned):
        block = CONFIG["nodes"][node]
        # How many texts concepts and pairs have is not known before they are made.
        count = CITATIONS.get(block["selection"], {}).get("citations")
        if isinstance(count, int):
            # LoRA on all-MiniLM-L6-v2 took 18 titles with abstracts of 128 tokens a second on 2 cores.
            minutes = count * block["schedule"]["epochs"] * block["max_length"] / 128 / 18 / 60
            time = f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:,.0f} hours"
            print(
                f"  {node}: up to {count:,} citations of {block['max_length']} tokens, {block['schedule']['epochs']} times: "
                f"about {time} for a model of MiniLM's size (22 M weights) on 2 cores, 10 times that for BERT-base.",
                file=sys.stderr,
            )
    print("  Smaller: training.selections.*.citations and nodes.*.max_length in config.yaml.", file=sys.stderr)
