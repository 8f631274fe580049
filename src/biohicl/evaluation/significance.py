"""How sure a system's score is, and whether two systems differ by more than chance.

Goes in: a score of each unit (a query, a sentence pair) by one system or by two, and a statistic over the units: a
mean, or the agreement of the scores with the wanted ones. Comes out: the statistic with its 95 % interval; for two
systems, the difference with its interval and a p-value; and p-values adjusted for their number. The same seed gives
the same numbers, whatever the order of the units, and the two systems exchanged give the difference with the other
sign.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap, 1993 (percentile intervals, chapter 13; a p-value from
drawn permutations, chapter 15). Smucker, Allan and Carterette, A Comparison of Statistical Significance Tests for
Information Retrieval Evaluation, CIKM 2007 (the paired randomisation test). Holm, A Simple Sequentially Rejective
Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, overload

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from biohicl.errors import BioHiCLError

Values = npt.NDArray[np.float64]
Scores = Sequence[float] | Values

DRAWS = 10_000
LOW, HIGH = 2.5, 97.5
# Up to so many units all 2^n exchanges are gone through: 16,384, about as many as are drawn otherwise.
MOST_UNITS_ENUMERATED = 14
# Sums of the same numbers in another order differ by less, as a share of the largest.
NOTHING = 1e-12
# Units times draws that are held at a time: arrays that fit a core's cache are worked through twice as fast.
BLOCK_VALUES = 2**14
# But so many draws of however many units, or the sorting of units before each block takes longest.
FEWEST_DRAWS_OF_A_BLOCK = 16


@dataclass(frozen=True)
class Estimate:
    """``value`` of a statistic over ``n`` units, and its 95 % percentile bootstrap interval from ``low`` to ``high``.

    With fewer than two units the interval is NaN. ``left_out``: draws in which the statistic is not defined (all
    units drawn have the same score, or none is wanted); the interval is that of the others, NaN if there are none.
    """

    value: float
    low: float
    high: float
    n: int
    left_out: int = 0


@dataclass(frozen=True)
class Difference:
    """``value``: the statistic of a system minus that of a reference on the same ``n`` units; ``low`` to ``high``: the
    95 % percentile bootstrap interval of that difference, both systems on the same draws of units.

    ``p``, in (0, 1]: how likely a difference of either sign is at least as large where the systems are exchangeable.
    Of few units it is never below 2^(1-n), so that fewer than six never reach 5 %. With fewer than two units the
    interval is NaN and ``p`` is 1. ``left_out``: as in :class:`Estimate`, draws in which either system has no value.
    """

    value: float
    low: float
    high: float
    p: float
    n: int
    left_out: int = 0


class Statistic(Protocol):
    """A function of units, each of which may count several times or not at all."""

    # What it needs to be defined, for the message to whoever gave it something else.
    needs: ClassVar[str]

    @property
    def wanted(self) -> Scores | None: ...

    def of_counts(self, found: Values, wanted: Values, counts: Values) -> Values:
        """(D,): by draw, of units with ``found`` (U,) and ``wanted`` (U,) that count ``counts`` (U, D) times.

        NaN where it is not defined."""
        ...

    def same_scale(self, found: Values, reference: Values) -> tuple[Values, Values]:
        """Scores (U,) of two systems, brought to where one may stand for the other; their difference stays."""
        ...


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean over units, such as queries with an nDCG each."""

    wanted: ClassVar[None] = None
    needs: ClassVar[str] = "a mean needs a unit"

    def of_counts(self, found: Values, wanted: Values, counts: Values) -> Values:
        return found @ counts / counts.sum(axis=0)

    def same_scale(self, found: Values, reference: Values) -> tuple[Values, Values]:
        # Only a unit's difference matters, and without what both have in common there is less to round.
        half = (found - reference) / 2
        return half, -half


@dataclass(frozen=True, eq=False)
class MeanOfSets:
    """The mean of the means of several sets of units, such as the queries of several benchmarks; each set counts as
    much as the others. ``wanted`` (U,): the number of the set that a unit is of."""

    wanted: Scores
    needs: ClassVar[str] = "a mean of sets needs a unit of each"

    def of_counts(self, found: Values, wanted: Values, counts: Values) -> Values:
        # A draw without any unit of a set has no such mean.
        sets = (wanted == number for number in np.unique(wanted))
        means = [_ratio(found[own] @ counts[own], counts[own].sum(axis=0)) for own in sets]
        return np.asarray(np.mean(means, axis=0)) if means else np.full(counts.shape[1], np.nan)

    def same_scale(self, found: Values, reference: Values) -> tuple[Values, Values]:
        half = (found - reference) / 2
        return half, -half


