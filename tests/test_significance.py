"""Intervals, randomisation tests and adjusted p-values: against scipy, against definitions, and how often they err."""

import math
import random
import warnings
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score

import biohicl.evaluation.significance as module
from biohicl.errors import BioHiCLError
from biohicl.evaluation.significance import (
    AveragePrecision,
    Difference,
    Mean,
    Pearson,
    Spearman,
    difference,
    estimate,
    holm,
    mean_difference,
)

NAN = float("nan")
# Few values, so that ties, constants and units that mirror each other come up.
few = st.integers(0, 3).map(float)
binary = st.integers(0, 1).map(float)


def witness(kind, found, wanted):
    """The statistic by scipy and scikit-learn; NaN where it is not defined."""
    if kind is Mean:
        return float(np.mean(found))
    if kind is AveragePrecision:
        return average_precision_score(wanted, found) if any(wanted) else NAN
    # What is the same in every unit but for rounding is constant.
    if any(np.ptp(scores) < 1e-12 * np.abs(scores).max() for scores in (found, wanted)):
        return NAN
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        return float((stats.spearmanr if kind is Spearman else stats.pearsonr)(found, wanted).statistic)


def statistic_of(kind, wanted):
    return Mean() if kind is Mean else kind(wanted)


ALL = pytest.mark.parametrize("kind", [Mean, Pearson, Spearman, AveragePrecision])


def drawn(kind, units, seed=0, noise=(0.5, 0.8)):
    """Wanted scores, and those of two systems that find them more or less well."""
    generator = np.random.default_rng(seed)
    wanted = generator.normal(size=units)
    found, reference = (wanted + spread * generator.normal(size=units) for spread in noise)
    return (wanted > 0.3).astype(float) if kind is AveragePrecision else wanted, found, reference


# --- statistics and intervals -------------------------------------------------------------------------


@ALL
@settings(max_examples=60, deadline=None)
@given(
    units=st.lists(st.tuples(few, binary, st.integers(0, 2)), min_size=2, max_size=9).filter(
        lambda u: any(c for *_, c in u)
    )
)
def test_a_statistic_of_counted_units_is_that_of_units_written_out(kind, units):
    found, wanted, counts = np.array(units, dtype=np.float64).T
    found = found + 0.1
    value = statistic_of(kind, wanted).of_counts(found, wanted, np.stack([counts, np.ones(len(units))], axis=1))
    repeated = np.repeat(np.arange(len(units)), counts.astype(int))
    expected = [witness(kind, found[repeated], wanted[repeated]) if len(repeated) > 1 else NAN]
    if len(repeated) == 1:
        expected = [{Mean: found[repeated[0]], AveragePrecision: wanted[repeated[0]] or NAN}.get(kind, NAN)]
    np.testing.assert_allclose(value, [*expected, witness(kind, found, wanted)], atol=1e-12)


def test_average_precision_by_hand_and_with_ties():
    assert estimate(AveragePrecision([1, 0, 1]), [3, 2, 1], 10).value == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert estimate(AveragePrecision([1, 0, 1]), [3, 1, 1], 10).value == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert estimate(AveragePrecision([1, 0, 0, 0]), [5, 5, 5, 5], 10).value == 0.25


def test_the_interval_of_a_mean_is_scipys():
    values = np.random.default_rng(1).beta(0.6, 0.4, size=120)
    found = estimate(Mean(), values, 20_000, seed=3)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(4))
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert found.value == pytest.approx(values.mean(), abs=1e-12)
    assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.02 * width)
    assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.02 * width)
    assert (found.n, found.left_out) == (120, 0)


@ALL
def test_intervals_are_percentiles_of_the_same_units_written_out(kind):
    wanted, found, reference = drawn(kind, 25)
    found, reference = np.round(found, 1), np.round(reference, 1)
    if kind is Mean:
        wanted = np.zeros(25)
    # Units in the order that the draws fall on, and that system first which comes first, so that indices are the same.
    units = min(sorted(zip(wanted, *pair, strict=True)) for pair in ((found, reference), (reference, found)))
    wanted, found, reference = np.array(units).T
    rows = np.random.Generator(np.random.PCG64(7)).integers(0, 25, size=(300, 25))
    ones = np.array([witness(kind, found[row], wanted[row]) for row in rows])
    gaps = ones - [witness(kind, reference[row], wanted[row]) for row in rows]
    statistic = statistic_of(kind, wanted)
    alone, against = estimate(statistic, found, 300, 7), difference(statistic, found, reference, 300, 7)
    np.testing.assert_allclose([alone.low, alone.high], np.percentile(ones, [2.5, 97.5]), atol=1e-12)
    np.testing.assert_allclose([against.low, against.high], np.percentile(gaps, [2.5, 97.5]), atol=1e-12)
    assert alone.value == pytest.approx(witness(kind, found, wanted))
    assert against.value == pytest.approx(alone.value - witness(kind, reference, wanted))


