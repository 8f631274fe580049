"""Two systems' runs joined to one, and the parameter of the joining chosen on development queries.

Goes in: run.parquet of a dense system and of BM25. Comes out: the joint runs. Documents that one of both does not have
among its ``depth`` best get nothing from it.

rrf     sum over the systems of 1 / (k + rank) (reciprocal rank fusion; Cormack, Clarke and Büttcher, SIGIR 2009)
convex  a x dense + (1 - a) x BM25, the scores of each brought to 0 to 1 between the least and the largest of the query
        (Bruch, Gai and Ingber, ACM TOIS 2023)
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from biohicl.errors import BioHiCLError
from biohicl.evaluation.metrics import per_query
from biohicl.evaluation.retrieval import HEADLINE_CONDITION, QUERIES_OF_A_BLOCK, Run, ranked
from biohicl.evaluation.sources import Qrels

# What is tried, and what is taken where no development queries are at hand: Cormack's k, and both alike.
GRID: Mapping[str, Sequence[float]] = {
    "rrf": (1, 2, 5, 10, 20, 40, 60, 100, 200),
    "convex": tuple(round(0.05 * step, 2) for step in range(21)),
}
UNTUNED: Mapping[str, float] = {"rrf": 60, "convex": 0.5}
TUNED_BY = "nDCG@10"
D = TypeVar("D", bound=Hashable)


def joint(
    dense: Sequence[tuple[D, float]], lexical: Sequence[tuple[D, float]], method: str, parameter: float
) -> dict[D, float]:
    """Document (its id, or what else names it) to joint score, of one query's two runs (documents by falling score)."""
    scores: dict[D, float] = {}
    if method == "rrf":
        for pairs in (dense, lexical):
            for rank, (document, _) in enumerate(pairs, start=1):
                scores[document] = scores.get(document, 0.0) + 1 / (parameter + rank)
        return scores
    for share, pairs in ((parameter, dense), (1 - parameter, lexical)):
        if not pairs:
            continue
        most, least = pairs[0][1], pairs[-1][1]
        for document, score in pairs:
            # Where all are alike, each is the best.
            place = (score - least) / (most - least) if most > least else 1.0
            scores[document] = scores.get(document, 0.0) + share * place
    return scores


def fused_runs(
    dense: Run, lexical: Run, queries: Sequence[str], method: str, parameter: float, depth: int
) -> Iterator[Run]:
    """Joint runs of ``queries``, block by block."""
    for start in range(0, len(queries), QUERIES_OF_A_BLOCK):
        yield _joint_run(dense, lexical, queries[start : start + QUERIES_OF_A_BLOCK], method, parameter, depth)


def tune(runs: Mapping[str, tuple[Path, Path]], qrels: Mapping[str, Qrels], depth: int) -> dict[str, dict[str, Any]]:
    """For each method the parameter of ``GRID`` with the highest nDCG@10, as a mean over the benchmarks.

    ``runs``: of each benchmark, run.parquet of the dense system and of BM25 on its development queries; ``qrels``: of
    these. Of equal ones the first is taken. Comes out: of each method the parameter, the benchmarks it was tuned on
    (where there are none, it is the usual one), and all that was tried.
    """
    loaded = {name: (read_run(dense), read_run(lexical)) for name, (dense, lexical) in runs.items() if qrels[name]}
    chosen: dict[str, dict[str, Any]] = {}
    for method, grid in GRID.items():
        if not loaded:
            chosen[method] = {"parameter": UNTUNED[method], "tuned_on": [], "tried": []}
            continue
        tried = []
        for parameter in grid:
            scores = {}
            for name, (dense, lexical) in loaded.items():
                run = _joint_run(dense, lexical, qrels[name], method, parameter, depth)
                scores[name] = float(np.mean(list(per_query(run, qrels[name])[TUNED_BY].values())))
            tried.append({"parameter": parameter, "mean": float(np.mean(list(scores.values()))), **scores})
        best = max(tried, key=lambda row: row["mean"])
        chosen[method] = {"parameter": best["parameter"], "tuned_on": list(loaded), "tried": tried}
    return chosen


def read_run(file: Path, condition: str = HEADLINE_CONDITION) -> Run:
    """Query id to documents and scores, by rank."""
    try:
        columns = ["query_id", "document_id", "score"]
        table = pq.read_table(file, columns=columns, filters=pc.field("condition") == condition)
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise BioHiCLError(f"{file}: not a run of a retrieval benchmark: {str(error).splitlines()[0]}") from None
    run: Run = {query: [] for query in pc.unique(table["query_id"]).to_pylist()}
    for query, document, score in zip(*(column.to_pylist() for column in table.columns), strict=True):
        run[query].append((document, score))
    return run


def _joint_run(dense: Run, lexical: Run, queries: Iterable[str], method: str, parameter: float, depth: int) -> Run:
    return {
        query: ranked(joint(dense.get(query, ()), lexical.get(query, ()), method, parameter), depth)
        for query in queries
    }
