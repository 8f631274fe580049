# What the other files share: the checked configuration, and functions from it to file names.

import functools
import gc
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

BASE = Path(workflow.basedir)

# Of a plan of thousands of jobs nearly nothing is ever freed, and a quarter of its time went into looking for what may be.
gc.freeze()
gc.set_threshold(1_000_000)

# Jobs run `python -m biohicl` with the Python that runs Snakemake, activated or not. With --sdm conda each
# job's own environment comes first, and finds the package, which is not installed there, in src/.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    PYTHONPATH=os.pathsep.join(part for part in (str(BASE / "src"), os.environ.get("PYTHONPATH")) if part),
)
sys.path.insert(0, str(BASE / "src"))

from biohicl import configuration, estimate
from biohicl.damage import refuse_cut_off
from biohicl.errors import BioHiCLError
from biohicl.evaluation.benchmarks import splits_of
from biohicl.evaluation.sources import files_of
from biohicl.fetch.attempts import next_attempt
from biohicl.machine import memory_mb
from biohicl.mesh.schema import SCHEMA_VERSION as MESH_SCHEMA, TABLES as MESH_TABLES
from biohicl.pubmed.invented import refuse_mixture
from biohicl.pubmed.schema import SCHEMA_VERSION as PUBMED_SCHEMA
from biohicl.report.job_graph import unfinished_outputs
from biohicl.search import TEXTS_WAY
from biohicl.storage import sha256_of
from biohicl.training.pairs import tables_read
from biohicl.training.release import OPTIONAL as OPTIONAL_TABLES
from biohicl.training.selection import texts_given

try:
    CONFIG = configuration.resolve(
        config,
        BASE / "workflow/schemas/config.schema.yaml",
        files=[BASE / "config.yaml", *workflow.overwrite_configfiles],
    )
    refuse_mixture(Path("resources/pubmed/release.json"), CONFIG["pubmed"]["mirrors"])
except BioHiCLError as error:
    # Not a WorkflowError: Snakemake would wrap this one line in places of its own code.
    sys.exit(f"Configuration error: {error}")

# Known before this run begins jobs of its own; what Snakemake has forgotten of them it is told again. Where it is to
# write no records, nothing would tell what has been made since, and these jobs would run each time.
UNFINISHED = unfinished_outputs() if workflow.is_main_process and "--drop-metadata" not in sys.argv else set()

# Locks can be taken away first: what to remove is said to the command that comes then.
if workflow.is_main_process and "--unlock" not in sys.argv:
    try:
        refuse_cut_off(Path("results"), Path("resources"))
    except BioHiCLError as error:
        sys.exit(f"Damaged file: {error}")


def all_cores(wildcards):
    """The threads of a job that nothing else runs beside. A dry run, --unlock and a cluster need no --cores."""
    try:
        return workflow.cores
    except WorkflowError:
        return MODEL_THREADS


def memory(mb):
    """mem_mb of a rule: what its jobs take at the size of all of PubMed; twice that at the second try, and so on."""
    return lambda wildcards, attempt: mb * attempt


def memory_of_model(of_input, mb, copies):
    """mem_mb of rules that load an encoder, the input of this name: so much, and its weights so many times.

    What is not there yet counts as a model of BERT-base's size (440 MB).
    """

    def megabytes(wildcards, input, attempt):
        files = Path(str(getattr(input, of_input))).rglob("*.safetensors")
        weights = sum(file.stat().st_size for file in files) // 1_000_000
        return (mb + copies * (weights or 440)) * attempt

    return megabytes


