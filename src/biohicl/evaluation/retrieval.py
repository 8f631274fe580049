"""Exact search: the best documents of each query, ties broken as trec_eval breaks them.

Goes in: query and document vectors, or BM25's scores. Comes out: runs, block of queries by block of queries; memory is
bounded whatever the size of the corpus, whose vectors may lie in a file (numpy's memory maps).

trec_eval sorts by falling score and, at equal scores, by falling document id; the cut at ``depth`` follows the same
order, so that a run does not depend on the order of the corpus. Scores are compared in fp32, as trec_eval stores them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from biohicl.encoder.vectors import Rows
from biohicl.errors import BioHiCLError
from biohicl.lexical import LexicalIndex, terms_of

Vectors = npt.NDArray[np.float32]
Keys = npt.NDArray[np.uint64]
Places = npt.NDArray[np.uint32]
Run = dict[str, list[tuple[str, float]]]
# What becomes of a document that has the query's own id, and the runs of the same queries either way.
Own = Literal["dropped", "kept"]
Ways = Mapping[Own, Run]

# Of one block: its vectors, and its keys (eight bytes for a query and a document).
BLOCK_VECTORS_BYTES = 64 << 20
BLOCK_KEYS_BYTES = 128 << 20
QUERIES_OF_A_BLOCK = 256
# The name of what tables show, among the conditions that a system is scored under.
HEADLINE_CONDITION = "headline"
LOW_HALF = np.uint64(0xFFFFFFFF)
SIGN = np.uint32(1 << 31)


def dense_runs(
    query_ids: Sequence[str], queries: Rows, document_ids: Sequence[str], documents: Rows, depth: int
) -> Iterator[Run]:
    """Inner products of ``queries`` (Q, d) and ``documents`` (D, d) in fp32: the ``depth`` best of each query.

    A document with the query's own id is among them, and one more beside it: see :func:`without_own`.
    """
    if queries.shape[1] != documents.shape[1]:
        raise BioHiCLError(
            f"queries have {queries.shape[1]} dimensions and documents {documents.shape[1]}: they were encoded by "
            "different models; encode both again with one"
        )
    places, at_place = _places_of_ids(document_ids)
    for start in range(0, len(query_ids), QUERIES_OF_A_BLOCK):
        block = np.ascontiguousarray(queries[start : start + QUERIES_OF_A_BLOCK], dtype=np.float32)
        best = _best_keys(block, documents, places, depth + 1)
        yield _run_of(query_ids[start : start + QUERIES_OF_A_BLOCK], best, document_ids, at_place)


def bm25_runs(
    queries: Mapping[str, str],
    document_ids: Sequence[str],
    texts: Sequence[str],
    settings: Mapping[str, Any],
    depth: int,
) -> Iterator[Run]:
    """The same by BM25. Documents that share no term with the query are not in the run."""
    places, at_place = _places_of_ids(document_ids)
    index = LexicalIndex(texts, settings)
    run: Run = {}
    for query, terms in zip(queries, terms_of(list(queries.values())), strict=True):
        scores = index.scores(terms)
        found = np.flatnonzero(scores > 0)
        best = np.sort(_largest(_keys(scores[found], places[found])[None], depth + 1), axis=1)[:, ::-1]
        run |= _run_of([query], best, document_ids, at_place)
        if len(run) == QUERIES_OF_A_BLOCK:
            yield run
            run = {}
    if run:
        yield run


def both_ways(runs: Iterable[Run], depth: int) -> Iterator[Ways]:
    """Runs of ``depth`` documents, without and with the queries' own ones, of runs that are one document deeper."""
    for run in runs:
        yield {"dropped": without_own(run, depth), "kept": with_own(run, depth)}


def without_own(run: Run, depth: int) -> Run:
    """``depth`` documents a query, without the one that has the query's own id: as BEIR's evaluator does."""
    return {query: list(islice((pair for pair in pairs if pair[0] != query), depth)) for query, pairs in run.items()}


def with_own(run: Run, depth: int) -> Run:
    """``depth`` documents a query, its own among them where it is: as mteb does."""
    return {query: pairs[:depth] for query, pairs in run.items()}


def ranked(pairs: Mapping[str, float], depth: int) -> list[tuple[str, float]]:
    """The ``depth`` best of document to score, in trec_eval's order, scores in fp32."""
    single = {document: float(np.float32(score)) + 0.0 for document, score in pairs.items()}
    return sorted(single.items(), key=lambda pair: (pair[1], pair[0].encode()), reverse=True)[:depth]


# --- one number for score and id -------------------------------------------------------------------------------
#
# A key's upper half is the score, its bits turned so that whole numbers are in the order of the floats; its lower half
# says where the document's id stands in rising order, so that larger is earlier. Keys differ, and partial sorts of them
# need no care for ties.


def _places_of_ids(document_ids: Sequence[str]) -> tuple[Places, Places]:
    """Both (D,): where each document's id stands in rising order of bytes, as trec_eval compares them; and the row of
    the document that stands there."""
    at_place = np.array(sorted(range(len(document_ids)), key=lambda row: document_ids[row].encode()), dtype=np.uint32)
    places = np.empty_like(at_place)
    places[at_place] = np.arange(len(at_place), dtype=np.uint32)
    return places, at_place


def _run_of(query_ids: Sequence[str], best: Keys, document_ids: Sequence[str], at_place: Places) -> Run:
    """``best`` (Q, k): each query's keys, falling."""
    rows = at_place[(best & LOW_HALF).astype(np.int64)].tolist()
    scores = _scores_of(best).tolist()
    return {
        query: [(document_ids[row], score) for row, score in zip(*found, strict=True)]
        for query, *found in zip(query_ids, rows, scores, strict=True)
    }


def _keys(scores: Vectors, places: Places) -> Keys:
    """Of ``scores`` (..., D) and ``places`` (D,)."""
    # Adding zero makes -0.0 the 0.0 that it equals.
    bits = (scores.astype(np.float32) + np.float32(0)).view(np.uint32)
    rising = np.where(bits & SIGN, ~bits, bits | SIGN)
    keys = rising.astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= places
    return keys


def _scores_of(keys: Keys) -> Vectors:
    rising = (keys >> np.uint64(32)).astype(np.uint32)
    return np.where(rising & SIGN, rising ^ SIGN, ~rising).view(np.float32)


def _best_keys(queries: Vectors, documents: Rows, places: Places, count: int) -> Keys:
    """(Q, up to ``count``): the largest keys of each query, falling."""
    width = max(1, documents.shape[1])
    rows = max(1, min(BLOCK_VECTORS_BYTES // (4 * width), BLOCK_KEYS_BYTES // (8 * max(1, len(queries)))))
    best = np.empty((len(queries), 0), dtype=np.uint64)
    for start in range(0, len(documents), rows):
        block = np.asarray(documents[start : start + rows], dtype=np.float32)
        keys = _largest(_keys(queries @ block.T, places[start : start + rows]), count)
        best = _largest(np.concatenate([best, keys], axis=1), count)
    return np.sort(best, axis=1)[:, ::-1]


def _largest(keys: Keys, count: int) -> Keys:
    """The ``count`` largest of each row, in any order."""
    if keys.shape[1] <= count:
        return keys
    return np.partition(keys, keys.shape[1] - count, axis=1)[:, -count:]
