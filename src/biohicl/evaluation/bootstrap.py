"""Means over few units that were drawn from many (reviews, queries), with intervals, and compared in pairs.

Goes in: a value for each unit and each of several systems. Comes out: 95 % percentile intervals of the systems'
means, and of their differences on the same units. The same seed draws the same.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
LOW, HIGH = 2.5, 97.5
# So many draws at a time: their weights, a row of units each, stay small.
DRAWS_OF_A_BLOCK = 1000


@dataclass(frozen=True)
class Comparison:
    """All (S,), by system. ``mean``, and the interval of the mean; ``behind``: by how much the best system's mean is
    higher, and the interval of that difference over the same draws; ``ahead``: the same of a reference system, by how
    much it is lower; ``share_best``: share of the draws in which the system has the highest mean (ties are shared
    out)."""

    mean: Values
    low: Values
    high: Values
    behind: Values
    behind_low: Values
    behind_high: Values
    ahead: Values
    ahead_low: Values
    ahead_high: Values
    share_best: Values


def compare(values: Values, draws: int, seed: int, reference: int = 0) -> Comparison:
    """``values`` (U, S): of each unit, for each system; ``reference``: a system that all are compared with, beside the
    best. With one unit there is no spread: every interval is NaN."""
    units, systems = values.shape
    mean = values.mean(axis=0)
    best = int(np.argmax(mean))
    if units < 2:
        nothing = np.full(systems, np.nan)
        behind, ahead = mean[best] - mean, mean - mean[reference]
        return Comparison(mean, nothing, nothing, behind, nothing, nothing, ahead, nothing, nothing, nothing)
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn = []
    for start in range(0, draws, DRAWS_OF_A_BLOCK):
        count = min(DRAWS_OF_A_BLOCK, draws - start)
        drawn.append(generator.multinomial(units, np.full(units, 1 / units), size=count) @ values / units)
    means = np.concatenate(drawn)
    low, high = np.percentile(means, [LOW, HIGH], axis=0)
    behind_low, behind_high = np.percentile(means[:, [best]] - means, [LOW, HIGH], axis=0)
    ahead_low, ahead_high = np.percentile(means - means[:, [reference]], [LOW, HIGH], axis=0)
    # Sums of the same numbers in another order differ in their last bits: such systems are equal.
    is_best = np.isclose(means, means.max(axis=1, keepdims=True), rtol=0, atol=1e-12)
    share = (is_best / is_best.sum(axis=1, keepdims=True)).mean(axis=0)
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
        share_best=share,
    )
