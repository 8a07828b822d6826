"""Measurements of one image against brute force and constructions with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from planners.measure import measurements
from planners.measure.intensities import IntensityPool, measure_intensities

label_maps = arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 4))


@settings(max_examples=40, deadline=None)
@given(label_maps, st.integers(2, 1000))
def test_compact_numbers_without_gaps_and_keeps_the_partition(labels: np.ndarray, factor: int) -> None:
    made = measurements.compact(labels * factor)
    assert set(np.unique(made)) - {0} == set(range(1, made.max(initial=0) + 1))
    np.testing.assert_array_equal(made == 0, labels == 0)
    assert len(set(zip(labels.ravel(), made.ravel(), strict=True))) == len(np.unique(labels))


@settings(max_examples=40, deadline=None)
@given(label_maps, st.integers(2, 1000))
def test_ids_undo_compact(labels: np.ndarray, factor: int) -> None:
    ids = np.append(0, measurements.instance_ids(labels * factor))
    np.testing.assert_array_equal(ids[measurements.compact(labels * factor)], labels * factor)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=60))
def test_quantiles_of_counts_are_those_of_the_values(values: list[int]) -> None:
    expected = np.quantile(values, [0.05, 0.5, 0.95], method="inverted_cdf")
    assert measurements.quantiles(measurements.count(np.array(values)), (5, 50, 95)) == expected.tolist()


def test_window_densities_average_to_the_overall_density() -> None:
    labels = np.zeros((500, 700), np.int32)
    labels[np.random.default_rng(0).choice(500, 40, replace=False), np.arange(0, 680, 17)] = np.arange(1, 41)
    assert measurements.window_densities(labels).mean() == pytest.approx(40 * 256**2 / (500 * 700))


@pytest.mark.parametrize(("rows", "columns"), [(slice(2, 7), slice(0, 3)), (slice(9, 10), slice(4, 12))])
def test_the_nonzero_size_is_that_of_the_box_of_all_that_is_not_black(rows: slice, columns: slice) -> None:
    image = np.zeros((10, 12, 3), np.uint8)
    image[rows.start, columns.start, 1] = image[rows.stop - 1, columns.stop - 1, 2] = 1
    assert measurements.nonzero_size(image) == (rows.stop - rows.start, columns.stop - columns.start)


def test_the_nonzero_size_of_a_black_image_is_all_of_it() -> None:
    assert measurements.nonzero_size(np.zeros((10, 12), np.uint8)) == (10, 12)


def test_pooled_intensities_are_those_of_all_pixels_together() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 60000, (3000, 2)).astype(np.uint16)
    pool = IntensityPool(channels=2)
    for part in [*np.array_split(pixels, 3), pixels[:0]]:
        pool.add(measure_intensities(part, 5000, random))
    for channel, found in enumerate(pool.summary()):
        column = pixels[:, channel].astype(float)
        assert found["mean"] == pytest.approx(column.mean())
        assert found["std"] == pytest.approx(column.std())
        assert (found["min"], found["max"]) == (column.min(), column.max())
        assert found["percentile_99_5"] == pytest.approx(np.percentile(column, 99.5), rel=0.02)


def test_quantiles_of_positive_values_leave_out_the_empty_pixels_of_a_marker() -> None:
    random = np.random.default_rng(0)
    marker = np.where(random.random(20000) < 0.9, 0, random.integers(1, 1001, 20000))
    pool = IntensityPool(channels=2)
    pool.add(measure_intensities(np.stack([marker, 0 * marker], axis=1).astype(np.uint16), 200_000, random))
    found, empty = pool.positive_summary()
    assert found["zero_fraction"] == np.mean(marker == 0)
    assert found["q99_positive"] == pytest.approx(np.percentile(marker[marker > 0], 99), rel=0.02)
    assert found["q999_positive"] == pytest.approx(np.percentile(marker[marker > 0], 99.9), rel=0.02)
    assert empty == {"zero_fraction": 1.0, "q99_positive": 0.0, "q999_positive": 0.0}
