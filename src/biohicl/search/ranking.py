"""The best records of an index for a query, by vectors and by BM25, among those that a mask lets through.

Goes in: an open index, a vector or terms, and a mask of all its records. Comes out: rows of the index and scores, best
first; of equal scores the earlier row.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
import numpy.typing as npt

from biohicl.search.contents import Contents, FileParts
from biohicl.search.postings import hash_of

Mask = npt.NDArray[np.bool_]
Ranked = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]
Vector = npt.NDArray[np.float32]
FEWEST_RESCORED = 1_000


def rescored_of(records: int) -> int:
    """How many of a binary index's records are scored again: the more there are, the more stand by their signs between
    the best. This many keep recall@10 where it is for 100,000 (`make bench-search`)."""
    return max(FEWEST_RESCORED, math.isqrt(10 * records))


def best_by_vector(index: Contents, query: Vector, count: int, mask: Mask, pool: Executor | None = None) -> Ranked:
    """By inner product with ``query`` (d,). Of a binary index the best by their signs, :func:`rescored_of` or at least
    ``count``, are scored again by 8 bits a number."""
    is_binary = index.about["storage"] == "binary"
    wanted = max(count, rescored_of(len(mask))) if is_binary else count
    # Of one file never so many that all files together are most of the index: the best are not all in one.
    of_each = max(count, min(wanted, FEWEST_RESCORED))

    def of_file(file: FileParts) -> Ranked:
        rows, scores = file.vectors.best(query, of_each, _part(mask, file))
        return rows + file.first, scores

    rows, scores = _merged(_each(index, of_file, pool), wanted)
    if not is_binary:
        return rows, scores
    again = np.empty(len(rows), dtype=np.float32)
    places = index.places(rows)
    for place in np.unique(places).tolist():
        chosen = places == place
        file = index.files[place]
        again[chosen] = file.vectors.scores(query, rows[chosen] - file.first)
    return _merged([(rows, again)], count)


def best_by_terms(
    index: Contents, terms: Sequence[str], count: int, mask: Mask, pool: Executor | None = None
) -> Ranked:
    """By BM25, as evaluation has it (Lucene's formula): a term's rarity and the mean length are those of all current
    records, whatever ``mask`` leaves of them. Records without any of the terms are not among the best."""
    k1, b, mean = (index.about["bm25"][name] for name in ("k1", "b", "mean_length"))
    if not index.about["citations"]:
        return _merged([], count)
    times = Counter(terms)
    hashes = [hash_of(term) for term in times]
    spans = {file.name: [file.terms.span(key) for key in hashes] for file in index.files}

    def having(file: FileParts) -> npt.NDArray[np.int64]:
        current = _part(index.current, file)
        return np.array([int(current[file.terms.rows[span]].sum()) for span in spans[file.name]], dtype=np.int64)

    frequencies = sum(_each(index, having, pool), np.zeros(len(hashes), dtype=np.int64))
    number = index.about["citations"]
    weights = np.log(1 + (number - frequencies + 0.5) / (frequencies + 0.5)) * np.array(list(times.values()))

    def of_file(file: FileParts) -> Ranked:
        scores = np.zeros(file.rows, dtype=np.float32)
        lengths = file.texts["lengths"]
        postings = file.terms
        for weight, span in zip(weights.tolist(), spans[file.name], strict=True):
            having = postings.rows[span]
            if len(having):
                frequency = postings.counts[span].astype(np.float32)  # type: ignore[index]
                norm = k1 * (1 - b + b * lengths[having].astype(np.float32) / mean)
                scores[having] += weight * (frequency / (frequency + norm))
        scores[~_part(mask, file)] = 0
        found = np.flatnonzero(scores > 0).astype(np.int64)
        return _merged([(found + file.first, scores[found])], count)

    return _merged(_each(index, of_file, pool), count)


def _part(mask: Mask, file: FileParts) -> Mask:
    return mask[file.first : file.first + file.rows]


def _each(index: Contents, ask: Callable[[FileParts], object], pool: Executor | None) -> list[Any]:
    return list(pool.map(ask, index.files) if pool is not None else map(ask, index.files))


def _merged(parts: Sequence[Ranked], count: int) -> Ranked:
    rows = np.concatenate([rows for rows, _ in parts]) if parts else np.zeros(0, np.int64)
    scores = np.concatenate([scores for _, scores in parts]) if parts else np.zeros(0, np.float32)
    if 0 < count < len(scores):
        # A common word has most of a file's records: only those that can be among the best are put in order.
        able = scores >= np.partition(scores, -count)[-count]
        rows, scores = rows[able], scores[able]
    order = np.lexsort((rows, -scores))[:count]
    return rows[order], scores[order]
