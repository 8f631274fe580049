"""Queries made of a citation's MeSH headings, and whom such a query suits.

Goes in: the headings of a selection, how much each says, and the names of the descriptors. Comes out: for each
citation one to three of its headings as the text of a query; and, for a batch, which of its citations carry all
headings of which query.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from biohicl.errors import BioHiCLError
from biohicl.mesh.label_sets import MAJOR_CHECK_TAG, MINOR_CHECK_TAG, LabelSets
from biohicl.mesh.nodes import Nodes
from biohicl.mesh.weights import Weights

Names = Sequence[Sequence[str]]
# How often a heading goes by its name, where it has synonyms.
BY_NAME = 0.5
BETWEEN = ", "


def read_terms(terms: Path) -> dict[str, list[str]]:
    """By descriptor's UI its name, then the other terms of its preferred concept, in alphabetical order.

    ``terms``: the MeSH table. That concept is the one of the name; terms of the others (narrower, related) are other
    things' names.
    """
    columns = ["descriptor_ui", "concept_ui", "term", "record_preferred"]
    table = pq.read_table(terms, columns=columns).sort_by([("record_preferred", "descending"), ("term", "ascending")])
    concept_of: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    for ui, concept, term, is_name in zip(*(column.to_pylist() for column in table.columns), strict=True):
        if is_name:
            concept_of.setdefault(ui, concept)
        if concept_of.get(ui) == concept and term not in found.setdefault(ui, []):
            found[ui].append(term)
    return found


def read_names(terms: Path, nodes: Nodes) -> Names:
    """For each descriptor its name and its synonyms (:func:`read_terms`), as they may stand in a query.

    A term that only turns another one round ("Infarction, Myocardial") is nobody's question, and left out.
    """
    of_descriptor = read_terms(terms)
    for ui, (name, *synonyms) in of_descriptor.items():
        all_terms = {term.casefold() for term in (name, *synonyms)}
        of_descriptor[ui] = [name, *(term for term in synonyms if not _is_turned_round(term, all_terms))]
    without = [ui for ui in nodes.uis if ui not in of_descriptor]
    if without:
        raise BioHiCLError(
            f"{terms}: has no term for {len(without):,} descriptors of the hierarchy, such as {without[0]}: they are "
            "of different releases"
        )
    return [of_descriptor[ui] for ui in nodes.uis]


def _is_turned_round(term: str, terms: Set[str]) -> bool:
    """Whether a term, "B, A", stands for another, "A B"; ``terms``: all of them, without regard to case."""
    later, comma, first = term.casefold().rpartition(", ")
    return bool(comma) and f"{first} {later}" in terms


@dataclass(frozen=True)
class HeadingQueries:
    """``direct``, ``closed``: label sets of the selection's citations. ``weights`` (N,): the weight of each node.

    A heading is drawn with a probability proportional to its squared weight, as recipe A has it; check tags, and
    headings without weight, never are.
    """

    direct: LabelSets
    closed: LabelSets
    weights: Weights
    names: Names
    most: int

    @cached_property
    def _chances(self) -> npt.NDArray[np.float64]:
        is_tag = (self.direct.kinds & (MINOR_CHECK_TAG | MAJOR_CHECK_TAG)) > 0
        return np.where(is_tag, 0.0, self.weights[self.direct.ids.values].astype(np.float64) ** 2)

    def __post_init__(self) -> None:
        if not self.usable.any():
            raise BioHiCLError(
                "losses.heading_abstract: no citation of the selection has a heading that a query can be made of (one "
                "that is no check tag, and has a weight above 0)"
            )

    @cached_property
    def usable(self) -> npt.NDArray[np.bool_]:
        """(n,): which citations have a heading that a query can be made of."""
        owner = np.repeat(np.arange(len(self.direct)), self.direct.ids.lengths())
        return np.bincount(owner, weights=self._chances > 0, minlength=len(self.direct)) > 0

    def draw(self, citation: int, draw: np.random.Generator) -> tuple[npt.NDArray[np.int32], str]:
        """The descriptor ids of one to ``most`` headings of a usable citation, and the query's text."""
        own = slice(self.direct.ids.offsets[citation], self.direct.ids.offsets[citation + 1])
        ids, chances = self.direct.ids.values[own], self._chances[own]
        most = min(self.most, int(np.count_nonzero(chances)))
        count = int(draw.integers(1, most + 1))
        chosen = draw.choice(ids, count, replace=False, p=chances / chances.sum())
        words = []
        for number in chosen:
            name, *synonyms = self.names[number]
            words.append(name if not synonyms or draw.random() < BY_NAME else synonyms[draw.integers(len(synonyms))])
        return chosen, BETWEEN.join(words)

    def carried(
        self, citations: npt.NDArray[np.integer], queries: Sequence[npt.NDArray[np.integer]]
    ) -> npt.NDArray[np.float32]:
        """(Q, B): 1 where citation j has all headings of query i, or one below each, else 0."""
        from scipy.sparse import csr_array

        sets = self.closed.ids.take(citations)
        nodes = len(self.weights)
        having = csr_array((np.ones(len(sets.values), np.int32), sets.values, sets.offsets), shape=(len(sets), nodes))
        lengths = np.array([len(query) for query in queries])
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        asked = np.concatenate(queries)
        wanted = csr_array((np.ones(len(asked), np.int32), asked, offsets), shape=(len(queries), nodes))
        return ((wanted @ having.T).toarray() == lengths[:, None]).astype(np.float32)
