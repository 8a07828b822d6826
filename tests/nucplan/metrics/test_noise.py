"""The noise floor is the pooled standard deviation of seeds, and unknown without a second seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucplan.metrics.noise import noise_floor

NAN = float("nan")


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=6))
def test_with_equal_numbers_of_seeds_it_is_the_root_of_the_mean_variance(repeats):
    assert noise_floor(repeats) == pytest.approx(np.sqrt(np.var(repeats, axis=1, ddof=1).mean()))


def test_it_finds_the_spread_of_seeds_whatever_the_folds_and_configs():
    rng = np.random.default_rng(0)
    means = rng.uniform(0.2, 0.8, (400, 1))
    assert noise_floor(means + rng.normal(0, 0.01, (400, 3))) == pytest.approx(0.01, rel=0.1)


def test_a_fold_with_fewer_seeds_counts_less_and_one_without_a_repeat_not_at_all():
    assert noise_floor([[0.0, 0.2], [0.5, 0.5, 0.5]]) == pytest.approx(np.sqrt(0.02 / 3))
    assert noise_floor([[0.0, 0.2], [0.7], [0.9, NAN]]) == pytest.approx(np.sqrt(0.02))


@pytest.mark.parametrize("repeats", [[], [[0.1], [0.9]], [[NAN, 0.3]], [[NAN, NAN]]])
def test_without_a_second_seed_it_is_unknown(repeats):
    assert noise_floor(repeats) is None
