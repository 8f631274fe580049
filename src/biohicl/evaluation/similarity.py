"""Sentence pairs: how similar a system finds them, and how that agrees with people.

Goes in: vectors of both sentences of each pair, and the annotators' scores. Comes out: similarities, and their
agreement: Spearman's and Pearson's correlation within [-1, 1], and where the scores are 0 and 1 alone, average
precision.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from biohicl.encoder.vectors import Vectors
from biohicl.evaluation.significance import AveragePrecision, Pearson, Spearman, Statistic, value_of
from biohicl.progress import say

Similarities = npt.NDArray[np.float32]


def statistics_of(scores: Sequence[float]) -> dict[str, Statistic]:
    """The statistics that pairs with these annotators' scores are measured by, by name."""
    found: dict[str, Statistic] = {"Spearman": Spearman(scores), "Pearson": Pearson(scores)}
    return found | ({"AP": AveragePrecision(scores)} if set(scores) == {0.0, 1.0} else {})


def similarity_metrics(found: Similarities, scores: Sequence[float]) -> dict[str, float]:
    """Metric name to value; none where all similarities are the same, which is said."""
    if len(set(found.tolist())) < 2:
        say("all pairs are equally similar to this system: nothing can be measured")
        return {}
    return {name: value_of(statistic, found.tolist()) for name, statistic in statistics_of(scores).items()}


def similarities(vectors: Vectors) -> Similarities:
    """(P,): cosines, or dot products where the encoder's folder says so, of 2 P vectors, first all first sentences."""
    half = len(vectors.comparable) // 2
    return np.einsum("nd,nd->n", vectors.comparable[:half], vectors.comparable[half:])
