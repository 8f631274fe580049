"""What the hierarchy says about two sets of labels: SimL, the similarity that two citations should have.

Goes in: label sets and a weighting. Comes out: for each set of ``rows`` and each of ``columns`` a similarity. All
functions have one signature and one form of result: ``(R, C)`` float32 within [0, 1], computed in float64. The same
set on both sides gives 1, sets that have nothing of weight in common (best_match: nor above them) give exactly 0, and
a set without any weighted label is 0 with everything, itself included.

An id of a set weighs ``w = weighting.nodes[id]``, and counts with the factor ``m = weighting.factors[kinds]``; w and
m are taken to be 0 for ids that the set has not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from biohicl.mesh.label_sets import LabelSets
from biohicl.mesh.weights import Weighting
from biohicl.ragged import Ragged

Matrix = npt.NDArray[np.float32]
# best_match looks at so many sets at a time: some 3,000 labels, each with its similarity to all others.
SETS_OF_A_BLOCK = 256
# An id is multiplied dense where more than one in so many pairs of sets have it (one in 20 sets of a batch).
DENSE_ABOVE = 400
Similarity: TypeAlias = "Callable[[LabelSets, LabelSets, Weighting], Matrix]"


def cosine(rows: LabelSets, columns: LabelSets, weighting: Weighting) -> Matrix:
    """Cosine of the vectors m * w, sum m_p m_q w^2 / (|m_p w| |m_q w|), (R, C) float32 in [0, 1].

    On ancestor-closed sets with depth weights this is BioHiCL's SimL (arXiv 2604.15591); the cosine of vectors of
    information content is known as SimCOU.
    """
    return _by_overlap(OVERLAPS["cosine"], rows, columns, weighting)


def simgic(rows: LabelSets, columns: LabelSets, weighting: Weighting) -> Matrix:
    """Weighted Jaccard, sum w min(m_p, m_q) / sum w max(m_p, m_q), (R, C) float32 in [0, 1].

    Source: Pesquita et al., BMC Bioinformatics 9 (2008), where w is the information content and every m is 1; for
    other m its generalisation by Ruzicka.
    """
    return _by_overlap(OVERLAPS["simgic"], rows, columns, weighting)


def best_match(rows: LabelSets, columns: LabelSets, weighting: Weighting) -> Matrix:
    """Best-match average: each direct label's best partner in the other set by Lin's similarity, averaged over the
    labels of p (weighed by m), likewise of q, and the mean of the two; (R, C) float32 in [0, 1].

    Lin(a, b) = 2 w(c) / (w(a) + w(b)), with c the heaviest node that stands at or above both. A descriptor with
    several positions can weigh less than what stands above one of them; such values count as 1. Labels without
    weight are left out. Takes direct labels.

    Sources: Lin, ICML 1998; the mean of both directions as in Pesquita et al., PLoS Computational Biology 5 (2009),
    where Azuaje et al. (2005) take one mean over the labels of both.
    """
    of_rows, row_factors = _weighted_labels(rows, weighting)
    of_columns, column_factors = _weighted_labels(columns, weighting)
    labels, places = np.unique(np.concatenate([of_rows.values, of_columns.values]), return_inverse=True)
    lin = lin_similarity(labels, weighting)
    row_places, column_places = places[: len(of_rows.values)], places[len(of_rows.values) :]
    # best[q, label]: how well the best label of set q fits it.
    of_row = Ragged(row_places, of_rows.offsets)
    of_column = Ragged(column_places, of_columns.offsets)
    forth = _mean_over(of_row, row_factors, _best_of(of_column, lin))
    back = _mean_over(of_column, column_factors, _best_of(of_row, lin))
    both = (of_rows.lengths() > 0)[:, None] & (of_columns.lengths() > 0)[None, :]
    return np.where(both, np.clip((forth + back.T) / 2, 0.0, 1.0), 0.0).astype(np.float32)


def lin_similarity(labels: npt.NDArray[np.integer], weighting: Weighting) -> npt.NDArray[np.float64]:
    """Lin's similarity of all pairs of L node ids that are descriptors, (L, L) float64 in [0, 1]; see best_match."""
    weights = weighting.nodes.astype(np.float64)
    closures = weighting.closure.take(labels)
    label = np.repeat(np.arange(len(labels)), closures.lengths())
    order = np.argsort(closures.values, kind="stable")
    members = Ragged(label[order], np.searchsorted(closures.values[order], np.arange(len(weights) + 1)))
    heaviest = np.zeros((len(labels), len(labels)))
    # Lighter nodes first, so that what is written last is the heaviest. A node above one label alone is no meeting.
    candidates = np.flatnonzero((members.lengths() > 1) & (weights > 0))
    for node in candidates[np.argsort(weights[candidates], kind="stable")]:
        below = members.values[members.offsets[node] : members.offsets[node + 1]]
        heaviest[below[:, None], below[None, :]] = weights[node]
    own = weights[labels]
    total = own[:, None] + own[None, :]
    lin = np.minimum(np.divide(2 * heaviest, total, out=np.zeros_like(total), where=total > 0), 1.0)
    np.fill_diagonal(lin, (own > 0).astype(np.float64))
    return lin


