"""Measurements of one image against brute force and constructions with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from planners import measurements

label_maps = arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 4))


def touching_by_brute_force(labels: np.ndarray, gap: float) -> np.ndarray:
    pixels = np.argwhere(labels > 0)
    ids = labels[labels > 0]
    distance = np.sqrt(((pixels[:, None] - pixels[None]) ** 2).sum(-1))
    meets = (distance <= 1 + gap) & (ids[:, None] != ids[None])
    return np.isin(np.arange(1, labels.max(initial=0) + 1), ids[meets.any(axis=1)])


@settings(max_examples=60, deadline=None)
@given(label_maps, st.sampled_from([0.0, 1.0, 1.5, 2.0, 4.0]))
def test_touching_finds_every_pair_within_the_gap(labels: np.ndarray, gap: float) -> None:
    np.testing.assert_array_equal(measurements.touching(labels, gap), touching_by_brute_force(labels, gap))


@settings(max_examples=40, deadline=None)
@given(label_maps, st.integers(2, 1000))
def test_compact_numbers_without_gaps_and_keeps_the_partition(labels: np.ndarray, factor: int) -> None:
    made = measurements.compact(labels * factor)
    assert set(np.unique(made)) - {0} == set(range(1, made.max(initial=0) + 1))
    np.testing.assert_array_equal(made == 0, labels == 0)
    assert len(set(zip(labels.ravel(), made.ravel(), strict=True))) == len(np.unique(labels))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=60))
def test_quantiles_of_counts_are_those_of_the_values(values: list[int]) -> None:
    expected = np.quantile(values, [0.05, 0.5, 0.95], method="inverted_cdf")
    assert measurements.quantiles(measurements.count(np.array(values)), (5, 50, 95)) == expected.tolist()


def test_window_densities_average_to_the_overall_density() -> None:
    labels = np.zeros((500, 700), np.int32)
    labels[np.random.default_rng(0).choice(500, 40, replace=False), np.arange(0, 680, 17)] = np.arange(1, 41)
    assert measurements.window_densities(labels).mean() == pytest.approx(40 * 256**2 / (500 * 700))


def test_intensity_statistics_of_parts_equal_those_of_the_whole() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 60000, (3000, 2)).astype(np.uint16)
    statistics = measurements.IntensityStatistics(2, samples_per_image=5000)
    for part in np.array_split(pixels, 3):
        statistics.add(part, random)
    for channel, found in enumerate(statistics.summary()):
        column = pixels[:, channel].astype(float)
        assert found["mean"] == pytest.approx(column.mean())
        assert found["std"] == pytest.approx(column.std())
        assert (found["min"], found["max"]) == (column.min(), column.max())
        assert found["percentile_99_5"] == pytest.approx(np.percentile(column, 99.5), rel=0.02)