def test_draws_without_a_value_are_left_out_and_counted():
    wanted = [0.0] * 9 + [1.0]
    found = np.arange(10.0)
    result = estimate(Spearman(wanted), found, 5000, seed=1)
    # The one unit that differs is missed by (9/10)^10 of the draws, and drawn alone by 10^-10.
    assert result.left_out / 5000 == pytest.approx(0.9**10, abs=0.03)
    assert math.isfinite(result.low) and math.isfinite(result.high)
    assert estimate(AveragePrecision(wanted), found, 5000, seed=1).left_out == result.left_out
    assert difference(Pearson(wanted), found, -found, 500, seed=1).left_out > 100
    assert estimate(Mean(), found, 500).left_out == 0


def test_of_draws_without_any_value_there_is_no_interval(monkeypatch):
    monkeypatch.setattr(module, "_resamples", lambda units, draws, generator: [np.array([[2.0], [0.0]])])
    result = estimate(Pearson([0, 1]), [1, 2], 1)
    assert (result.value, result.left_out) == (pytest.approx(1), 1)
    assert math.isnan(result.low) and math.isnan(result.high)


def test_a_constant_has_an_interval_of_no_width_but_no_correlation():
    same = [0.1] * 30
    result = estimate(Mean(), same, 500)
    assert (result.low, result.value, result.high) == pytest.approx((0.1, 0.1, 0.1), abs=1e-15)
    always = difference(Mean(), np.arange(30) + 0.1, np.arange(30), 500)
    assert (always.low, always.value, always.high) == pytest.approx((0.1, 0.1, 0.1), abs=1e-12)
    assert always.p == 1 / 501
    for kind in (Pearson, Spearman):
        with pytest.raises(BioHiCLError, match="the system's scores: over these 30 units .* that differ"):
            estimate(kind(np.arange(30)), same)
        with pytest.raises(BioHiCLError, match="that differ"):
            estimate(kind(same), np.arange(30))
        with pytest.raises(BioHiCLError, match="the reference's scores: over"):
            difference(kind(np.arange(30)), np.arange(30), same)
    with pytest.raises(BioHiCLError, match="a unit that is wanted"):
        estimate(AveragePrecision([0, 0]), [1, 2])


def test_the_interval_holds_the_true_mean_in_about_95_of_100_studies():
    generator = np.random.default_rng(5)
    held = 0
    for number in range(300):
        result = estimate(Mean(), generator.uniform(size=60), 400, seed=number)
        held += result.low <= 0.5 <= result.high
    # Binomial at 94 %, what 60 units let percentiles reach: outside by chance in fewer than 1 of 500.
    assert 268 <= held <= 295


# --- the randomisation test ---------------------------------------------------------------------------


def p_by_definition(kind, wanted, found, reference):
    """Every exchange in turn. The mixture of two systems' ranks is ranked anew."""
    scale = {Pearson: stats.zscore, Mean: np.asarray}.get(kind, stats.rankdata)
    pair = np.stack([scale(found), scale(reference)])

    def gap(exchanged):
        one, other = np.where(exchanged, pair[::-1], pair)
        return witness(kind, one, wanted) - witness(kind, other, wanted)

    gaps = np.array([abs(gap(exchanged)) for exchanged in product([False, True], repeat=len(found))])
    return np.mean(np.isnan(gaps) | (gaps > gaps[0] - 1e-11))


@ALL
@settings(max_examples=25, deadline=None)
@given(units=st.lists(st.tuples(binary, few, few), min_size=2, max_size=6))
@example(units=[(0.0, 0.0, 1.0), (1.0, 2.0, 0.0), (1.0, 3.0, 0.0), (0.0, 1.0, 1.0), (0.0, 1.0, 3.0)])
def test_few_units_give_the_share_of_all_exchanges(kind, units):
    wanted, found, reference = np.array(units).T
    if kind in (Pearson, Spearman):
        wanted = wanted + np.arange(len(wanted)) // 2
    try:
        result = difference(statistic_of(kind, wanted), found, reference, 20)
    except BioHiCLError:
        assert math.isnan(witness(kind, found, wanted) - witness(kind, reference, wanted))
        return
    assert result.p == pytest.approx(p_by_definition(kind, wanted, found, reference))


