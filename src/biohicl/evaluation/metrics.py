"""Scores of a run by pytrec_eval, and of sentence pairs by scipy.

Goes in: a run and its judgements, or two lists of scores. Comes out: values a query, and their means, all
within [0, 1] (correlations within [-1, 1]).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from biohicl.errors import BioHiCLError
from biohicl.evaluation.retrieval import Run

# Our name of a metric, and trec_eval's. The first is the one that a table shows.
RETRIEVAL_METRICS = {"nDCG@10": "ndcg_cut_10", "Recall@100": "recall_100"}
HEADLINE = {"retrieval": "nDCG@10", "similarity": "Spearman"}


def per_query(run: Run, qrels: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, float]]:
    """Metric name to query id to value, for every query of ``qrels``; a query without any result scores 0."""
    import pytrec_eval

    measures = {
        name.replace("_cut_", "_cut.") if "_cut_" in name else name.replace("_", ".")
        for name in RETRIEVAL_METRICS.values()
    }
    judgements = {query: dict(documents) for query, documents in qrels.items()}
    evaluator = pytrec_eval.RelevanceEvaluator(judgements, measures)
    values = evaluator.evaluate({query: dict(run.get(query, ())) for query in qrels})
    return {
        name: {query: values.get(query, {}).get(theirs, 0.0) for query in qrels}
        for name, theirs in RETRIEVAL_METRICS.items()
    }


def spearman(found: Sequence[float], wanted: Sequence[float]) -> float:
    """Spearman's rank correlation, ties given their mean rank."""
    from scipy.stats import spearmanr

    if len(set(wanted)) < 2 or len(set(found)) < 2:
        raise BioHiCLError("all pairs have the same score: a rank correlation is not defined")
    return float(spearmanr(found, wanted).statistic)
