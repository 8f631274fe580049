# What several rule files need: the checked configuration, and functions from it to file names.

import json
import os
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

BASE = Path(workflow.basedir)

# Jobs run `python -m biohicl` with the Python that runs Snakemake, activated or not. With --sdm conda each
# job's own environment comes first, and finds the package, which is not installed there, in src/.
os.environ["PATH"] = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
)
os.environ["PYTHONPATH"] = os.pathsep.join(
    part for part in (str(BASE / "src"), os.environ.get("PYTHONPATH")) if part
)
sys.path.insert(0, str(BASE / "src"))

from biohicl import configuration
from biohicl.errors import BioHiCLError
from biohicl.evaluation.benchmarks import files_of
from biohicl.mesh.schema import SCHEMA_VERSION as MESH_SCHEMA
from biohicl.pubmed.schema import SCHEMA_VERSION as PUBMED_SCHEMA

try:
    CONFIG = configuration.resolve(
        config,
        BASE / "workflow/schemas/config.schema.yaml",
        files=[BASE / "config.yaml", *workflow.overwrite_configfiles],
    )
except BioHiCLError as error:
    raise WorkflowError(f"Configuration error: {error}")

# A GPU limits nothing by default; the command line (--resources gpu=2) overrides this.
workflow.global_resources.setdefault("gpu", 1)
workflow.global_resources.setdefault("downloads", 4)

HAS_GPU = shutil.which("nvidia-smi") is not None
GPUS_OF_A_JOB = 1 if HAS_GPU else 0
MODEL_THREADS = CONFIG["training"]["threads"]

# Names without regular-expression traps in file names.
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"


wildcard_constraints:
    kind="baseline|updatefiles",
    file=r"pubmed\d\dn\d+",
    mesh=r"desc\d{4}",
    backbone=NAME,
    benchmark=NAME,
    system=NAME,
    node=NAME,
    selection=NAME,
    release=NAME,
    length=r"\d+",


def as_json(value):
    """A block of the configuration as one argument of a command (quoted by :q in the shell line)."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def release_files(wildcards):
    """The PubMed files of the recorded release; asks the server through the checkpoint where nothing is recorded."""
    record = checkpoints.list_pubmed.get().output[0]
    return json.loads(Path(record).read_text())["files"]


def tables(*kinds):
    """An input function: these tables of every file of the release."""

    def of_release(wildcards):
        return [
            f"results/pubmed/{kind}/{file['name']}.parquet"
            for file in release_files(wildcards)
            for kind in kinds
        ]

    return of_release


def encoder_folder(name):
    """Where a backbone or a node lies."""
    return (
        f"results/models/{name}"
        if name in CONFIG["nodes"]
        else f"resources/backbones/{name}"
    )


# The models of `all`, with every node that they start from, and their backbones, each once and in order.
CHAINS = [configuration.chain_of(CONFIG, model) for model in CONFIG["models"]]
NODES = list(dict.fromkeys(name for chain in CHAINS for name in reversed(chain[:-1])))
BACKBONES = list(dict.fromkeys(chain[-1] for chain in CHAINS))
SELECTIONS = list(dict.fromkeys(CONFIG["nodes"][node]["selection"] for node in NODES))
ROLES = (
    {"bm25": "lexical"}
    | dict.fromkeys(BACKBONES, "backbone")
    | dict.fromkeys(CONFIG["models"], "model")
)


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

# Measured on 2 cores of an ordinary server, texts of 128 tokens; used for the warning below and nothing else.
ABSTRACTS_PER_SECOND_AND_GFLOP = 22.0


def announce_cost():
    """Says before the start what training without a GPU will cost."""
    waiting = [node for node in NODES if not Path(f"results/models/{node}").exists()]
    if HAS_GPU or not waiting:
        return
    print(
        f"No GPU here: {', '.join(waiting)} will be trained on the CPU.",
        file=sys.stderr,
    )
    for node in waiting:
        block = CONFIG["nodes"][node]
        count = CONFIG["training"]["selections"][block["selection"]]["citations"]
        if isinstance(count, int):
            hours = (
                count
                * block["schedule"]["epochs"]
                * block["max_length"]
                / 128
                / 22
                / 3600
            )
            print(
                f"  {node}: up to {count:,} citations of {block['max_length']} tokens, {block['schedule']['epochs']} times: "
                f"about {hours:.1f} h for a model of MiniLM's size (22 M weights) on 2 cores, and 10 times as long for BERT-base.",
                file=sys.stderr,
            )
    print(
        "  A smaller selection or shorter texts: training.selections, nodes.*.max_length.",
        file=sys.stderr,
    )