@ALL
@pytest.mark.parametrize("seed", range(3))
def test_p_is_scipys(kind, seed):
    wanted, found, reference = drawn(kind, 8, seed)
    if kind is not Mean:
        # scipy exchanges what it is given: ranks or standardised scores, no two of them the same.
        scale = stats.zscore if kind is Pearson else stats.rankdata
        found, reference = scale(found), scale(reference)

    def gap(one, other):
        return witness(kind, one, wanted) - witness(kind, other, wanted)

    theirs = stats.permutation_test((found, reference), gap, permutation_type="samples", n_resamples=math.inf)
    result = difference(statistic_of(kind, wanted), found, reference, 20)
    assert result.p == pytest.approx(theirs.pvalue)
    assert result.value == pytest.approx(theirs.statistic)


def test_a_p_by_hand():
    """Differences 1, 2, 3, 4 and -1: of 32 sums of theirs, 9 and 11 and their negatives are at least 9."""
    result = difference(Mean(), [1, 2, 3, 4, 0], [0, 0, 0, 0, 1], 10)
    assert result.p == 6 / 32
    assert difference(Mean(), [1.0] * 5, [0.9] * 5, 10).p == 2 / 32


@ALL
@pytest.mark.parametrize("units", [14, 15])
def test_drawn_exchanges_come_near_all_of_them(kind, units, monkeypatch):
    wanted, found, reference = drawn(kind, units, seed=2, noise=(0.5, 1.1))
    statistic = statistic_of(kind, wanted)
    results = {}
    for most in (10, 15):
        monkeypatch.setattr(module, "MOST_UNITS_ENUMERATED", most)
        results[most] = difference(statistic, found, reference, 4000, seed=1)
    assert (results[10].p * 4001) == pytest.approx(round(results[10].p * 4001))
    assert (results[15].p * 2**units) == pytest.approx(round(results[15].p * 2**units))
    error = math.sqrt(results[15].p * (1 - results[15].p) / 4000)
    assert results[10].p == pytest.approx(results[15].p, abs=4 * error + 1 / 4000)
    assert (results[10].low, results[10].high) == (results[15].low, results[15].high)


@ALL
@pytest.mark.parametrize("units", [10, 24])
def test_of_equal_systems_about_one_in_twenty_is_told_apart(kind, units):
    """The second system scores on another scale, which a correlation must not mind."""
    wrong = 0
    for number in range(400):
        wanted, found, reference = drawn(kind, units, 1000 * units + number, noise=(0.7, 0.7))
        if kind is AveragePrecision:
            wanted[:2] = 1, 0
        if kind is not Mean:
            reference = 0.05 * reference + 9
        wrong += difference(statistic_of(kind, wanted), found, reference, 199, seed=number).p <= 0.05
    # Binomial at 5 %: outside by chance in about 1 of 300. Average precision has few values, and ties keep it below;
    # standardised scores of few units are not quite exchangeable, and Pearson is let be wrong in 6 %.
    assert (3 if kind is AveragePrecision else 8) <= wrong <= (40 if kind is Pearson else 34)


@ALL
@pytest.mark.parametrize("units", [12, 60])
def test_a_clear_difference_is_found(kind, units):
    wanted, found, reference = drawn(kind, units, seed=1, noise=(0.1, 3.0))
    if kind is Mean:
        found = reference + 0.2 + 0.05 * wanted
    result = difference(statistic_of(kind, wanted), found, reference, 999)
    assert result.p <= 0.01
    assert 0 < result.low < result.value < result.high


def test_what_differs_alike_in_every_unit_is_paired():
    """Units that differ far more than the systems do."""
    generator = np.random.default_rng(3)
    units = generator.normal(0, 1e6, size=40)
    result = difference(Mean(), units + 1e-6 * generator.uniform(0.5, 1.5, size=40), units, 999)
    assert result.p == 1 / 1000
    assert 0 < result.low < 1e-6 < result.high < 2e-6


