"""Training on the tables of the finished workflow: what the tests of the trainer share."""

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from biohicl.training.checkpoints import Checkpoints
from biohicl.training.data import Inputs
from biohicl.training.ranks import Ranks
from biohicl.training.train import Options, Training, train

CPU = Options(device="cpu")
# Every loss at once, in a batch of which half the citations have a title to find them, and 40 % headings.
EVERY_LOSS = {
    "mse": {"weight": 1.0},
    "affine_mse": {"weight": 0.7},
    "contrastive": {"weight": 0.1, "positive_above": 0.3, "temperature": 1.0, "weighted": False},
    "soft_targets": {"weight": 0.5, "temperature": 0.05, "target_temperature": 0.1},
    "cosent": {"weight": 0.3, "scale": 20.0},
    "soft_siglip": {
        "weight": 0.2,
    },
    "mul_sup_con": {"weight": 0.4, "temperature": 0.1},
    "title_abstract": {"weight": 2.0, "temperature": 0.05, "share": 0.5, "mask_above": 0.5},
    "heading_abstract": {"weight": 1.5, "temperature": 0.05, "share": 0.4, "headings": 3},
}
BACKBONE = "resources/backbones/sample-bert"


def inputs_of(made, start=BACKBONE, **over):
    """The files of the finished workflow ``made``; ``over`` puts others in their place."""
    folder, _ = made
    release = folder / "results/training/releases/tests"
    files = {
        "start": folder / start,
        "tokens": folder / "results/training/tokens/sample-bert-96/abstracts.parquet",
        "labels": folder / "results/training/labels/abstracts.parquet",
        "hierarchy": release / "hierarchy.parquet",
        "label_counts": folder / "results/training/label_counts/tests.parquet",
        "terms": release / "terms.parquet",
    }
    return Inputs(**files | over)


def node(config, name="default", **over):
    """A node's block of the configuration; ``schedule__max_steps=3`` changes a key below another."""
    block = json.loads(json.dumps(config["nodes"][name]))
    for key, value in over.items():
        *path, last = key.split("__")
        inner = block
        for part in path:
            inner = inner[part]
        inner[last] = value
    return block


def run(made, output, block, options=None, threads=2, start=BACKBONE, **over):
    """Trains; returns ``output``."""
    torch.set_num_threads(threads)
    inputs = inputs_of(made, start, **over)
    train(inputs, block, output, output.with_name(f"{output.name}.checkpoints"), options or CPU)
    return output


def command(made, output, settings_file, *options, threads=2):
    """The words of `biohicl train` in a process of its own, with its checkpoints beside ``output``."""
    inputs = inputs_of(made)
    words = [sys.executable, "-m", "biohicl", "--threads", str(threads), "train", "--device", "cpu"]
    for name in ("start", "tokens", "labels", "hierarchy", "label_counts", "terms"):
        words += [f"--{name.replace('_', '-')}", str(getattr(inputs, name))]
    return [*words, "--settings", str(settings_file), "--output", str(output), *options]


def training(made, block, tmp_path, options=CPU, ranks=None, **over):
    """A training before its first step, its checkpoints under `tmp_path`."""
    torch.set_num_threads(2)
    return Training(
        inputs_of(made, **over), block, "node", Checkpoints(tmp_path / "checkpoints"), options, ranks or Ranks(0, 1)
    )


def own_tables(made, folder, seed=0):
    """Query tokens and hard negatives for the selection of `made`, as their commands write them, drawn at random.

    Text i has i % 3 queries: a span of its document, and then a name; row 5 shares a query with row 7.
    """
    tokens = pq.read_table(inputs_of(made).tokens)
    keys = tokens.select(["pmid", "version"])
    draw = np.random.default_rng(seed)
    queries, kinds, starts, ends = [], [], [], []
    for row, document in enumerate(tokens["document"].to_pylist()):
        start = int(draw.integers(1, len(document) // 2))
        end = int(draw.integers(start + 1, len(document)))
        count = row % 3
        queries.append([[2, *document[start:end], 3], [2, 40 + row % 900, 3]][:count])
        kinds.append([0, 3][:count])
        starts.append([start, 0][:count])
        ends.append([end, 0][:count])
    queries[5], kinds[5], starts[5], ends[5] = [[2, 77, 78, 3]], [4], [0], [0]
    queries[7], kinds[7], starts[7], ends[7] = [[2, 77, 78, 3]], [4], [0], [0]
    asked = {
        "kinds": pa.array(kinds, pa.list_(pa.uint8())),
        "queries": pa.array(queries, pa.list_(pa.list_(pa.int32()))),
        "starts": pa.array(starts, pa.list_(pa.int32())),
        "ends": pa.array(ends, pa.list_(pa.int32())),
    }
    near = {
        name: pa.array(
            [draw.integers(0, keys.num_rows, 12).tolist() for _ in range(keys.num_rows)], pa.list_(pa.int32())
        )
        for name in ("bm25", "siblings")
    }
    paths = folder / "query_tokens.parquet", folder / "negatives.parquet"
    for path, columns in zip(paths, (asked, near), strict=True):
        table = pa.table({**{name: keys[name] for name in keys.column_names}, **columns})
        pq.write_table(table.replace_schema_metadata(tokens.schema.metadata), path)
    return {"queries": paths[0], "negatives": paths[1]}
