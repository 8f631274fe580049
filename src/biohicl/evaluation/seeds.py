"""What a recipe is worth: the mean over its seeds, against one reference, on the same units.

The error has two parts: other units, such as queries (the bootstrap over units of the mean over seeds), and other seeds
(the spread of the seeds' gains, divided by their number). Both variances are added, and the interval is that of a t
distribution with Welch and Satterthwaite's degrees of freedom: with few seeds it is wide, as it has to be.

Sources: Welch, Biometrika 1947; Satterthwaite, Biometrics Bulletin 1946; Bouthillier et al., Accounting for Variance in
Machine Learning Benchmarks, MLSys 2021 (seeds and test items as separate sources of variance).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
LEVEL, POWER = 0.95, 0.8


@dataclass(frozen=True)
class Gain:
    """Mean over seeds of the score, minus the reference's: ``value``, its 95 % interval, and what difference an
    experiment with this error would show in 8 of 10 tries.

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
    from scipy.stats import norm, t

    seeds, of_queries = len(by_seed), float(drawn.var())
    of_seeds = float(by_seed.var(ddof=1) / seeds) if seeds > 1 else None
    variance = of_queries + (of_seeds or 0.0)
    freedom = float(units - 1)
    if of_seeds and variance > 0:
        freedom = variance**2 / (of_seeds**2 / (seeds - 1) + of_queries**2 / (units - 1))
    error = variance**0.5
    reach = float(t.ppf((1 + LEVEL) / 2, freedom)) * error
    value = float(by_seed.mean())
    detectable = reach + float(norm.ppf(POWER)) * error
    return Gain(
        value, value - reach, value + reach, detectable, of_queries**0.5, None if of_seeds is None else of_seeds**0.5
    )
