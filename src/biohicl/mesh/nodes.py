"""The hierarchy as arrays: what label ids refer to.

Goes in: ``hierarchy.parquet``. Comes out: :class:`Nodes`. A node is a descriptor, a category (A ... Z), or the root
of all. NLM gives the categories no descriptor and no root above them; they are nodes here so that a weighting may
say whether two descriptors of one category, or any two, have something in common.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from biohicl.errors import BioHiCLError
from biohicl.ragged import Ragged

DEPTHS = ("min", "mean", "max")
COLUMNS = ["descriptor_ui", "categories", "ancestors", *(f"depth_{kind}" for kind in DEPTHS)]


@dataclass(frozen=True)
class Nodes:
    """N nodes, by id: the D descriptors in the order of the hierarchy's rows, the categories by letter, the root.

    ``closure`` has a row for each descriptor: the ids, sorted, of itself, its ancestors, its categories and the
    root. ``depths`` (N,) float64, for each of min, mean and max over a descriptor's positions: 1 for a tree number
    without a dot, 0 for a category, -1 for the root, NaN for a descriptor without a position (Male, Female).
    """

    uis: Sequence[str]
    categories: Sequence[str]
    closure: Ragged
    depths: dict[str, npt.NDArray[np.float64]]

    @property
    def descriptors(self) -> int:
        """D; ids from here on are no descriptors."""
        return len(self.uis)

    @property
    def count(self) -> int:
        """N."""
        return len(self.uis) + len(self.categories) + 1

    @property
    def names(self) -> list[str]:
        """UIs, letters, and "root", by id."""
        return [*self.uis, *self.categories, "root"]

    @cached_property
    def fingerprint(self) -> str:
        """What ids mean, as a SHA-256: ids of one hierarchy mean nothing in another."""
        closure = self.closure.values.tobytes() + self.closure.offsets.tobytes()
        return hashlib.sha256("\n".join(self.names).encode() + closure).hexdigest()

    @cached_property
    def at_or_below(self) -> npt.NDArray[np.int64]:
        """(N,): how many descriptors have the node in their closure, itself counted where it is one."""
        return np.bincount(self.closure.values, minlength=self.count)

    @cached_property
    def leaves_below(self) -> npt.NDArray[np.int64]:
        """(N,): how many leaves lie below the node, itself not counted; 0 for a leaf."""
        leaf = self.at_or_below[: self.descriptors] == 1
        below_leaves = self.closure.values[np.repeat(leaf, self.closure.lengths())]
        counts = np.bincount(below_leaves, minlength=self.count)
        counts[: self.descriptors][leaf] = 0
        return counts

    @cached_property
    def at_or_above(self) -> npt.NDArray[np.int64]:
        """(N,): how many descriptors are the node itself or its ancestors; 1 for a category and for the root."""
        counts = np.ones(self.count, dtype=np.int64)
        own = np.repeat(np.arange(self.descriptors), self.closure.lengths())
        counts[: self.descriptors] = np.bincount(
            own[self.closure.values < self.descriptors], minlength=self.descriptors
        )
        return counts

    @classmethod
    def of(cls, table: pa.Table) -> Nodes:
        """From a table with the columns ``COLUMNS`` of the hierarchy."""
        uis = table["descriptor_ui"].to_pylist()
        ids = {ui: number for number, ui in enumerate(uis)}
        of_descriptors = [sorted(letters) for letters in table["categories"].to_pylist()]
        categories = sorted({letter for letters in of_descriptors for letter in letters})
        of_category = {letter: len(uis) + place for place, letter in enumerate(categories)}
        root = len(uis) + len(categories)
        closures = [
            np.array(
                sorted({number, *(ids[ui] for ui in above)}) + [of_category[letter] for letter in letters] + [root],
                dtype=np.int32,
            )
            for number, (above, letters) in enumerate(zip(table["ancestors"].to_pylist(), of_descriptors, strict=True))
        ]
        offsets = np.concatenate([[0], np.cumsum([len(closure) for closure in closures])]).astype(np.int64)
        values = np.concatenate(closures) if closures else np.zeros(0, dtype=np.int32)
        above = np.array([0.0] * len(categories) + [-1.0])
        depths = {
            kind: np.concatenate([table[f"depth_{kind}"].cast(pa.float64()).fill_null(float("nan")).to_numpy(), above])
            for kind in DEPTHS
        }
        return cls(uis, categories, Ragged(values, offsets), depths)


def read_nodes(hierarchy: Path) -> Nodes:
    """The nodes of a ``hierarchy.parquet``; an error where the file is none, or does not hold together."""
    try:
        schema = pq.read_schema(hierarchy)
    except FileNotFoundError:
        raise BioHiCLError(f"{hierarchy}: no such file; make it with: biohicl hierarchy") from None
    missing = [column for column in COLUMNS if column not in schema.names]
    if missing:
        raise BioHiCLError(f"{hierarchy}: has no column {', '.join(missing)}; it has to be what biohicl hierarchy made")
    table = pq.read_table(hierarchy, columns=COLUMNS)
    holed = [column for column in COLUMNS[:3] if table[column].null_count]
    if holed:
        raise BioHiCLError(f"{hierarchy}: has rows without {', '.join(holed)}; make it again with: biohicl hierarchy")
    try:
        return Nodes.of(table)
    except KeyError as error:
        raise BioHiCLError(
            f"{hierarchy}: names {error.args[0]} as an ancestor, but has no row for it; make it again with: "
            "biohicl hierarchy"
        ) from None


def check_tags() -> frozenset[str]:
    """UIs of NLM's check tags; the list, and where it comes from: ``check_tags.tsv`` in this folder."""
    text = importlib.resources.files("biohicl.mesh").joinpath("check_tags.tsv").read_text(encoding="utf-8")
    rows = (line for line in text.splitlines() if not line.startswith("#"))
    return frozenset(row["ui"] for row in csv.DictReader(rows, delimiter="\t"))