# --- similarities that are a function of one or several products of sparse rows -------------------


@dataclass(frozen=True)
class Overlap:
    """A similarity in three steps, so that the middle one can run elsewhere (on a GPU, dense).

    ``layers``: from the (L,) weights and factors of all ids of some sets, and the levels that factors can have, to
    one or more arrays of (L,) values. Each layer, as sparse rows X, is multiplied, and the products
    X_rows X_columns^T are added up. ``finish`` makes the similarity of that sum (R, C) and of each side's own: its
    squared lengths (R, 1) and (1, C). Both are written with operators alone, for numpy and torch.
    """

    layers: Callable[[Any, Any, Sequence[float]], list[Any]]
    finish: Callable[[Any, Any, Any], Any]


def _cosine_layers(weights: Any, factors: Any, levels: Sequence[float]) -> list[Any]:
    return [weights * factors]


def _cosine_of(overlap: Any, own_rows: Any, own_columns: Any) -> Any:
    lengths = own_rows**0.5 * own_columns**0.5
    return (overlap / (lengths + (lengths == 0))).clip(0.0, 1.0)


def _simgic_layers(weights: Any, factors: Any, levels: Sequence[float]) -> list[Any]:
    # min(m_p, m_q) is the sum, over the levels that both reach, of the step from the level below.
    below = [0.0, *levels[:-1]]
    return [(weights * (level - under)) ** 0.5 * (factors >= level) for level, under in zip(levels, below, strict=True)]


def _jaccard_of(overlap: Any, own_rows: Any, own_columns: Any) -> Any:
    union = own_rows + own_columns - overlap
    return (overlap / (union + (union == 0))).clip(0.0, 1.0)


OVERLAPS = {
    "cosine": Overlap(_cosine_layers, _cosine_of),
    "flat_cosine": Overlap(_cosine_layers, _cosine_of),
    "simgic": Overlap(_simgic_layers, _jaccard_of),
}


# The plain sum over shared ids, of which MulSupCon's target is made: no similarity, and not within [0, 1].
SHARED = Overlap(_cosine_layers, lambda overlap, own_rows, own_columns: overlap)


def partners(sets: LabelSets, weighting: Weighting) -> Weighting:
    """A weighting under which two sets of ``sets`` overlap by the sum of 1 / (n - 1) over the ids that they share.

    n is how many of ``sets`` have the id. Ids of one set alone, or that ``weighting`` gives no weight or no factor,
    count nothing.
    """
    factors = (weighting.factors > 0).astype(np.float32)
    counted = (factors[sets.kinds] > 0) & (weighting.nodes[sets.ids.values] > 0)
    having = np.bincount(sets.ids.values[counted], minlength=len(weighting.nodes))
    nodes = np.where(having > 1, np.maximum(having - 1, 1) ** -0.5, 0.0).astype(np.float32)
    return Weighting(nodes, factors, weighting.closure)


def shared(rows: LabelSets, columns: LabelSets, weighting: Weighting) -> Matrix:
    """The sum of (m w)_p (m w)_q over the ids that two sets share, (R, C) float32."""
    return _by_overlap(SHARED, rows, columns, weighting)


def levels_of(weighting: Weighting) -> list[float]:
    """The factors above 0 that headings can have, rising."""
    return sorted({float(factor) for factor in weighting.factors if factor > 0})


def _by_overlap(overlap: Overlap, rows: LabelSets, columns: LabelSets, weighting: Weighting) -> Matrix:
    """The similarity on a CPU, in float64: exact zeros stay exact, 1 comes out as 1."""
    row_layers = _entries(overlap, rows, weighting)
    column_layers = row_layers if columns is rows else _entries(overlap, columns, weighting)
    total = np.zeros((len(rows), len(columns)))
    for one, other in zip(row_layers, column_layers, strict=True):
        total += _product(one, other, len(weighting.nodes))
    own_rows, own_columns = (
        np.sum([entries.squared_lengths() for entries in layers], axis=0) for layers in (row_layers, column_layers)
    )
    return overlap.finish(total, own_rows[:, None], own_columns[None, :]).astype(np.float32)


