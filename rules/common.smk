# What the other files share: the checked configuration, and functions from it to file names.

import functools
import json
import os
import shlex
import shutil
import sys
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
from biohicl.mesh.schema import SCHEMA_VERSION as MESH_SCHEMA, TABLES as MESH_TABLES
from biohicl.pubmed.schema import SCHEMA_VERSION as PUBMED_SCHEMA

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


def as_json(value):
    """A block of the configuration as one argument of a command (quoted by :q in the shell line)."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


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


# The models of `all`, with every node that they start from, and their backbones, each once and in order.
CHAINS = [configuration.chain_of(CONFIG, model) for model in CONFIG["models"]]
NODES = list(dict.fromkeys(name for chain in CHAINS for name in reversed(chain[:-1])))
BACKBONES = list(dict.fromkeys(chain[-1] for chain in CHAINS))
COUNTED = [LABEL_COUNTS] if any(configuration.needs_label_counts(CONFIG["nodes"][node]) for node in NODES) else []
SELECTIONS = list(dict.fromkeys(CONFIG["nodes"][node]["selection"] for node in NODES))
ROLES = {"bm25": "lexical"} | dict.fromkeys(BACKBONES, "backbone") | dict.fromkeys(CONFIG["models"], "model")


def evaluations(kind):
    """system/benchmark of `all` for benchmarks of this kind; BM25 gives no similarity of two sentences."""
    return [
        f"{system}/{benchmark}"
        for benchmark in CONFIG["evaluation"]["benchmarks"]
        if CONFIG["benchmarks"][benchmark]["kind"] == kind
        for system in ROLES
        if not (system == "bm25" and kind == "similarity")
    ]


EVALUATIONS = evaluations("retrieval") + evaluations("similarity")


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
    """Only what determines its files: a new licence text fetches nothing anew."""
    block = CONFIG["benchmarks"][wildcards.benchmark]
    return as_json({key: block[key] for key in ("kind", "url", "path", "sha256", "split")})


def source_of_backbone(wildcards):
    """Only what determines its folder: whose tokens it reads fetches nothing anew."""
    block = CONFIG["backbones"][wildcards.backbone]
    return as_json({key: value for key, value in block.items() if key != "tokens_of"})


def tokens_of_node(wildcards):
    """A node reads the tokens of the backbone at the end of its chain, or of the one that these are shared with."""
    block = CONFIG["nodes"][wildcards.node]
    backbone = configuration.chain_of(CONFIG, wildcards.node)[-1]
    owner = CONFIG["backbones"][backbone]["tokens_of"] or backbone
    return f"results/training/tokens/{owner}-{block['max_length']}/{block['selection']}.parquet"


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


def tables_of_training(wildcards, input):
    """Options for the tables that not every node reads."""
    given = {"--label-counts": input.counts, "--terms": input.terms}
    return " ".join(f"{option} {path}" for option, path in given.items() if path)


def screening_table(wildcards):
    """The table of label_study.screening; no input where there is none."""
    path = CONFIG["label_study"]["screening"]
    if path and not Path(path).is_file():
        sys.exit(f"Configuration error: label_study.screening: {path}: no such file")
    return path or []


def screening_option(wildcards, input):
    return f"--screening {shlex.quote(str(input.screening))}" if input.screening else ""


def benchmark_files(wildcards):
    block = CONFIG["benchmarks"][wildcards.benchmark]
    folder = f"resources/benchmarks/{wildcards.benchmark}"
    if block["kind"] == "retrieval":
        return [f"{folder}/corpus.jsonl", f"{folder}/queries.jsonl", f"{folder}/qrels"]
    return [f"{folder}/pairs.jsonl"]


def evaluation_options(wildcards):
    """What determines the result, and nothing that does not: the batch size is left out."""
    block = CONFIG["benchmarks"][wildcards.benchmark]
    options = f"--system {wildcards.system} --split {block['split']} --run-depth {CONFIG['evaluation']['run_depth']}"
    if wildcards.system == "bm25":
        bm25 = CONFIG["evaluation"]["bm25"]
        options += f" --bm25-k1 {bm25['k1']} --bm25-b {bm25['b']}"
    return options


def system_of(wildcards):
    return "bm25" if wildcards.system == "bm25" else encoder_folder(wildcards.system)


def announce_cost():
    """Says before the start what training without a GPU will cost."""
    planned = {job.wildcards.node for job in workflow.persistence.dag.needrun_jobs() if job.rule.name == "train_node"}
    if HAS_GPU or not planned:
        return
    print(f"No GPU here: {', '.join(sorted(planned))} will be trained on the CPU.", file=sys.stderr)
    for node in sorted(planned):
        block = CONFIG["nodes"][node]
        count = CONFIG["training"]["selections"][block["selection"]]["citations"]
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