# GPUs and memory limit nothing by default; the command line (--resources gpu=2 mem_mb=32000) overrides these.
workflow.global_resources.setdefault("gpu", CONFIG["training"]["gpus"])
workflow.global_resources.setdefault("downloads", 4)
# A tenth is left to the system. With --jobs, and in what it submits, memory is the cluster's affair.
if workflow.is_main_process and workflow.global_resources["_nodes"].value is None:
    workflow.global_resources.setdefault("mem_mb", memory_mb() * 9 // 10)

HAS_GPU = shutil.which("nvidia-smi") is not None if CONFIG["gpu"] == "auto" else CONFIG["gpu"] == "always"
if CONFIG["gpu"] == "never":
    # Jobs that ask for none would find it all the same, several at a time.
    os.environ.update(CUDA_VISIBLE_DEVICES="")
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
    if gpus <= 1:
        return "python -m"
    return f"python -m biohicl on-gpus {gpus} torchrun --standalone --nproc-per-node {gpus} -m --"


def training_options(training):
    """The options of biohicl train that training.* of config.yaml stands for."""
    options = [f"--checkpoint-minutes {training['checkpoint_minutes']}"]
    if training["chunk_tokens"] is not None:
        options.append(f"--chunk-tokens {training['chunk_tokens']}")
    if training["compile"] is not None:
        options.append("--compile" if training["compile"] else "--no-compile")
    if training["deterministic"]:
        options.append("--deterministic")
    return " ".join(filter(None, [*options, precision_option(training)]))


def precision_option(block):
    """What models compute in while they train, or while they encode."""
    return f"--precision {block['precision']}" if block["precision"] else ""


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


@functools.cache
def run_unfinished_again():
    """Has jobs run again that were running when Snakemake was killed, where their output is there.

    Snakemake does so itself (rerun-incomplete), but looks before it knows of the jobs behind a checkpoint. What an
    orphaned one wrote is whole; but nothing tells its parameters, and when these change, nobody would notice.
    """
    workflow.persistence.dag.forcefiles.update(file for file in UNFINISHED if Path(file).exists())


def release_files():
    """The PubMed files of the recorded release, by name; asks the server through the checkpoint where there is none."""
    record = Path(checkpoints.list_pubmed.get().output[0])
    run_unfinished_again()
    return files_recorded(record, record.stat().st_mtime_ns)


def of_listing(record, read):
    """What ``read`` finds in the record of what a server lists."""
    try:
        return read(json.loads(record.read_text(encoding="utf-8")))
    except (ValueError, LookupError, TypeError, AttributeError):
        sys.exit(
            f"Damaged file: {record}: is no listing of a server's files. Remove it, and the same command asks again"
        )


@functools.cache
def files_recorded(record, written):
    """The files of a record as it was ``written``, by name: PubMed has 1,600 jobs that ask for them."""
    return of_listing(record, lambda known: {file["name"]: file for file in known["files"]})


def raw_file(wildcards):
    """The file that a PubMed file's tables are made of."""
    file = release_files().get(wildcards.file)
    if file is None:
        sys.exit(
            f"Configuration error: {wildcards.file} is not among the files that resources/pubmed/release.json lists; "
            "`snakemake refresh` asks NLM again"
        )
    return f"resources/pubmed/{file['kind']}/{file['name']}.xml.gz"


def mesh_file(wildcards):
    """The descriptor file of the recorded release; asks the server through the checkpoint where there is none."""
    record = Path(checkpoints.list_mesh.get().output[0])
    run_unfinished_again()
    return f"resources/mesh/{of_listing(record, mesh_named)}.gz"


def mesh_named(known):
    """The file's name, such as desc2026."""
    return re.fullmatch(r"desc\d{4}", known["name"])[0]


def tables(*kinds):
    """An input function: these tables of every file of the release."""

    def of_release(wildcards):
        return [f"results/pubmed/{kind}/{name}.parquet" for name in release_files() for kind in kinds]

    return of_release


def encoder_folder(name):
    """Where a backbone or a node lies."""
    return f"results/models/{name}" if name in CONFIG["nodes"] else f"resources/backbones/{name}"


def nodes_by(*steps):
    """The nodes of the configuration that are made by one of these steps, those that nothing needs included."""
    return [name for name, node in CONFIG["nodes"].items() if node["step"] in steps]


def judged_for(node):
    """What a choice is between, and last whose average precision it may not lose."""
    return configuration.judged_for(CONFIG, node)


# The models of `all`, with every node that they are made from, each after those that it is made from itself.
ANCESTRY = configuration.ancestry_of(CONFIG, *CONFIG["models"])
# Of these the models (nodes that encode are teachers' vectors), and those that were trained and have a log.
NODES = [node for node in ANCESTRY if node not in nodes_by("encode")]
TRAINED = [node for node in NODES if node in nodes_by("train")]
# Of these the ones whose losses read labels of texts: how SimE follows SimL before and after is compared.
LABELLED = [
    node
    for node in TRAINED
    if CONFIG["nodes"][node]["selection"] not in CONFIG["training"]["pairs"]
    and configuration.reads_labels({**CONFIG["nodes"][node], "negatives": {}})
]
# The cells of `ablations`: by name, the nodes by seed.
ABLATIONS = {cell: configuration.nodes_of_cell(CONFIG, cell) for cell in configuration.cells_of(CONFIG)}
ABLATION_NODES = [node for nodes in ABLATIONS.values() for node in nodes.values()]
COUNTED = [LABEL_COUNTS] if any(configuration.needs_label_counts(CONFIG["nodes"][node]) for node in TRAINED) else []
# What can be trained on, by kind; no name is of two kinds.
CITATIONS, CONCEPTS, PAIRS = (CONFIG["training"][kind] for kind in ("selections", "concepts", "pairs"))
# The selections of citations that the nodes read: what report and catalog have tables of.
TRAINED_ON = list(dict.fromkeys(CONFIG["nodes"][node]["selection"] for node in TRAINED))
SELECTIONS = [name for name in TRAINED_ON if name in CITATIONS]
CONCEPT_SELECTIONS = [name for name in TRAINED_ON if name in CONCEPTS]
PAIR_SELECTIONS = [name for name in TRAINED_ON if name in PAIRS]
# Labelled pairs may hold texts of benchmarks too; what describes MeSH's concepts does not.
COMPARED_SELECTIONS = SELECTIONS + PAIR_SELECTIONS
# The citations whose own queries are read.
QUERIED = [
    name
    for name in SELECTIONS
    if any(
        CONFIG["nodes"][node]["selection"] == name and "query_text" in CONFIG["nodes"][node]["losses"]
        for node in TRAINED
    )
]
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


# system/benchmark of the development splits that `all` scores.
DEVELOPED = [f"{system}/{benchmark}" for system, benchmark in configuration.developed(CONFIG)]
EVALUATIONS = evaluations("retrieval") + evaluations("similarity")

# What the summary has to know of the configuration, in the order of its tables.
ABOUT = {
    "systems": {
        name: {
            "role": system.role,
            "against": system.against,
            "seen": configuration.seen_by(CONFIG, system.of or name),
        }
        for name, system in SYSTEMS.items()
    },
    "benchmarks": {
        name: {
            "headline": configuration.headline_of(CONFIG["benchmarks"][name]),
            "texts": CONFIG["benchmarks"][name]["texts"],
        }
        for name in BENCHMARKS
    },
    "seeds": configuration.seed_groups(CONFIG),
}


def digests_of(files):
    """Of small files the beginnings of their SHA-256: another word where one of them is another."""
    return " ".join(sha256_of(file)[:16] for file in files)


# What targets beside `all` have made so far, for the page and the catalog. No inputs: what is missing is made for nobody,
# and what is outdated is left as it is (a training that nobody asked for would follow).
BESIDE = {
    name: path
    for name, path in {
        "ablations": "results/ablations/ablations.parquet",
        "trainings": "results/ablations/trainings.parquet",
        "efficiency": "results/efficiency.parquet",
        "development": "results/development.parquet",
        "label_study": "results/label_study/auc.parquet",
    }.items()
    if Path(path).is_file()
}
ON_THE_PAGE = ("ablations", "efficiency", "development")


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
    known = of_listing(record, lambda known: {mesh_named(known): known.get("issue")}) if record.exists() else {}
    return as_json(known.get(wildcards.mesh))


def encoder_block(name):
    """The block of a backbone or a peer."""
    return CONFIG["backbones"].get(name) or CONFIG["peers"].get(name)


def source_of_backbone(wildcards):
    """Only what determines its folder: whose tokens it reads, and its licence, fetch nothing anew."""
    block = encoder_block(wildcards.backbone)
    return as_json({key: value for key, value in block.items() if key not in ("tokens_of", "licence")})


def attempt(folder):
    """An input function: another number for each run that tries to bring what could not be had; what is there keeps it."""
    return lambda wildcards: next_attempt(Path(folder.format(**wildcards)))


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


def catalog_names():
    """What the catalog's views are over, as options."""
    lists = {
        "selection": SELECTIONS,
        "concept_selection": CONCEPT_SELECTIONS,
        "pair_selection": PAIR_SELECTIONS,
        "queried": QUERIED,
        "release": [CONFIG["training"]["release"]],
        "counted": [Path(path).stem for path in COUNTED],
        "node": TRAINED,
        "compared": LABELLED,
        "retrieval": evaluations("retrieval"),
        "similarity": evaluations("similarity"),
        "developed": DEVELOPED,
        "collection": [name for name in BENCHMARKS if name in RETRIEVAL_BENCHMARKS],
        "pair_set": [name for name in BENCHMARKS if name in PAIR_BENCHMARKS],
        "overlap": [f"{selection}/{benchmark}" for selection in SELECTIONS for benchmark in BENCHMARKS],
        "overlap_of_pairs": [f"{selection}/{benchmark}" for selection in PAIR_SELECTIONS for benchmark in BENCHMARKS],
    }
    return " ".join(f"--{name.replace('_', '-')} {' '.join(names)}" for name, names in lists.items() if names)
