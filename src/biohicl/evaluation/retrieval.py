"""Exact search: the best documents of each query, ties broken as trec_eval breaks them.

Goes in: query and document vectors, or BM25 scores. Comes out: the run, a list of (document, score) a query.
trec_eval sorts by falling score and, at equal scores, by falling document id; the cut at ``depth`` follows the
same order, so that the run does not depend on the order of the corpus.

A document whose id equals the query's is dropped from that query's run, as BEIR's evaluator does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Run = dict[str, list[tuple[str, float]]]

BLOCK_BYTES = 256 << 20


def dense_run(
    query_ids: Sequence[str], queries: Vectors, document_ids: Sequence[str], documents: Vectors, depth: int
) -> Run:
    """The run of inner products of ``queries`` (Q, d) and ``documents`` (D, d), in fp32, block by block."""
    order = _by_falling_id(document_ids)
    ordered_ids = [document_ids[i] for i in order]
    ordered = documents[order]
    run: Run = {}
    rows = max(1, BLOCK_BYTES // (4 * max(1, len(ordered_ids))))
    for start in range(0, len(query_ids), rows):
        scores = queries[start : start + rows] @ ordered.T
        for query, row in zip(query_ids[start : start + rows], scores, strict=True):
            run[query] = list(_best(query, row, ordered_ids, depth))
    return run


def bm25_run(queries: Mapping[str, str], documents: Mapping[str, str], settings: Mapping[str, Any], depth: int) -> Run:
    """The run of BM25 (bm25s, Lucene's formula; English stop words and Snowball stemming).

    Documents that share no term with the query have score 0 and are not in the run.
    """
    import bm25s
    import Stemmer

    ordered_ids = [list(documents)[i] for i in _by_falling_id(list(documents))]
    stemmer = Stemmer.Stemmer("english")

    def tokens(texts: Sequence[str]) -> Any:
        return bm25s.tokenize(list(texts), stopwords="en", stemmer=stemmer, show_progress=False, return_ids=False)

    index = bm25s.BM25(method="lucene", k1=settings["k1"], b=settings["b"])
    index.index(tokens([documents[i] for i in ordered_ids]), show_progress=False)
    run: Run = {}
    for query, terms in zip(queries, tokens(list(queries.values())), strict=True):
        known = [term for term in terms if term in index.vocab_dict]
        scores = index.get_scores(known) if known else np.zeros(len(ordered_ids), dtype=np.float32)
        run[query] = [(document, score) for document, score in _best(query, scores, ordered_ids, depth) if score > 0]
    return run


def _by_falling_id(document_ids: Sequence[str]) -> list[int]:
    # trec_eval compares ids as bytes.
    return sorted(range(len(document_ids)), key=lambda i: document_ids[i].encode(), reverse=True)


def _best(query: str, scores: Vectors, ordered_ids: Sequence[str], depth: int) -> Iterator[tuple[str, float]]:
    """The ``depth`` best of ``scores``, whose documents stand in falling order of their ids."""
    if len(scores) > depth + 1:
        # One more than needed, since the query's own document may drop out.
        threshold = np.partition(scores, len(scores) - depth - 1)[len(scores) - depth - 1]
        candidates = np.flatnonzero(scores >= threshold)
    else:
        candidates = np.arange(len(scores))
    ranked = candidates[np.argsort(-scores[candidates], kind="stable")]
    found = ((ordered_ids[i], float(scores[i])) for i in ranked if ordered_ids[i] != query)
    for _, pair in zip(range(depth), found, strict=False):
        yield pair
