"""Benchmarks compare times, so they run when they are asked for (``make benchmark``) and never decide a test run."""

from __future__ import annotations

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.config.getoption("benchmark_disable"):
        pytest.skip("benchmarks are disabled")
