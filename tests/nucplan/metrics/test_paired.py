"""Paired differences: the fast bootstrap is the explicit one, and its interval means what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nucplan.metrics.paired import (
    COVERAGE,
    PairedFold,
    Resampling,
    corrected_t_test,
    holm,
    paired_difference,
    resample,
)
from nucplan.metrics.scores import Score

NAN = float("nan")


def ratio(sums: np.ndarray) -> np.ndarray:
    numerator, denominator = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


# Records are pairs (numerator, denominator), pooled; or one value per image, averaged over those that are not NaN.
POOLED = Score("pooled", lambda record: record, ratio)
IMAGE_MEAN = Score("mean", lambda value: (0, 0) if math.isnan(value) else (value, 1), ratio)

records = st.tuples(st.integers(0, 5), st.integers(0, 5))
values = st.one_of(st.just(NAN), st.floats(0, 1, width=16))


def folds_of(record: st.SearchStrategy) -> st.SearchStrategy:
    image = st.tuples(st.sampled_from("abc"), record, record)
    fold = st.lists(image, min_size=1, max_size=6).map(lambda images: PairedFold(*zip(*images, strict=True)))
    return st.lists(fold, min_size=1, max_size=4)


def explicit_means(score: Score, folds: list[PairedFold], drawn: Resampling) -> list[float]:
    """The mean difference of each draw, from lists of repeated images."""
    occurrence, means = [0] * len(folds), []
    for draw in drawn.folds:
        differences = []
        for position in draw:
            fold = folds[position]
            times = dict(
                zip(sorted(set(fold.groups)), drawn.group_weights[position][occurrence[position]], strict=True)
            )
            occurrence[position] += 1
            picked = [i for i, group in enumerate(fold.groups) for _ in range(times[group])]
            scores = [score([side[i] for i in picked]) for side in (fold.baseline, fold.config)]
            differences.append(scores[1] - scores[0])
        known = [difference for difference in differences if not math.isnan(difference)]
        if known:
            means.append(sum(known) / len(known))
    return means


@pytest.mark.parametrize(("score", "record"), [(POOLED, records), (IMAGE_MEAN, values)], ids=["pooled", "image mean"])
def test_the_matrix_product_equals_an_explicit_loop_over_the_same_draws(score, record):
    @settings(max_examples=40, deadline=None)
    @given(folds_of(record), st.integers(0, 3))
    def check(folds, seed):
        found = paired_difference(score, folds, draws=20, seed=seed)
        drawn = resample([len(set(fold.groups)) for fold in folds], 20, seed)
        means = explicit_means(score, folds, drawn)
        alone = len(folds) == 1 and len(set(folds[0].groups)) == 1
        expected = [NAN, NAN] if alone or not means else np.quantile(means, [0.025, 0.975])
        np.testing.assert_allclose([found.low, found.high], expected, atol=1e-12)
        of_folds = [score(fold.config) - score(fold.baseline) for fold in folds]
        np.testing.assert_allclose(found.of_folds, of_folds, atol=1e-12)
        known = [difference for difference in of_folds if not math.isnan(difference)]
        np.testing.assert_allclose(found.mean, np.mean(known) if known else NAN, atol=1e-12)

    check()


def many_folds(
    rng: np.random.Generator, effect: float = 0.0, fold_sd: float = 0.006, count: int = 5
) -> list[PairedFold]:
    """Folds of six patients with three images each; noise of trainings, patients and images."""
    folds = []
    for _ in range(count):
        base = rng.normal(0.6, 0.1, 18)
        noise = rng.normal(0, fold_sd) + np.repeat(rng.normal(0, 0.01, 6), 3) + rng.normal(0, 0.02, 18)
        folds.append(PairedFold([f"p{i // 3}" for i in range(18)], base, base + effect + noise))
    return folds


def test_a_config_against_itself_differs_by_exactly_nothing():
    for fold in (many := many_folds(np.random.default_rng(0))):
        assert len(fold.groups) == 18
    same = [fold._replace(config=fold.baseline) for fold in many]
    found = paired_difference(IMAGE_MEAN, same)
    assert (found.mean, found.low, found.high) == (0, 0, 0)


def test_exchanging_the_configs_mirrors_the_interval():
    folds = many_folds(np.random.default_rng(1))
    exchanged = [PairedFold(fold.groups, fold.config, fold.baseline) for fold in folds]
    there, back = (paired_difference(IMAGE_MEAN, each) for each in (folds, exchanged))
    np.testing.assert_allclose([there.mean, there.low, there.high], [-back.mean, -back.high, -back.low], atol=1e-12)


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    found = [paired_difference(IMAGE_MEAN, many_folds(rng, 0.01), draws=400, seed=i) for i in range(300)]
    coverage = np.mean([one.low <= 0.01 <= one.high for one in found])
    assert 0.84 <= coverage <= 0.98
    assert abs(np.mean([one.mean for one in found]) - 0.01) < 0.001


@pytest.mark.parametrize("count", COVERAGE)
@pytest.mark.parametrize(("fold_sd", "end"), [(0.02, 0), (0.006, 1)])
def test_intervals_of_few_folds_cover_as_little_as_is_said(count, fold_sd, end):
    rng = np.random.default_rng(5)
    found = [paired_difference(IMAGE_MEAN, many_folds(rng, 0.01, fold_sd, count), 200, seed) for seed in range(250)]
    coverage = np.mean([one.low <= 0.01 <= one.high for one in found])
    assert coverage == pytest.approx(COVERAGE[count][end] / 100, abs=0.06)


def test_the_conservative_check_raises_no_more_false_alarms_than_it_says():
    rng = np.random.default_rng(3)
    p_values = [
        corrected_t_test(paired_difference(IMAGE_MEAN, many_folds(rng), draws=1).of_folds, 1 / 4) for _ in range(400)
    ]
    assert np.mean(np.array(p_values) < 0.05) <= 0.06


def test_noise_that_a_whole_fold_shares_widens_the_interval():
    def width(fold_sd: float) -> float:
        found = paired_difference(IMAGE_MEAN, many_folds(np.random.default_rng(4), fold_sd=fold_sd))
        return found.high - found.low

    assert width(0.05) > 3 * width(0.0)


def test_images_of_one_group_are_drawn_together():
    base = np.zeros(40)
    config = np.repeat([0.0, 1.0], 20)
    alike = PairedFold(["a"] * 20 + ["b"] * 20, base, config)
    single = alike._replace(groups=[str(i) for i in range(40)])
    together, apart = (paired_difference(IMAGE_MEAN, [fold]) for fold in (alike, single))
    assert (together.low, together.high) == (0, 1)
    assert 0.2 < apart.low < apart.high < 0.8


def test_with_one_group_per_fold_folds_are_resampled_and_with_one_fold_its_groups():
    per_fold = [PairedFold(["a"], [0.0], [gain]) for gain in (0.1, 0.2, 0.3)]
    found = paired_difference(IMAGE_MEAN, per_fold)
    assert found.mean == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.1, 0.3))
    one_fold = [PairedFold(["a", "b", "c"], [0.0] * 3, [0.1, 0.2, 0.3])]
    found = paired_difference(IMAGE_MEAN, one_fold)
    assert (found.low, found.high) == pytest.approx((0.1, 0.3))


def test_one_group_of_one_fold_has_a_difference_but_no_interval():
    found = paired_difference(POOLED, [PairedFold(["a", "a"], [(1, 2), (1, 2)], [(2, 2), (1, 2)])])
    assert found.mean == 0.25
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_a_score_that_exists_nowhere_is_nan_and_one_fold_without_it_is_left_out():
    without = PairedFold(["a", "b"], [NAN, NAN], [NAN, NAN])
    found = paired_difference(IMAGE_MEAN, [without, without])
    assert all(math.isnan(value) for value in found[:3])
    known = PairedFold(["a", "b"], [0.0, NAN], [0.5, NAN])
    found = paired_difference(IMAGE_MEAN, [without, known])
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)
    assert all(math.isnan(value) for value in paired_difference(IMAGE_MEAN, [])[:3])


def test_images_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="one of each for every image"):
        paired_difference(POOLED, [PairedFold(["a", "b"], [(1, 2), (1, 2)], [(1, 2)])])


def test_the_corrected_t_test_is_the_plain_one_with_more_variance():
    differences = np.array([0.02, 0.01, 0.03, 0.02, -0.01])
    plain = stats.ttest_1samp(differences, 0).pvalue
    assert corrected_t_test(differences, 0) == pytest.approx(plain)
    t = differences.mean() / np.sqrt(0.45 * differences.var(ddof=1))
    assert corrected_t_test(differences, 1 / 4) == pytest.approx(2 * stats.t.sf(t, 4))
    assert corrected_t_test(np.append(differences, NAN), 1 / 4) == corrected_t_test(differences, 1 / 4)
    assert math.isnan(corrected_t_test(np.array([0.1]), 1 / 4))
    assert math.isnan(corrected_t_test(np.zeros(5), 1 / 4))


def test_holm_multiplies_the_smallest_most_and_keeps_the_order():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.6, NAN, 0.02]), [0.6, NAN, 0.04])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])
