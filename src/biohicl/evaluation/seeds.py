"""What a recipe is worth: the mean over its seeds, against one reference, on the same units.

The error has two parts: other units, such as queries (the bootstrap over units of the mean over seeds), and other seeds
(the spread of the seeds' gains, divided by their number). Each reaches as far as Student's t with its own degrees of
freedom says, and the interval is the root of both reaches' squares. With few seeds it is wide, as it has to be: one t
distribution for both, with Welch and Satterthwaite's degrees of freedom, held the truth in as few as 87 of 100 drawn
experiments of two seeds. Where seeds differ from query to query, both parts hold that, and the interval is wider than
it need be.

Source: Bouthillier et al., Accounting for Variance in Machine Learning Benchmarks, MLSys 2021 (seeds and test items as
separate sources of variance).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
LEVEL, POWER = 0.95, 0.8
# Experiments that are drawn to say what one would show; the same each time.
EXPERIMENTS = 10_000


@dataclass(frozen=True)
class Gain:
    """Mean over seeds of the score, minus the reference's: ``value``, its 95 % interval, and what difference an
    experiment with this error would tell from 0 in 8 of 10 tries.

    ``of_queries``, ``of_seeds``: the standard errors that these two leave. None with a single seed, which tells nothing
    of others: the interval is then of other queries (or other units) alone.
    """

    value: float
    low: float
    high: float
    detectable: float
    of_queries: float
    of_seeds: float | None


def gain_over_seeds(by_seed: Values, drawn: Values, units: int) -> Gain:
    """``by_seed`` (S,): the gain of each seed over all units; ``drawn`` (D,): the seeds' mean gain over draws of the
    ``units``."""
    from scipy.stats import t

    seeds, of_queries = len(by_seed), float(drawn.std())
    of_seeds = float(by_seed.std(ddof=1)) / seeds**0.5 if seeds > 1 else 0.0
    farthest = [float(t.ppf((1 + LEVEL) / 2, count - 1)) if count > 1 else 0.0 for count in (units, seeds)]
    reach = float(np.hypot(farthest[0] * of_queries, farthest[1] * of_seeds))
    value = float(by_seed.mean())
    # In other experiments of this size the mean lies elsewhere, and their few seeds spread more, or less.
    draw = np.random.Generator(np.random.PCG64(0))
    spread = (draw.chisquare(seeds - 1, EXPERIMENTS) / (seeds - 1)) ** 0.5 if seeds > 1 else np.zeros(EXPERIMENTS)
    reaches = np.hypot(farthest[0] * of_queries, farthest[1] * of_seeds * spread)
    errors = draw.normal(0, np.hypot(of_queries, of_seeds), EXPERIMENTS)
    detectable = float(np.quantile(reaches - errors, POWER))
    return Gain(value, value - reach, value + reach, detectable, of_queries, of_seeds if seeds > 1 else None)
