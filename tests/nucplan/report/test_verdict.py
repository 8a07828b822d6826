"""The sentence says "better" and "worse" where the numbers allow it and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nucplan.metrics.paired import PairedDifference
from nucplan.report.verdict import Comparison, verdict

NAN = float("nan")


def difference(mean: float, low: float, high: float) -> PairedDifference:
    return PairedDifference(mean, low, high, np.full(5, mean))


BETTER = Comparison("boundary", "PQ", difference(0.017, 0.006, 0.026), 0.03, 5, 5, 1, None)
UNSURE = replace(BETTER, p=0.2)
OF_SEEDS = replace(UNSURE, seeds=3, noise_floor=0.004)


def said(one: Comparison) -> str:
    return verdict("baseline", [one])


def test_the_corrected_test_allows_better():
    assert said(BETTER) == "boundary is better than baseline by +.017 PQ [.006, .026]."


def test_three_seeds_above_the_noise_floor_allow_better():
    assert said(OF_SEEDS) == "boundary is better than baseline by +.017 PQ [.006, .026]."


def test_worse_needs_as_much_as_better():
    found = difference(-0.017, -0.026, -0.006)
    assert said(replace(BETTER, difference=found)) == "boundary is worse than baseline by .017 PQ [-.026, -.006]."
    assert "trails baseline by .017 PQ [-.026, -.006], which" in said(replace(UNSURE, difference=found))


def test_one_seed_without_the_test_leads_and_says_what_would_tell():
    assert said(UNSURE) == (
        "boundary leads baseline by +.017 PQ [.006, .026], which five folds of one seed cannot tell from noise "
        "(repeat with --seeds 0,1,2)."
    )


@pytest.mark.parametrize(
    "change",
    [
        {"noise_floor": 0.017},
        {"noise_floor": None},
        {"seeds": 2},
        {"folds": 4},
        {"difference": difference(0.017, -0.001, 0.03)},
        {"difference": difference(0.017, NAN, NAN)},
        {"difference": difference(0.017, 0.0, 0.03)},
    ],
)
def test_three_seeds_allow_nothing_below_the_noise_floor_or_with_fewer_folds_or_seeds_or_zero_inside(change):
    assert "leads" in said(replace(OF_SEEDS, **change))


def test_the_test_allows_nothing_where_the_interval_holds_zero():
    assert "cannot tell from noise" in said(replace(BETTER, difference=difference(0.017, -0.001, 0.026)))


def test_three_seeds_of_five_folds_are_not_asked_to_be_repeated():
    assert said(replace(OF_SEEDS, noise_floor=0.02)).endswith("which five folds of three seeds cannot tell from noise.")


def test_missing_folds_are_a_hole_in_every_sentence():
    assert said(replace(BETTER, folds=4)).endswith("(over four folds of five, the others are missing).")
    unsure = said(replace(UNSURE, folds=4))
    assert "which four folds of one seed cannot tell from noise (train all folds and repeat with --seeds" in unsure
    assert unsure.endswith("(over four folds of five, the others are missing).")
    assert said(replace(BETTER, folds=0)) == "boundary cannot be compared with baseline: no fold has PQ under both."


def test_one_fold_is_never_sure():
    assert "one fold of one seed cannot tell from noise" in said(replace(UNSURE, folds=1, folds_asked=1, p=NAN))


def test_without_nuclei_there_is_no_score_and_without_a_difference_a_config_equals_the_baseline():
    assert "by PQ, which has no value without nuclei" in said(replace(BETTER, difference=difference(NAN, NAN, NAN)))
    assert said(replace(BETTER, difference=difference(0, 0, 0), p=NAN)) == "boundary equals baseline in PQ."
    assert "is level with baseline in PQ" in said(replace(UNSURE, difference=difference(0, -0.01, 0.01)))


def test_configs_stand_in_one_sentence_and_one_config_alone_has_nothing_to_be_compared_with():
    both = verdict("baseline", [BETTER, replace(UNSURE, config="attention")])
    assert both.startswith("boundary is better than baseline by +.017 PQ [.006, .026]; attention leads baseline")
    assert both.count("; ") == 1
    assert verdict("baseline", []) == "There is nothing to compare baseline with; name further configs with --configs."


numbers = st.one_of(st.just(NAN), st.floats(-1, 1))
comparisons = st.builds(
    Comparison,
    st.just("boundary"),
    st.just("PQ"),
    st.builds(difference, numbers, numbers, numbers),
    st.one_of(st.just(NAN), st.floats(0, 1)),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(1, 12),
    st.one_of(st.none(), st.floats(0, 0.1)),
)


@given(comparisons)
@example(BETTER)
@example(OF_SEEDS)
def test_better_is_said_only_of_a_gain_that_the_test_or_three_seeds_allow(one):
    sentence = said(one)
    assert sentence.endswith(".")
    assert "nan" not in sentence
    if " is better" in sentence:
        of_test = one.p <= 0.05
        floor = np.inf if one.noise_floor is None else one.noise_floor
        of_seeds = one.seeds >= 3 and one.folds >= 5 and one.difference.mean > floor
        assert one.difference.low > 0 or one.difference.high < 0
        assert one.difference.mean > 0
        assert of_test or of_seeds