@dataclass(frozen=True)
class _Entries:
    """A sparse matrix, by entry: ``values`` at (``owner``, ``ids``), sorted, none of them 0; ``count`` rows."""

    owner: npt.NDArray[np.integer]
    ids: npt.NDArray[np.integer]
    values: npt.NDArray[np.float64]
    count: int

    def where(self, kept: npt.NDArray[np.bool_]) -> _Entries:
        return _Entries(self.owner[kept], self.ids[kept], self.values[kept], self.count)

    def squared_lengths(self) -> npt.NDArray[np.float64]:
        return np.bincount(self.owner, weights=self.values**2, minlength=self.count).astype(np.float64)

    def sparse(self, nodes: int) -> Any:
        from scipy.sparse import csr_array

        offsets = np.searchsorted(self.owner, np.arange(self.count + 1))
        return csr_array((self.values, self.ids, offsets), shape=(self.count, nodes))

    def dense(self, places: npt.NDArray[np.integer], width: int) -> npt.NDArray[np.float64]:
        matrix = np.zeros((self.count, width))
        matrix[self.owner, places[self.ids]] = self.values
        return matrix


def _entries(overlap: Overlap, sets: LabelSets, weighting: Weighting) -> list[_Entries]:
    owner = np.repeat(np.arange(len(sets)), sets.ids.lengths())
    weights = weighting.nodes.astype(np.float64)[sets.ids.values]
    factors = weighting.factors.astype(np.float64)[sets.kinds]
    layers = overlap.layers(weights, factors, levels_of(weighting))
    return [_Entries(owner, sets.ids.values, values, len(sets)).where(values > 0) for values in layers]


def _product(one: _Entries, other: _Entries, nodes: int) -> npt.NDArray[np.float64]:
    """one other^T, (R, C) float64. Ids that many of the sets have are multiplied dense, the others sparse: on 512
    sets of 70 ids that takes 4.4 ms where the sparse product alone takes 9.7."""
    often = np.bincount(one.ids, minlength=nodes) * np.bincount(other.ids, minlength=nodes)
    is_frequent = often * DENSE_ABOVE > one.count * other.count
    frequent = np.flatnonzero(is_frequent)
    places = np.zeros(nodes, dtype=np.int64)
    places[frequent] = np.arange(len(frequent))
    one_dense = one.where(is_frequent[one.ids]).dense(places, len(frequent))
    one_sparse = one.where(~is_frequent[one.ids]).sparse(nodes)
    if other is one:
        # BLAS and scipy both give a symmetric result for a matrix and its own transpose.
        return one_dense @ one_dense.T + (one_sparse @ one_sparse.T).toarray()
    other_dense = other.where(is_frequent[other.ids]).dense(places, len(frequent))
    other_sparse = other.where(~is_frequent[other.ids]).sparse(nodes)
    return one_dense @ other_dense.T + (one_sparse @ other_sparse.T).toarray()


# --- the parts of best_match ----------------------------------------------------------------------


def _weighted_labels(sets: LabelSets, weighting: Weighting) -> tuple[Ragged, npt.NDArray[np.float64]]:
    """The labels with a weight and a factor above 0, and those factors."""
    factors = weighting.factors.astype(np.float64)[sets.kinds]
    kept = (weighting.nodes[sets.ids.values] > 0) & (factors > 0)
    offsets = np.concatenate([[0], np.cumsum(kept)])[sets.ids.offsets]
    return Ragged(sets.ids.values[kept], offsets), factors[kept]


def _best_of(sets: Ragged, lin: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(B, L): for each set and each label, how well the set's best label fits it; 0 for a set without labels."""
    best = np.zeros((len(sets), len(lin)))
    filled = np.flatnonzero(sets.lengths())
    for block in np.array_split(filled, max(len(filled) // SETS_OF_A_BLOCK, 1)):
        if len(block):
            some = sets.take(block)
            best[block] = np.maximum.reduceat(lin[some.values], some.offsets[:-1], axis=0)
    return best


def _mean_over(
    sets: Ragged, factors: npt.NDArray[np.float64], best: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(B, Q): for each of the B sets the mean, weighed by factors, of its labels' fit ``best`` (Q, L)."""
    from scipy.sparse import csr_array

    owner = np.repeat(np.arange(len(sets)), sets.lengths())
    totals = np.bincount(owner, weights=factors, minlength=len(sets))
    shares = csr_array((factors / totals[owner], sets.values, sets.offsets), shape=(len(sets), best.shape[1]))
    return np.asarray(shares @ best.T)


# --- by name ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Method:
    """A similarity, and which label sets it takes."""

    similarity: Similarity
    labels: Literal["direct", "closed"]


METHODS: dict[str, Method] = {
    "cosine": Method(cosine, "closed"),
    "flat_cosine": Method(cosine, "direct"),
    "simgic": Method(simgic, "closed"),
    "best_match": Method(best_match, "direct"),
}
