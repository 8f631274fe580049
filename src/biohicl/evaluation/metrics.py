"""Scores of a run by pytrec_eval, and of sentence pairs by scipy.

Goes in: a run and its judgements, or two lists of scores. Comes out: values a query, within [0, 1].

=========== ==================================================================================================
nDCG@10     trec_eval's ndcg_cut_10: gain = grade, discount log2(rank + 1), against the ideal order
Recall@1    relevant documents at rank 1, as a share of all relevant ones
Recall@100  the same at ranks 1 to 100
MRR@10      one over the rank of the first relevant document, 0 where it is none of ten
MRR         the same over all of the run
MAP         mean precision at the ranks of relevant documents, over all of the run
=========== ==================================================================================================

A document is relevant where its grade is above 0.
"""

from __future__ import annotations

from collections.abc import Mapping

from biohicl.configuration.systems import METRICS
from biohicl.evaluation.retrieval import Run

# Our name of a metric, trec_eval's measure, and its name in what comes back.
_MEASURES = {
    "nDCG@10": ("ndcg_cut.10", "ndcg_cut_10"),
    "Recall@1": ("recall.1", "recall_1"),
    "Recall@100": ("recall.100", "recall_100"),
    "MRR": ("recip_rank", "recip_rank"),
    "MAP": ("map", "map"),
}


def per_query(run: Run, qrels: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, float]]:
    """Metric name to query id to value, for every query of ``run``; one without any result scores 0.

    ``run``: each query's documents in trec_eval's order (see :mod:`biohicl.evaluation.retrieval`).
    """
    import pytrec_eval

    judgements = {query: dict(qrels[query]) for query in run}
    evaluator = pytrec_eval.RelevanceEvaluator(judgements, {measure for measure, _ in _MEASURES.values()})
    values = evaluator.evaluate({query: dict(pairs) for query, pairs in run.items()})
    # trec_eval has no cut of the reciprocal rank: that of the first ten documents is the same.
    cut = pytrec_eval.RelevanceEvaluator(judgements, {"recip_rank"})
    first_ten = cut.evaluate({query: dict(pairs[:10]) for query, pairs in run.items()})
    found = {
        name: {query: values.get(query, {}).get(theirs, 0.0) for query in run}
        for name, (_, theirs) in _MEASURES.items()
    }
    found["MRR@10"] = {query: first_ten.get(query, {}).get("recip_rank", 0.0) for query in run}
    return {name: found[name] for name in METRICS["retrieval"]}
