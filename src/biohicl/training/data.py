"""What a training step eats: tokens and labels of a selection, row for row, and the order of batches.

Goes in: the tokens, labels and hierarchy tables. Comes out: batches of token lists and their SimL matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.errors import BioHiCLError
from biohicl.mesh.similarity import descriptor_weights, label_similarity

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Ragged:
    """Lists of different lengths, end to end: row i is ``values[offsets[i]:offsets[i + 1]]``."""

    values: Ids
    offsets: npt.NDArray[np.int64]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Ragged:
        lists = column.combine_chunks()
        offsets = lists.offsets.to_numpy().astype(np.int64)
        values = lists.values.to_numpy()[offsets[0] : offsets[-1]].astype(np.int32)
        return cls(values, offsets - offsets[0])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def rows(self, indices: npt.NDArray[np.integer]) -> list[Ids]:
        return [self.values[self.offsets[i] : self.offsets[i + 1]] for i in indices]


@dataclass(frozen=True)
class TrainingData:
    """A selection, ready: token lists by view, label sets, a weight for each descriptor."""

    pmids: Ids
    tokens: Mapping[str, Ragged]
    labels: Ragged
    weights: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.pmids)

    def target(self, indices: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """SimL of the citations ``indices``, (B, B) float32."""
        sets = self.labels.rows(indices)
        offsets = np.cumsum([0, *map(len, sets)])
        ids = np.concatenate(sets) if sets else np.zeros(0, dtype=np.int32)
        return label_similarity(ids, offsets, self.weights)


def read_training_data(
    tokens: Path, labels: Path, hierarchy: Path, label_settings: Mapping[str, Any], views: set[str]
) -> TrainingData:
    """Reads the ``views`` of the tokens, and the labels as ``label_settings`` (a node's ``labels``) weighs them."""
    token_table = pq.read_table(tokens, columns=["pmid", "version", *sorted(views)])
    column = "closed" if label_settings["ancestors"] else "direct"
    label_table = pq.read_table(labels, columns=["pmid", "version", column])
    for key in ("pmid", "version"):
        if not token_table[key].equals(label_table[key]):
            raise BioHiCLError(f"{tokens} and {labels} are not of the same selection: their {key} columns differ")
    depth = pq.read_table(hierarchy, columns=[f"depth_{label_settings['depth']}"])
    depths = depth.column(0).cast(pa.float64()).fill_null(float("nan")).to_numpy()
    label_sets = Ragged.of(label_table[column])
    if len(label_sets.values) and int(label_sets.values.max()) >= len(depths):
        raise BioHiCLError(
            f"{labels} refers to descriptors that {hierarchy} does not have: they are of different releases"
        )
    return TrainingData(
        pmids=token_table["pmid"].to_numpy(),
        tokens={view: Ragged.of(token_table[view]) for view in views},
        labels=label_sets,
        weights=descriptor_weights(label_settings["weight"], depths),
    )


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