@dataclass(frozen=True, eq=False)
class Pearson:
    """The correlation of the scores found with those ``wanted`` (U,), within [-1, 1]."""

    wanted: Scores
    needs: ClassVar[str] = "a correlation needs units that differ, in the scores found and in those wanted"

    def of_counts(self, found: Values, wanted: Values, counts: Values) -> Values:
        return _correlation(found[:, None], wanted[:, None], counts)

    def same_scale(self, found: Values, reference: Values) -> tuple[Values, Values]:
        return _standardised(found), _standardised(reference)


@dataclass(frozen=True, eq=False)
class Spearman:
    """The rank correlation of the scores found with those ``wanted`` (U,), within [-1, 1]; equal scores get their mean
    rank, and each draw of units is ranked anew."""

    wanted: Scores
    needs: ClassVar[str] = Pearson.needs

    def of_counts(self, found: Values, wanted: Values, counts: Values) -> Values:
        return _correlation(_mean_ranks(found, counts), _mean_ranks(wanted, counts), counts)

    def same_scale(self, found: Values, reference: Values) -> tuple[Values, Values]:
        return _rank_shares(found), _rank_shares(reference)


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """Of units ranked by falling score, of which those ``wanted`` (U,) are 1 and the others 0: the mean, over the
    wanted units, of the precision down to their place; within (0, 1].

    Units with the same score have one place, the last of them: each wanted one among them gets the precision down to
    there. So the order in which the units are given does not matter, and a system that gives all the same score gets
    the share of wanted ones.
    """

    wanted: Scores
    needs: ClassVar[str] = "average precision needs a unit that is wanted"

    def of_counts(self, found: Values, wanted: Values, counts: Values) -> Values:
        order, starts, _ = _groups(-found)
        in_group = np.add.reduceat(counts[order], starts, axis=0)
        hits = np.add.reduceat((counts * wanted[:, None])[order], starts, axis=0)
        places, hits_so_far = in_group.cumsum(axis=0), hits.cumsum(axis=0)
        precision = np.divide(hits_so_far, places, out=np.zeros_like(places), where=places > 0)
        return _ratio((precision * hits).sum(axis=0), hits.sum(axis=0))

    def same_scale(self, found: Values, reference: Values) -> tuple[Values, Values]:
        return _rank_shares(found), _rank_shares(reference)


def value_of(statistic: Statistic, found: Scores) -> float:
    """The statistic of the scores ``found`` (U,) by itself. Raises BioHiCLError where :func:`estimate` does."""
    given = _finite(found, "the system's scores")
    wanted, scores = _in_order(_wanted(statistic, len(given)), given)
    return _defined_value(statistic, scores, wanted, "the system's scores")