def test_standardised_scores_that_are_equal_but_for_rounding_are_constant_together():
    """Exchanged in the first half, or in the second, each system has one score throughout."""
    found, reference, wanted = [0.6] * 3 + [0.1] * 3, [0.2] * 3 + [0.9] * 3, [1.0, 0.9, 0.95, 0.1, 0.0, 0.05]
    # No exchange, all of them, and the two halves, which count as at least as large.
    assert difference(Pearson(wanted), found, reference, 20).p == 4 / 64


# --- both ---------------------------------------------------------------------------------------------


@ALL
@settings(max_examples=40, deadline=None)
@given(
    units=st.lists(st.tuples(binary, few, few), min_size=2, max_size=17),
    order=st.randoms(use_true_random=False),
)
@example(units=[(1.0, 0.0, 1.0), (1.0, 1.0, 0.0), (0.0, 2.0, 0.0), (0.0, 0.0, 2.0)], order=random.Random(0))
def test_neither_the_order_of_units_nor_of_systems_changes_a_number(kind, units, order):
    def of(units, exchanged=False):
        wanted, found, reference = np.array(units).T
        if exchanged:
            found, reference = reference, found
        statistic = statistic_of(kind, wanted)
        return difference(statistic, found, reference, 60, 3), estimate(statistic, found, 60, 3)

    try:
        first = of(units)
    except BioHiCLError:
        return
    shuffled = list(units)
    order.shuffle(shuffled)
    other = of(shuffled)
    assert [repr(result) for result in first] == [repr(result) for result in other]
    back = of(shuffled, exchanged=True)[0]
    np.testing.assert_array_equal([back.value, back.low, back.high], [-first[0].value, -first[0].high, -first[0].low])
    assert (back.p, back.left_out) == (first[0].p, first[0].left_out)


@ALL
@pytest.mark.parametrize("units", [6, 40])
def test_identical_systems_do_not_differ(kind, units):
    wanted, found, _ = drawn(kind, units)
    statistic = statistic_of(kind, wanted)
    result = difference(statistic, found, found.copy(), 500)
    assert result == Difference(0.0, 0.0, 0.0, 1.0, units, result.left_out)
    if kind is not Mean:
        # The same up to what the statistic does not see.
        near = difference(statistic, found, 0.3 * found + 0.7, 500)
        assert (near.value, near.low, near.high, near.p) == pytest.approx((0, 0, 0, 1), abs=1e-12)


def test_of_scores_only_what_a_correlation_sees_matters():
    wanted, found, reference = drawn(Spearman, 40)
    plain = difference(Spearman(wanted), found, reference, 500)
    assert difference(Spearman(np.exp(wanted)), np.exp(found), reference**3, 500) == plain
    plain = difference(Pearson(wanted), found, reference, 500)
    scaled = difference(Pearson(5 * wanted - 3), found / 7, 100 * reference + 1, 500)
    assert (scaled.value, scaled.low, scaled.high) == pytest.approx((plain.value, plain.low, plain.high), abs=1e-12)
    assert scaled.p == plain.p


@ALL
def test_the_same_seed_draws_the_same_in_blocks_of_any_size(kind, monkeypatch):
    wanted, found, reference = drawn(kind, 30)
    statistic = statistic_of(kind, wanted)
    first, again, other = (difference(statistic, found, reference, 300, seed) for seed in (1, 1, 2))
    assert first == again
    assert first.low != other.low
    monkeypatch.setattr(module, "BLOCK_VALUES", 30 * 23)
    blocks = difference(statistic, found, reference, 300, 1)
    assert (blocks.low, blocks.high) == pytest.approx((first.low, first.high), abs=1e-12)
    assert blocks.p == first.p
    monkeypatch.setattr(module, "MOST_UNITS_ENUMERATED", 9)
    few_units = difference(statistic_of(kind, wanted[:9]), found[:9], reference[:9], 10)
    monkeypatch.setattr(module, "BLOCK_VALUES", 2**14)
    assert difference(statistic_of(kind, wanted[:9]), found[:9], reference[:9], 10).p == few_units.p


