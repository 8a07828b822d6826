"""Paired differences: the fast bootstrap is the explicit one; what it does with folds, groups, seeds and no score."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nucplan.metrics.paired import (
    PairedFold,
    Resampling,
    corrected_t_test,
    holm,
    paired_difference,
    paired_difference_of_seeds,
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
    """Lists of folds; each is a list of one to three seeds, which share the groups."""

    def fold(groups: list[str]) -> st.SearchStrategy:
        side = st.lists(record, min_size=len(groups), max_size=len(groups))
        return st.lists(st.builds(PairedFold, st.just(groups), side, side), min_size=1, max_size=3)

    return st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=6).flatmap(fold), min_size=1, max_size=4)


def mean_of_known(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else NAN


def explicit_difference(score: Score, fold: PairedFold, times: dict[str, int]) -> float:
    picked = [i for i, group in enumerate(fold.groups) for _ in range(times[group])]
    baseline, config = (score([side[i] for i in picked]) for side in (fold.baseline, fold.config))
    return config - baseline


def explicit_means(score: Score, folds: list[list[PairedFold]], drawn: Resampling) -> list[float]:
    """The mean difference of each draw, from lists of repeated seeds and images."""
    occurrence, means = [0] * len(folds), []
    for draw in drawn.folds:
        differences = []
        for position in draw:
            seeds, row = folds[position], occurrence[position]
            occurrence[position] += 1
            groups = sorted(set(seeds[0].groups))
            times = dict(zip(groups, drawn.group_weights[position][row], strict=True))
            repeated = [
                one for one, often in zip(seeds, drawn.seed_weights[position][row], strict=True) for _ in range(often)
            ]
            differences.append(mean_of_known([explicit_difference(score, one, times) for one in repeated]))
        means.append(mean_of_known(differences))
    return [mean for mean in means if not math.isnan(mean)]


@pytest.mark.parametrize(("score", "record"), [(POOLED, records), (IMAGE_MEAN, values)], ids=["pooled", "image mean"])
def test_the_matrix_product_equals_an_explicit_loop_over_the_same_draws(score, record):
    @settings(max_examples=40, deadline=None)
    @given(folds_of(record), st.integers(0, 3))
    def check(folds, seed):
        found = paired_difference_of_seeds(score, folds, draws=20, seed=seed)
        groups, seeds = [len(set(fold[0].groups)) for fold in folds], [len(fold) for fold in folds]
        means = explicit_means(score, folds, resample(groups, 20, seed, seeds))
        once = dict.fromkeys("abc", 1)
        of_folds = [mean_of_known([explicit_difference(score, one, once) for one in fold]) for fold in folds]
        mean, known = mean_of_known(of_folds), sum(not math.isnan(value) for value in of_folds)
        np.testing.assert_allclose(found.of_folds, of_folds, atol=1e-12)
        np.testing.assert_allclose(found.mean, mean, atol=1e-12)
        alone = len(folds) == groups[0] == seeds[0] == 1
        ends = np.array([NAN, NAN] if alone or not means else np.quantile(means, [0.025, 0.975]))
        widening = math.sqrt(known / (known - 1)) if known > 1 else 1
        np.testing.assert_allclose([found.low, found.high], mean + widening * (ends - mean), atol=1e-12)

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


def test_the_mean_is_that_of_the_true_difference_and_lies_within():
    rng = np.random.default_rng(2)
    found = [paired_difference(IMAGE_MEAN, many_folds(rng, 0.01), draws=50, seed=i) for i in range(100)]
    assert abs(np.mean([one.mean for one in found]) - 0.01) < 0.001
    assert all(one.low < one.mean < one.high for one in found)


def test_a_seed_more_changes_neither_the_drawn_folds_nor_the_drawn_groups():
    one, three = resample([3, 4, 2], 30, 5), resample([3, 4, 2], 30, 5, [3, 3, 3])
    np.testing.assert_array_equal(one.folds, three.folds)
    for there, here in zip(one.group_weights, three.group_weights, strict=True):
        np.testing.assert_array_equal(there, here)
    assert all((weights == 1).all() for weights in one.seed_weights)
    assert all((weights.sum(axis=1) == 3).all() for weights in three.seed_weights)


def test_equal_seeds_are_one_seed():
    folds = many_folds(np.random.default_rng(6))
    one, three = (paired_difference_of_seeds(IMAGE_MEAN, [[fold] * count for fold in folds]) for count in (1, 3))
    np.testing.assert_allclose(one[:3], three[:3], atol=1e-12)
    np.testing.assert_allclose(one.of_folds, three.of_folds, atol=1e-12)


def test_one_fold_of_one_group_has_an_interval_from_its_seeds():
    seeds = [PairedFold(["a"], [0.0], [gain]) for gain in (0.1, 0.3)]
    found = paired_difference_of_seeds(IMAGE_MEAN, [seeds])
    assert (found.mean, found.low, found.high) == pytest.approx((0.2, 0.1, 0.3))


def test_seeds_of_other_images_are_refused():
    with pytest.raises(ValueError, match="same images with the same groups"):
        paired_difference_of_seeds(IMAGE_MEAN, [[PairedFold(["a"], [0], [1]), PairedFold(["b"], [0], [1])]])
    with pytest.raises(ValueError, match="at least one seed"):
        paired_difference_of_seeds(IMAGE_MEAN, [[]])


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
    # Three folds: wider than the folds are by sqrt(3 / 2).
    assert (found.low, found.high) == pytest.approx((0.2 - 0.1 * 1.5**0.5, 0.2 + 0.1 * 1.5**0.5))
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