def estimate(statistic: Statistic, found: Scores, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """The statistic of the scores ``found`` (U,), and its interval from ``draws`` draws of U units with replacement
    (Efron and Tibshirani 1993, chapter 13).

    Fewer than two units are no error: the interval is NaN, and so is a value that is not defined. Raises BioHiCLError
    if a score is not a finite number, or one wanted for an average precision neither 0 nor 1; if there are more or
    fewer scores wanted than found; if two units or more have no such statistic (for a correlation, because all scores
    are the same); if ``draws`` is below 1.
    """
    _check_draws(draws)
    given = _finite(found, "the system's scores")
    wanted, scores = _in_order(_wanted(statistic, len(given)), given)
    if len(scores) < 2:
        return Estimate(_value(statistic, scores, wanted), np.nan, np.nan, len(scores))
    value = _defined_value(statistic, scores, wanted, "the system's scores")
    blocks = _resamples(len(scores), draws, _generator(seed))
    low, high, left_out = _interval([statistic.of_counts(scores, wanted, counts) for counts in blocks])
    return Estimate(value, low, high, len(scores), left_out)


def difference(statistic: Statistic, found: Scores, reference: Scores, draws: int = DRAWS, seed: int = 0) -> Difference:
    """The statistic of ``found`` (U,) minus that of ``reference`` (U,), scores of the same units in the same order.

    Its interval is that of ``draws`` draws of U units with replacement. Its p-value is that of the two-sided paired
    randomisation test (Smucker, Allan and Carterette 2007): the share of exchanges of the systems, unit by unit, that
    give a difference at least as large. Up to ``MOST_UNITS_ENUMERATED`` units it is the share of all exchanges, the
    observed one among them; above, of ``draws`` and the observed one, (1 + as large) / (1 + draws). An exchange after
    which the statistic is not defined counts as at least as large, so that p is never too small by it.

    The test is exact for means: of systems that are exchangeable unit by unit, at most 5 % get a p below .05. For the
    other statistics each system's scores are first standardised or ranked among its own, and few units are then only
    nearly exchangeable. Measured on drawn equal systems, :class:`Pearson` told 6 % apart at 10 units and 5 % from 40
    on, :class:`Spearman` 5 % or fewer throughout.

    Raises BioHiCLError where :func:`estimate` does, and if the systems have not as many scores.
    """
    _check_draws(draws)
    one, other = _finite(found, "the system's scores"), _finite(reference, "the reference's scores")
    _check_length(other, len(one), "the reference's scores")
    wanted = _wanted(statistic, len(one))
    if len(one) < 2:
        gap = _value(statistic, one, wanted) - _value(statistic, other, wanted)
        return Difference(gap, np.nan, np.nan, 1.0, len(one))
    _defined_value(statistic, one, wanted, "the system's scores")
    _defined_value(statistic, other, wanted, "the reference's scores")
    forwards, backwards = _in_order(wanted, one, other), _in_order(wanted, other, one)
    # Draws fall on units by their place. So that exchanged systems get the same draws, one of the two is always first.
    sign = _sign(backwards - forwards)
    compared = _difference_in_order(statistic, forwards if sign >= 0 else backwards, draws, seed)
    if sign < 0:
        return replace(compared, value=0.0 - compared.value, low=0.0 - compared.high, high=0.0 - compared.low)
    if sign == 0:
        # Exchanged, the systems are the same; so is what the bootstrap draws from, and luck must not favour a side.
        half = (compared.high - compared.low) / 2
        return replace(compared, value=0.0, low=0.0 - half, high=half)
    return compared


def mean_difference(
    statistic: Statistic, found: Sequence[Scores], reference: Scores, draws: int = DRAWS, seed: int = 0
) -> tuple[Values, Values]:
    """The statistic of each of several systems minus that of ``reference`` (S,), and the mean of these differences over
    ``draws`` draws of the units, each (at most D,): draws in which one is not defined are left out.

    ``found``: the scores (U,) of each system. Raises BioHiCLError where :func:`difference` does.
    """
    _check_draws(draws)
    theirs = _finite(reference, "the reference's scores")
    ours = [_finite(scores, "the system's scores") for scores in found]
    for scores in ours:
        _check_length(theirs, len(scores), "the reference's scores")
    wanted = _wanted(statistic, len(theirs))
    for scores, name in [(theirs, "the reference's scores"), *((scores, "the system's scores") for scores in ours)]:
        _defined_value(statistic, scores, wanted, name)
    wanted, theirs, *ours = _in_order(wanted, theirs, *ours)

    def gaps_of(counts: Values) -> Values:
        alone = statistic.of_counts(theirs, wanted, counts)
        return np.stack([statistic.of_counts(scores, wanted, counts) - alone for scores in ours])

    drawn = [gaps_of(counts).mean(axis=0) for counts in _resamples(len(theirs), draws, _generator(seed))]
    means = np.concatenate(drawn)
    return gaps_of(np.ones((len(theirs), 1)))[:, 0], means[~np.isnan(means)]


@overload
def holm(p_values: Sequence[float]) -> list[float]: ...
@overload
def holm(p_values: Sequence[float | None]) -> list[float | None]: ...
def holm(p_values: Sequence[float | None]) -> list[float] | list[float | None]:
    """Adjusted p-values, in the given order: at most 5 % of families have any below .05 where nothing differs.

    Of m p-values the smallest is multiplied by m, the next by m - 1 and so on; none becomes smaller than the one
    before, nor larger than 1 (Holm 1979). None and NaN stand for comparisons that were not made: they stay as they
    are, and m does not count them. Raises BioHiCLError for anything else outside [0, 1].
    """
    given = np.array([np.nan if p is None else p for p in p_values], dtype=np.float64)
    wrong = np.flatnonzero((given < 0) | (given > 1))
    if len(wrong):
        raise BioHiCLError(f"p-value {wrong[0] + 1} is {given[wrong[0]]}; it has to be within [0, 1]")
    made = np.flatnonzero(~np.isnan(given))
    rising = made[np.argsort(given[made], kind="stable")]
    factors = len(made) - np.arange(len(made))
    given[rising] = np.minimum(np.maximum.accumulate(given[rising] * factors), 1)
    return [None if p is None else float(adjusted) for p, adjusted in zip(p_values, given, strict=True)]


# --- input ------------------------------------------------------------------------------------------


def _finite(scores: Scores, name: str) -> Values:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise BioHiCLError(f"{name}: found an array of {values.ndim} dimensions; one score a unit is needed")
    _check_each(np.isfinite(values), values, name, "a finite number")
    return values


def _check_each(right: npt.NDArray[np.bool_], values: Values, name: str, needed: str) -> None:
    wrong = np.flatnonzero(~right)
    if len(wrong):
        raise BioHiCLError(f"{name}: that of unit {wrong[0] + 1} is {values[wrong[0]]}, but {needed} is needed")


def _check_length(values: Values, units: int, name: str) -> None:
    if len(values) != units:
        raise BioHiCLError(f"{name}: found {len(values)}, but {units} of the system; give both on the same units")


def _check_draws(draws: int) -> None:
    if draws < 1:
        raise BioHiCLError(f"draws: found {draws}, but at least 1 is needed")


def _wanted(statistic: Statistic, units: int) -> Values:
    """The statistic's wanted scores (U,), checked; zeros for a statistic that has none."""
    if statistic.wanted is None:
        return np.zeros(units)
    wanted = _finite(statistic.wanted, "the wanted scores")
    _check_length(wanted, units, "the wanted scores")
    if isinstance(statistic, AveragePrecision):
        _check_each((wanted == 0) | (wanted == 1), wanted, "the wanted scores", "0 or 1")
    return wanted


def _in_order(*columns: Values) -> Values:
    """The columns as rows (C, U), their units sorted: then draws do not depend on the order they came in."""
    return np.stack(columns)[:, np.lexsort(columns[::-1])]


def _sign(gap: Values) -> int:
    """That of the first number, unit by unit, that is not 0; 0 if all are."""
    numbers = gap.T[gap.T != 0]
    return int(np.sign(numbers[0])) if len(numbers) else 0


# --- draws ------------------------------------------------------------------------------------------


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _block_sizes(units: int, draws: int) -> Iterator[int]:
    at_a_time = max(FEWEST_DRAWS_OF_A_BLOCK, BLOCK_VALUES // units)
    for start in range(0, draws, at_a_time):
        yield min(at_a_time, draws - start)


def _resamples(units: int, draws: int, generator: np.random.Generator) -> Iterator[Values]:
    """Blocks (U, D): how often each unit is drawn, U times with replacement. The blocks' size changes no draw."""
    for count in _block_sizes(units, draws):
        drawn = generator.integers(0, units, size=(count, units))
        cells = drawn * count + np.arange(count)[:, None]
        yield np.bincount(cells.ravel(), minlength=units * count).reshape(units, count).astype(np.float64)


def _exchanges(units: int, draws: int, generator: np.random.Generator) -> Iterator[Values]:
    """Blocks (U, D): 1 where the two systems of a unit are exchanged and 0 elsewhere; all of them for few units."""
    start = 0
    if units <= MOST_UNITS_ENUMERATED:
        for count in _block_sizes(units, 2**units):
            yield (np.arange(start, start + count) >> np.arange(units)[:, None] & 1).astype(np.float64)
            start += count
        return
    for count in _block_sizes(units, draws):
        yield (generator.random((count, units)) < 0.5).T.astype(np.float64)


def _interval(blocks: Sequence[Values]) -> tuple[float, float, int]:
    """Low and high, and in how many draws there is no value; ``blocks``: of draws (D,)."""
    drawn = np.concatenate(blocks)
    defined = drawn[~np.isnan(drawn)]
    left_out = len(drawn) - len(defined)
    if not len(defined):
        return np.nan, np.nan, left_out
    low, high = np.percentile(defined, [LOW, HIGH])
    return float(low), float(high), left_out


# --- one system, and two ----------------------------------------------------------------------------


def _value(statistic: Statistic, found: Values, wanted: Values) -> float:
    """NaN where it is not defined."""
    return float(statistic.of_counts(found, wanted, np.ones((len(found), 1)))[0]) if len(found) else np.nan


def _defined_value(statistic: Statistic, found: Values, wanted: Values, name: str) -> float:
    value = _value(statistic, found, wanted)
    if np.isnan(value):
        raise BioHiCLError(f"{name}: over these {len(found)} units nothing can be said; {statistic.needs}")
    return value


def _difference_in_order(statistic: Statistic, units: Values, draws: int, seed: int) -> Difference:
    """``units`` (3, U): wanted, found and reference."""
    wanted, found, reference = units
    n = len(wanted)
    found, reference = statistic.same_scale(found, reference)
    generator = _generator(seed)

    def gap_of(counts: Values) -> Values:
        return statistic.of_counts(found, wanted, counts) - statistic.of_counts(reference, wanted, counts)

    low, high, left_out = _interval([gap_of(counts) for counts in _resamples(n, draws, generator)])
    p = _p_value(statistic, wanted, found, reference, _exchanges(n, draws, generator))
    return Difference(float(gap_of(np.ones((n, 1)))[0]), low, high, p, n, left_out)


def _p_value(
    statistic: Statistic, wanted: Values, found: Values, reference: Values, exchanges: Iterator[Values]
) -> float:
    # Where the systems are no different, either could have given either score of a unit. That holds of scores only
    # where both use the same scale: cosines from .9 to 1 put among others from -1 to 1 would be a mixture that no
    # system gives, and correlate less than either. A correlation does not see a system's scale, so that standardised
    # scores (ranks, where only the order matters) change nothing else.
    both, wanted_twice = np.concatenate([found, reference]), np.concatenate([wanted, wanted])

    def gap_of(exchanged: Values) -> Values:
        # Of a unit's two scores each system has one: a draw of half of them, so that ranks are those of the mixture.
        first, second = np.concatenate([1 - exchanged, exchanged]), np.concatenate([exchanged, 1 - exchanged])
        return statistic.of_counts(both, wanted_twice, first) - statistic.of_counts(both, wanted_twice, second)

    observed = abs(gap_of(np.zeros((len(found), 1)))[0])
    allowance = NOTHING * np.abs(both).max()
    as_large = total = 0
    for exchanged in exchanges:
        gaps = np.abs(gap_of(exchanged))
        as_large += int(np.count_nonzero(np.isnan(gaps) | (gaps >= observed - allowance)))
        total += gaps.size
    if len(found) <= MOST_UNITS_ENUMERATED:
        return as_large / total
    return (1 + as_large) / (1 + total)


# --- statistics of units that count several times -----------------------------------------------------


def _groups(values: Values) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Order (U,) of rising values, where in it each group of equal ones starts (G,), and the group of each (U,)."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    return order, np.flatnonzero(np.diff(group[order], prepend=-1)), group


def _mean_ranks(values: Values, counts: Values) -> Values:
    """(U, D): ranks, from 1, among the units of each draw; equal ones have their mean rank. No draw is sorted: how
    many are below a unit, and how many equal it, is a sum of counts."""
    order, starts, group = _groups(values)
    equal = np.add.reduceat(counts[order], starts, axis=0)
    below = equal.cumsum(axis=0) - equal
    return (below + (equal + 1) / 2)[group]


def _correlation(one: Values, other: Values, counts: Values) -> Values:
    """(D,) of two variables, (U, D) or the same in each draw, (U, 1). NaN where either is constant."""
    one_off, other_off = _off_mean(one, counts), _off_mean(other, counts)
    together = (counts * one_off * other_off).sum(axis=0)
    # Two roots: a product of two small variances would vanish.
    spread = np.sqrt((counts * one_off**2).sum(axis=0)) * np.sqrt((counts * other_off**2).sum(axis=0))
    varies = _varies(one, counts) & _varies(other, counts)
    return np.clip(_ratio(together, np.where(varies, spread, 0)), -1, 1)


def _off_mean(values: Values, counts: Values) -> Values:
    return values - (counts * values).sum(axis=0) / counts.sum(axis=0)


def _varies(values: Values, counts: Values) -> npt.NDArray[np.bool_]:
    """(D,). By comparing values: the variance of equal ones need not be 0, by rounding of their mean. Nor need
    standardised scores of two systems be equal that would be so without rounding."""
    drawn = counts > 0
    lowest = np.where(drawn, values, np.inf).min(axis=0)
    highest = np.where(drawn, values, -np.inf).max(axis=0)
    return highest - lowest > NOTHING * np.maximum(np.abs(lowest), np.abs(highest))


def _standardised(values: Values) -> Values:
    return (values - values.mean()) / values.std()


def _rank_shares(values: Values) -> Values:
    """Mean ranks as shares of the units, within (0, 1]."""
    return rankdata(values) / len(values)


def _ratio(above: Values, below: Values) -> Values:
    """NaN where ``below`` is 0."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
