"""Sets of labels: the headings of citations as node ids, direct or with all that stands above them.

Goes in: lists of descriptor UIs with their major-topic flags, and the :class:`~biohicl.mesh.nodes.Nodes`. Comes
out: :class:`LabelSets`, and how often each heading occurred that the hierarchy does not know.

Each id keeps by what kinds of headings it came in, so that a weighting can drop or weaken check tags, or headings
that are no major topic, *with what only they brought*: Humans stands eleven levels deep, and a vector over nodes
alone could not tell its ancestors from those of a whale.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from biohicl.mesh.nodes import Nodes, check_tags
from biohicl.ragged import Ragged

# Bits of LabelSets.kinds. A heading is of one kind; an ancestor may have come in by several.
MINOR, MAJOR, MINOR_CHECK_TAG, MAJOR_CHECK_TAG = 1, 2, 4, 8
# In a label table's Parquet metadata: the fingerprint of the nodes that its ids are of.
HIERARCHY_KEY = "biohicl.hierarchy"
KINDS = (MINOR, MAJOR, MINOR_CHECK_TAG, MAJOR_CHECK_TAG)


@dataclass(frozen=True)
class LabelSets:
    """B sets of node ids: set b is ``ids.values[ids.offsets[b]:ids.offsets[b + 1]]``, sorted, without repeats.

    ``kinds``, as long as ``ids.values``, uint8: the bits of the kinds of headings that brought each id.
    """

    ids: Ragged
    kinds: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: npt.NDArray[np.integer]) -> LabelSets:
        """The sets ``indices``, in that order."""
        kinds = Ragged(self.kinds, self.ids.offsets).take(indices)
        return LabelSets(self.ids.take(indices), kinds.values)

    @classmethod
    def of(cls, ids: Any, kinds: Any) -> LabelSets:
        """From two list columns of pyarrow of the same shape."""
        return cls(Ragged.of(ids), Ragged.of(kinds, np.uint8).values)


def direct_labels(
    headings: Ragged, uis: npt.NDArray[Any], majors: npt.NDArray[np.bool_], nodes: Nodes
) -> tuple[LabelSets, Counter[str | None]]:
    """The label sets of B citations, and the headings that ``nodes`` lacks, by UI, with how often they occurred.

    ``headings``: for each citation the places of its headings in ``uis`` (descriptor UIs, each once, or None where a
    record gives a name only); ``majors``, beside ``headings.values``: whether the heading is a major topic.
    """
    ids = {ui: number for number, ui in enumerate(nodes.uis)}
    id_of = np.array([ids.get(ui, -1) for ui in uis], dtype=np.int64)
    tags = check_tags()
    is_tag = np.array([ui in tags for ui in uis], dtype=bool)
    places = headings.values
    known = id_of[places] >= 0
    lost, times = np.unique(places[~known], return_counts=True)
    unknown: Counter[str | None] = Counter(dict(zip(uis[lost].tolist(), times.tolist(), strict=True)))
    kinds = np.where(majors, MAJOR, MINOR) << np.where(is_tag[places], 2, 0)
    citation = np.repeat(np.arange(len(headings)), headings.lengths())
    return _united(citation[known], id_of[places[known]], kinds[known], len(headings), nodes.count), unknown


def closed_labels(direct: LabelSets, nodes: Nodes) -> LabelSets:
    """The sets with all that stands above each label: ancestors, categories, the root."""
    above = nodes.closure.take(direct.ids.values)
    citation = np.repeat(np.arange(len(direct)), direct.ids.lengths())
    lengths = above.lengths()
    return _united(
        np.repeat(citation, lengths), above.values, np.repeat(direct.kinds, lengths), len(direct), nodes.count
    )


def _united(
    citation: npt.NDArray[np.integer],
    ids: npt.NDArray[np.integer],
    kinds: npt.NDArray[np.integer],
    citations: int,
    nodes: int,
) -> LabelSets:
    """One entry for each (citation, id), with the bits of all of them."""
    keys = citation.astype(np.int64) * nodes + ids
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    united = np.bitwise_or.reduceat(kinds[order], first) if len(first) else kinds
    keys = keys[first]
    offsets = np.searchsorted(keys, np.arange(citations + 1, dtype=np.int64) * nodes)
    return LabelSets(Ragged((keys % nodes).astype(np.int32), offsets.astype(np.int64)), united.astype(np.uint8))
