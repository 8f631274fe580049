"""Pairs of citations of which something other than their headings says that they are related, or not.

Goes in: what :mod:`biohicl.study.gathering` found, and screening decisions. Comes out: a list of :class:`Evidence`,
each with the label sets of its citations; ``MEANINGS`` says what each kind is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from biohicl.errors import BioHiCLError
from biohicl.mesh.label_sets import MAJOR, MAJOR_CHECK_TAG, LabelSets, closed_labels
from biohicl.mesh.nodes import Nodes
from biohicl.progress import say
from biohicl.study.auc import Mask
from biohicl.study.gathering import SHARED_REFERENCES, Gathered
from biohicl.training.labels import labels_of

MEANINGS = {
    "screening": "two citations that one review included on their full text, against an included and an excluded one",
    "across reviews": "two citations that one review included, against two that different reviews included: topic",
    "references": "citations that share two references or more, against those that share none",
    "citing": "a citation and one that it cites, against those that share no reference with it",
    "comments": "a citation and a comment on it, against other commented ones",
}
# Evidence of fewer units than this tells nothing, and is left out.
FEWEST_UNITS = 5


@dataclass(frozen=True)
class Block:
    """Pairs of ``rows`` with ``columns`` (places of citations), as (R, C) masks; a pair may be neither.

    One unit of evidence, or where ``by_row``, a unit a row; ``units`` names them: a review, or PMIDs. ``clusters``
    numbers, from 0, the groups of units that hang together and are drawn together by the bootstrap.
    """

    units: Sequence[str]
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    related: Mask
    unrelated: Mask
    clusters: npt.NDArray[np.int64]
    by_row: bool = False


@dataclass(frozen=True)
class Evidence:
    """``blocks`` over citations with the label sets ``direct`` and ``closed``, in the same order."""

    name: str
    unit: str
    direct: LabelSets
    closed: LabelSets
    blocks: Sequence[Block]
    has_majors: bool

    @property
    def count(self) -> int:
        """How many units there are."""
        return sum(len(block.units) for block in self.blocks)

    @property
    def clusters(self) -> npt.NDArray[np.int64]:
        """(U,): which units hang together."""
        starts = np.cumsum([0, *(int(block.clusters.max()) + 1 for block in self.blocks)])
        return np.concatenate([block.clusters + start for block, start in zip(self.blocks, starts[:-1], strict=True)])

    @cached_property
    def pairs(self) -> tuple[int, int]:
        """How many different related and unrelated pairs there are, either way round."""
        return self._pairs("related"), self._pairs("unrelated")

    def _pairs(self, mask: str) -> int:
        codes = []
        for block in self.blocks:
            rows, columns = np.nonzero(getattr(block, mask))
            one, other = block.rows[rows], block.columns[columns]
            codes.append(np.minimum(one, other) * len(self.direct) + np.maximum(one, other))
        return len(np.unique(np.concatenate(codes))) if codes else 0


def all_evidence(gathered: Gathered, screening: pl.DataFrame, nodes: Nodes) -> tuple[list[Evidence], list[str]]:
    """What there is, the primary evidence first, and in words what is left out since it has too few units.

    An error where screening decisions were given and too few of them are of any use here.
    """
    evidence = []
    if screening.height:
        sets = _labels(gathered.screened, nodes)
        for name, across in (("screening", False), ("across reviews", True)):
            blocks = _screening_blocks(gathered.screened, screening, across)
            evidence.append(_of(name, "reviews", sets, blocks))
        reviews = len(evidence[0].blocks)
        asked, found = screening["pmid"].n_unique(), gathered.screened.height
        if reviews < FEWEST_UNITS:
            raise BioHiCLError(
                f"label_study.screening: {found:,} of its {asked:,} citations are in the corpus, with headings, and "
                f"{reviews} of its {screening['review'].n_unique()} reviews have related and unrelated pairs there; "
                f"at least {FEWEST_UNITS} are needed. null does without"
            )
        if found < asked:
            say(f"screening: {asked - found:,} of {asked:,} citations are not here or have no headings")
    pool = _labels(gathered.pool, nodes)
    rows = np.flatnonzero(gathered.pool["is_anchor"].to_numpy())
    shared, cites = _ties(gathered.pool, rows)
    others = np.arange(gathered.pool.height)[None, :] != rows[:, None]
    apart = (shared == 0) & ~cites & others
    for name, tied in (("references", shared >= SHARED_REFERENCES), ("citing", cites)):
        evidence.append(_of(name, "citations", pool, _row_blocks(gathered.pool, rows, tied & others, apart)))
    commented = _labels(gathered.commented, nodes)
    tied = _comment_ties(gathered.commented, gathered.comments)
    # Two comments on one article are neither.
    near = (tied.astype(np.int32) @ tied.astype(np.int32)) > 0
    apart = ~tied & ~near & ~np.eye(len(tied), dtype=bool)
    blocks = _row_blocks(gathered.commented, np.arange(len(tied)), tied, apart)
    evidence.append(_of("comments", "citations", commented, blocks))
    left_out = [
        f"{one.name}: {one.count} {one.unit} with related and unrelated pairs, fewer than {FEWEST_UNITS}"
        for one in evidence
        if one.count < FEWEST_UNITS
    ]
    return [one for one in evidence if one.count >= FEWEST_UNITS], left_out


def _labels(citations: pl.DataFrame, nodes: Nodes) -> tuple[LabelSets, LabelSets]:
    direct, _ = labels_of(citations, nodes)
    return direct, closed_labels(direct, nodes)


def _of(name: str, unit: str, sets: tuple[LabelSets, LabelSets], blocks: Sequence[Block]) -> Evidence:
    direct, closed = sets
    whole = [block for block in blocks if block.related.any() and block.unrelated.any()]
    # Some collections mark no major topics at all.
    has_majors = bool((direct.kinds & (MAJOR | MAJOR_CHECK_TAG)).any())
    return Evidence(name, unit, direct, closed, whole, has_majors)


def _screening_blocks(screened: pl.DataFrame, screening: pl.DataFrame, across: bool) -> list[Block]:
    place = {pmid: number for number, pmid in enumerate(screened["pmid"])}
    here = screening.filter(pl.col("pmid").is_in(screened["pmid"].implode()))
    included = here.filter("included")
    of_review: Mapping[Any, set[int]] = {
        review: {place[pmid] for pmid in included.filter(pl.col("review") == review)["pmid"]}
        for review in here["review"].unique().sort()
    }
    together = np.zeros((len(screened), len(screened)), dtype=bool)
    for included_together in of_review.values():
        places = np.array(sorted(included_together), dtype=np.int64)
        together[np.ix_(places, places)] = True
    blocks = []
    for review, members in of_review.items():
        rows = np.array(sorted(members), dtype=np.int64)
        if across:
            others = set().union(*of_review.values()) - members
        else:
            others = {place[pmid] for pmid in here.filter(pl.col("review") == review)["pmid"]} - members
        columns = np.array([*rows, *sorted(others)], dtype=np.int64)
        # Each pair of included citations once.
        related = np.arange(len(columns))[None, :] > np.arange(len(rows))[:, None]
        related[:, len(rows) :] = False
        unrelated = np.zeros_like(related)
        unrelated[:, len(rows) :] = True
        if across:
            # What another review included together is not unrelated.
            unrelated &= ~together[np.ix_(rows, columns)]
        blocks.append(Block([review], rows, columns, related, unrelated, np.zeros(1, dtype=np.int64)))
    return blocks


def _ties(pool: pl.DataFrame, rows: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.int32], Mask]:
    """(R, P), of the citations ``rows`` with all: how many references two share, and whether one cites the other."""
    from scipy.sparse import csr_array

    place = {pmid: number for number, pmid in enumerate(pool["pmid"])}
    links = pool.select("pmid", reference="references").explode("reference").drop_nulls().unique()
    links = links.sort("pmid", "reference")
    citing = np.array([place[pmid] for pmid in links["pmid"]], dtype=np.int64)
    cited, columns = np.unique(links["reference"].to_numpy(), return_inverse=True)
    ones = np.ones(len(citing), dtype=np.int32)
    matrix = csr_array((ones, (citing, columns)), shape=(pool.height, len(cited)))
    among = np.array([place.get(reference, -1) for reference in links["reference"]], dtype=np.int64)
    inside = among >= 0
    graph = csr_array((ones[inside], (citing[inside], among[inside])), shape=(pool.height, pool.height))
    shared = (matrix[rows] @ matrix.T).toarray()
    cites = (graph[rows] + graph.T.tocsr()[rows]).toarray() > 0
    return shared, cites


def _comment_ties(commented: pl.DataFrame, comments: pl.DataFrame) -> Mask:
    place = {pmid: number for number, pmid in enumerate(commented["pmid"])}
    tied = np.zeros((commented.height, commented.height), dtype=bool)
    for pmid, other in comments.iter_rows():
        if pmid in place and other in place:
            tied[place[pmid], place[other]] = tied[place[other], place[pmid]] = True
    return tied


def _row_blocks(citations: pl.DataFrame, rows: npt.NDArray[np.int64], related: Mask, unrelated: Mask) -> list[Block]:
    """One block, a unit a row, of those ``rows`` of ``citations`` that have both; the masks are (R, C)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    kept = related.any(axis=1) & unrelated.any(axis=1)
    if not kept.any():
        return []
    rows, related = rows[kept], related[kept]
    units = [str(citations["pmid"][int(row)]) for row in rows]
    # Units that are related, or have a partner in common, are no independent evidence.
    one, other = np.nonzero(related)
    graph = coo_array((np.ones(len(one)), (rows[one], other)), shape=(len(citations), len(citations)))
    _, component = connected_components(graph, directed=False)
    _, clusters = np.unique(component[rows], return_inverse=True)
    return [Block(units, rows, np.arange(len(citations)), related, unrelated[kept], clusters, by_row=True)]
