"""What a training step eats: tokens and labels of a selection, row for row, and the order of batches.

Goes in: the tokens, labels and hierarchy tables. Comes out: token lists and label sets by citation, and the
order of batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from biohicl.errors import BioHiCLError
from biohicl.mesh.label_counts import read_label_counts
from biohicl.mesh.label_sets import HIERARCHY_KEY, LabelSets
from biohicl.mesh.nodes import read_nodes
from biohicl.mesh.similarity import METHODS
from biohicl.mesh.weights import weighting
from biohicl.ragged import Ragged
from biohicl.training.targets import Targets


@dataclass(frozen=True)
class TrainingData:
    """A selection, ready: token lists by view, and what SimL its citations should have (None: nobody asks)."""

    pmids: npt.NDArray[np.int32]
    tokens: Mapping[str, Ragged]
    targets: Targets | None

    def __len__(self) -> int:
        return len(self.pmids)


def read_training_data(
    tokens: Path,
    labels: Path,
    hierarchy: Path,
    label_counts: Path | None,
    label_settings: Mapping[str, Any] | None,
    views: set[str],
) -> TrainingData:
    """Reads the ``views`` of the tokens, and the labels as ``label_settings`` (a node's ``labels``) weighs them.

    ``label_counts`` is needed for the weight ``corpus`` alone. Without ``label_settings`` no labels are read.
    """
    token_table = pq.read_table(tokens, columns=["pmid", "version", *sorted(views)])
    pmids, token_lists = token_table["pmid"].to_numpy(), {view: Ragged.of(token_table[view]) for view in views}
    if label_settings is None:
        return TrainingData(pmids, token_lists, None)
    column = METHODS[label_settings["similarity"]].labels
    label_table = pq.read_table(labels, columns=["pmid", "version", column, f"{column}_kinds"])
    for key in ("pmid", "version"):
        if not token_table[key].equals(label_table[key]):
            raise BioHiCLError(f"{tokens} and {labels} are not of the same selection: their {key} columns differ")
    nodes = read_nodes(hierarchy)
    made_with = (label_table.schema.metadata or {}).get(HIERARCHY_KEY.encode(), b"").decode()
    if made_with != nodes.fingerprint:
        raise BioHiCLError(
            f"{labels}: its ids are of another hierarchy than {hierarchy}; make them again: biohicl labels"
        )
    sets = LabelSets.of(label_table[column], label_table[f"{column}_kinds"])
    counts = read_label_counts(label_counts, nodes) if label_counts else None
    targets = Targets(sets, weighting(nodes, label_settings, counts), label_settings["similarity"])
    return TrainingData(pmids, token_lists, targets)


def batches(count: int, batch_size: int, epochs: int, seed: int) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """(epoch, indices) of every batch: each epoch a fresh permutation, a function of ``seed`` and epoch alone.

    An epoch's rest that fills no batch is left out, unless it is all there is.
    """
    size = min(batch_size, count)
    for epoch in range(epochs):
        order = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(count)
        for start in range(0, count - size + 1, size):
            yield epoch, order[start : start + size]


def steps_of(count: int, batch_size: int, epochs: int, max_steps: int | None) -> int:
    """How many batches :func:`batches` yields, cut at ``max_steps``."""
    steps = epochs * (count // min(batch_size, count))
    return steps if max_steps is None else min(steps, max_steps)
