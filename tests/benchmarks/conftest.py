"""Benchmarks compare times, so they run when they are asked for (``make benchmark``) and never decide a test run."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.config.getoption("benchmark_disable"):
        pytest.skip("benchmarks are disabled")


@pytest.fixture(scope="session")
def fastest() -> Callable[[Callable[[], object], int], float]:
    """Seconds of processor time of the fastest of some calls: other programs on the machine count least there."""

    def measure(call: Callable[[], object], repeats: int) -> float:
        times = []
        for _ in range(repeats):
            start = time.process_time()
            call()
            times.append(time.process_time() - start)
        return min(times)

    return measure
