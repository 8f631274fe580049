"""Means over few units that were drawn from many (reviews, queries), with intervals, and which of them differ.

Goes in: a value for each unit and each of several systems, and which units belong together. Comes out: 95 %
percentile intervals of the systems' means and of differences on the same units; and which systems cannot be told from
the best one, the choice of the best and the number of comparisons taken into account. The same seed draws the same.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap, 1993 (percentile intervals, chapter 13; studentised
statistics, chapter 12). The comparison with the best is Hsu's (Multiple Comparisons, 1996, chapter 4), its critical
value from a bootstrap in which all systems are made equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
LOW, HIGH = 2.5, 97.5
# The error that is accepted in calling any system worse than the best where all are equal.
FAMILY_ERROR = 0.05
# Sums of the same numbers in another order differ by less.
NOTHING = 1e-12
# So many draws at a time: their weights, a row of clusters each, stay small.
DRAWS_OF_A_BLOCK = 1000


@dataclass(frozen=True)
class Comparison:
    """All (S,), by system. ``mean``, and the interval of the mean; ``behind``: by how much the best system's mean is
    higher, and the interval of that difference; ``ahead``: by how much that of a reference system is lower, and the
    interval. ``as_good``: not told from the best at a family error of 5 %. With fewer than two clusters there is no
    spread: every interval is NaN, and nothing is told apart."""

    mean: Values
    low: Values
    high: Values
    behind: Values
    behind_low: Values
    behind_high: Values
    ahead: Values
    ahead_low: Values
    ahead_high: Values
    as_good: npt.NDArray[np.bool_]


def compare(
    values: Values, draws: int, seed: int, reference: int = 0, clusters: npt.NDArray[np.integer] | None = None
) -> Comparison:
    """``values`` (U, S): of each unit, for each system. ``clusters`` (U,), from 0: units of one cluster are drawn
    together (None: each by itself). ``reference``: a system that all are compared with, beside the best."""
    units, systems = values.shape
    clusters = np.arange(units) if clusters is None else clusters
    sizes = np.bincount(clusters).astype(np.float64)
    sums = np.zeros((len(sizes), systems))
    np.add.at(sums, clusters, values)
    mean = values.mean(axis=0)
    best = int(np.argmax(mean))
    if len(sizes) < 2:
        nothing, behind, ahead = np.full(systems, np.nan), mean[best] - mean, mean - mean[reference]
        all_ = np.ones(systems, dtype=bool)
        return Comparison(mean, nothing, nothing, behind, nothing, nothing, ahead, nothing, nothing, all_)
    generator = np.random.Generator(np.random.PCG64(seed))
    # The systems made equal: what is left is what chance does.
    equal = sums - sizes[:, None] * mean
    means, largest = [], []
    for start in range(0, draws, DRAWS_OF_A_BLOCK):
        count = min(DRAWS_OF_A_BLOCK, draws - start)
        weights = generator.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=count).astype(np.float64)
        means.append(weights @ sums / (weights @ sizes)[:, None])
        leaders = (weights @ equal / (weights @ sizes)[:, None]).argmax(axis=1)
        for drawn, leader in zip(weights, leaders, strict=True):
            largest.append(_statistics(equal[:, [leader]] - equal, sizes, drawn).max())
    drawn_means = np.concatenate(means)
    low, high = np.percentile(drawn_means, [LOW, HIGH], axis=0)
    behind_low, behind_high = np.percentile(drawn_means[:, [best]] - drawn_means, [LOW, HIGH], axis=0)
    ahead_low, ahead_high = np.percentile(drawn_means - drawn_means[:, [reference]], [LOW, HIGH], axis=0)
    critical = float(np.quantile(largest, 1 - FAMILY_ERROR))
    observed = _statistics(sums[:, [best]] - sums, sizes, np.ones(len(sizes)))
    # The same difference in every cluster has no error, and is none of chance.
    always = (np.ptp((sums[:, [best]] - sums) / sizes[:, None], axis=0) < NOTHING) & (mean[best] - mean > NOTHING)
    return Comparison(
        mean=mean,
        low=low,
        high=high,
        behind=mean[best] - mean,
        behind_low=behind_low,
        behind_high=behind_high,
        ahead=mean - mean[reference],
        ahead_low=ahead_low,
        ahead_high=ahead_high,
        as_good=(observed <= critical) & ~always,
    )


def _statistics(differences: Values, sizes: Values, weights: Values) -> Values:
    """(S,): mean over units of the differences, divided by its standard error; ``differences`` (C, S) are sums over
    clusters of ``sizes`` (C,), each drawn ``weights`` (C,) times. 0 where nothing differs."""
    total, count = weights @ sizes, weights.sum()
    mean = weights @ differences / total
    residuals = differences - sizes[:, None] * mean
    variance = (weights @ residuals**2) * count / (count - 1)
    error = np.sqrt(variance) / total
    return np.divide(mean, error, out=np.zeros_like(mean), where=error > NOTHING)