def test_one_unit_or_none_says_nothing():
    for found, value in (([0.4], 0.4), ([], NAN)):
        result = estimate(Mean(), found)
        assert [result.value, result.low, result.high] == pytest.approx([value, NAN, NAN], nan_ok=True)
        assert result.n == len(found)
    for found, reference, value in (([0.4], [0.1], 0.3), ([], [], NAN)):
        gap = difference(Mean(), found, reference)
        assert [gap.value, gap.low, gap.high, gap.p] == pytest.approx([value, NAN, NAN, 1], nan_ok=True)
    for kind in (Pearson, Spearman):
        assert math.isnan(estimate(kind([1.0]), [2.0]).value)
        assert difference(kind([1.0]), [2.0], [3.0]).p == 1
    assert estimate(AveragePrecision([1]), [0.3]).value == 1


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: estimate(Mean(), [0.1, NAN]), "the system's scores: that of unit 2 is nan, but a finite number"),
        (lambda: difference(Mean(), [1, 2], [math.inf, 1]), "the reference's scores: that of unit 1 is inf"),
        (lambda: estimate(Spearman([1, NAN]), [1, 2]), "the wanted scores: that of unit 2 is nan"),
        (lambda: estimate(Spearman([1, 2, 3]), [1, 2]), "the wanted scores: found 3, but 2 of the system"),
        (lambda: difference(Mean(), [1, 2], [1]), "the reference's scores: found 1, but 2 of the system"),
        (lambda: estimate(AveragePrecision([0, 2]), [1, 2]), "that of unit 2 is 2.0, but 0 or 1"),
        (lambda: estimate(Mean(), [[1.0]]), "found an array of 2 dimensions"),
        (lambda: estimate(Mean(), [1, 2], draws=0), "draws: found 0"),
        (lambda: difference(Mean(), [1, 2], [3, 4], draws=0), "draws: found 0"),
        (lambda: holm([0.5, 1.5]), "p-value 2 is 1.5"),
        (lambda: holm([-0.1]), "p-value 1 is -0.1"),
    ],
)
def test_wrong_input_is_answered_in_words(call, said):
    with pytest.raises(BioHiCLError, match=said):
        call()


# --- many comparisons ---------------------------------------------------------------------------------


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.02, 0.7]) == pytest.approx([1, 0.06, 1])
    assert holm([]) == []
    adjusted = holm([0.02, None, 0.03, NAN])
    assert adjusted[1] is None and math.isnan(adjusted[3])
    assert [adjusted[0], adjusted[2]] == pytest.approx([0.04, 0.04])


def rejected(p_values, level):
    """Holm's procedure as he gives it: from the smallest on, while it is at most level / (those left)."""
    out, left = set(), sorted(range(len(p_values)), key=p_values.__getitem__)
    while left and p_values[left[0]] * len(left) <= level:
        out.add(left.pop(0))
    return out


@settings(deadline=None)
@given(
    p_values=st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.01, 0.02, 1.0]), max_size=9),
    level=st.floats(0, 0.999),
)
def test_what_holm_adjusts_below_a_level_is_what_he_rejects_at_it(p_values, level):
    adjusted = holm(p_values)
    assert {place for place, p in enumerate(adjusted) if p <= level} == rejected(p_values, level)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))


# --- several systems together -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mean", "spearman"])
def test_the_mean_difference_of_one_is_its_difference(name):
    draw = np.random.default_rng(4)
    wanted = draw.normal(size=90)
    statistic = Mean() if name == "mean" else Spearman(wanted)
    one, other, reference = (wanted + draw.normal(scale=scale, size=90) for scale in (0.5, 0.8, 1.1))
    told = difference(statistic, one, reference, 4000, 1)
    by_system, drawn = mean_difference(statistic, [one], reference, 4000, 2)
    assert by_system == pytest.approx([told.value])
    assert np.percentile(drawn, [2.5, 97.5]) == pytest.approx([told.low, told.high], abs=0.02)
    # Of two, the mean; in whatever order the units come.
    both, drawn = mean_difference(statistic, [one, other], reference, 4000, 1)
    alone = [difference(statistic, scores, reference, 10, 1).value for scores in (one, other)]
    assert both == pytest.approx(alone)
    assert drawn.mean() == pytest.approx(np.mean(alone), abs=0.01)
    turned = Mean() if name == "mean" else Spearman(wanted[::-1])
    _, again = mean_difference(turned, [one[::-1], other[::-1]], reference[::-1], 4000, 1)
    np.testing.assert_array_equal(again, drawn)


def test_the_mean_difference_is_of_the_same_units():
    with pytest.raises(BioHiCLError, match="on the same units"):
        mean_difference(Mean(), [[0.1, 0.2], [0.1]], [0.3, 0.4])
