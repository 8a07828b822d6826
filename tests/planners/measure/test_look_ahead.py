"""Threads change when work is done, never what comes out."""

from __future__ import annotations

import threading
import time

import pytest

from planners.measure import look_ahead


@pytest.fixture(autouse=True)
def _four_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_ahead, "usable_cores", lambda: 4)


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_at_first(number: int) -> int:
        time.sleep(0.002 * (10 - number))
        return number * number

    assert list(look_ahead.in_order(slow_at_first, range(10))) == [n * n for n in range(10)]
    assert list(look_ahead.in_order(slow_at_first, [])) == []


def test_no_more_than_a_few_results_wait() -> None:
    begun: list[int] = []
    results = look_ahead.in_order(lambda n: begun.append(n) or n, range(1000))
    for expected in range(20):
        assert next(results) == expected
        time.sleep(0.002)
        assert len(begun) <= expected + 2 * 4 + 1


def test_a_failure_is_raised_in_its_turn_and_ends_the_threads() -> None:
    def fail_at_three(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    found = []
    with pytest.raises(ValueError, match="three"):
        for number in look_ahead.in_order(fail_at_three, range(100)):
            found.append(number)
    assert found == [0, 1, 2]
    assert not [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name]
