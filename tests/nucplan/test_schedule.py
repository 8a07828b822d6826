from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucplan.schedule import CosineRestarts, GateWarmUp, epochs

lengths = st.integers(1, 30_000)


@given(lengths)
def test_the_rate_stays_between_zero_and_the_peak_and_the_run_ends_at_the_floor(iterations: int):
    schedule = CosineRestarts(iterations)
    checked = {0, 1, iterations // 3, iterations // 2, iterations - 1} & set(range(iterations))
    assert all(0 < schedule(i) <= schedule.peak * (1 + 1e-9) for i in checked)
    if iterations > 40:
        assert schedule(iterations - 1) <= schedule.floor * 1.5 + 1e-5


@given(lengths)
def test_cycles_are_whole_and_about_twenty_epochs(iterations: int):
    schedule = CosineRestarts(iterations)
    if iterations < 2000:
        assert schedule.cycles == 1
    else:
        assert 0.75 <= iterations / schedule.cycles / 1000 <= 1.34


def test_a_long_run_restarts_from_the_peak():
    schedule = CosineRestarts(4000)
    assert schedule.cycles == 4
    assert schedule(999) == pytest.approx(schedule.floor)
    assert schedule(1000) == pytest.approx(schedule.peak)


def test_the_rate_rises_linearly_over_the_first_twentieth():
    schedule = CosineRestarts(1000, floor=5e-4)
    assert [schedule(i) for i in (0, 24, 49, 50)] == pytest.approx([1e-5, 2.5e-4, 5e-4, 5e-4])


@given(st.integers(1, 100_000))
def test_epochs_hold_at_most_fifty_iterations_and_lose_none(iterations: int):
    count, each = epochs(iterations)
    assert 1 <= each <= 50
    assert iterations <= count * each < iterations + count


def test_the_quick_budget_is_three_epochs_of_fifty():
    assert epochs(150) == (3, 50)


def test_the_gate_is_closed_for_a_tenth_and_open_after_three_tenths_of_the_training():
    gate = GateWarmUp(1000, alpha=1.5, start=0.1, full=0.3)
    at = {0: 0, 100: 0, 101: 0.0075, 150: 0.375, 200: 0.75, 299: 1.4925, 300: 1.5, 999: 1.5, 1000: 1.5}
    assert {iteration: gate(iteration) for iteration in at} == pytest.approx(at)


def test_a_gate_without_a_ramp_opens_at_once():
    gate = GateWarmUp(10, alpha=2, start=0.5, full=0.5)
    assert [gate(i) for i in (0, 4, 5, 9)] == [0, 0, 2, 2]
