"""Statistics of markers, against the images themselves."""

from __future__ import annotations

import numpy as np
import pytest

from nucplan.marker_normalization import IMAGE_Q99, normalize_markers
from planners.measure.intensities import IntensityPool, measure_intensities
from planners.measure.markers import LOWEST_CLIP, MarkerPool, measure_markers

UNITS = (1.0, 1.0, 40.0)


def cohort() -> list[np.ndarray]:
    """Sparse images (H, W, 3) of different sizes; the second marker is absent in every other one."""
    rng = np.random.default_rng(0)
    images = []
    for number in range(6):
        shape = 20 + number, 30
        cells = rng.random(shape) < 0.2
        planes = [rng.poisson(cells * 6 + 0.05), rng.poisson(cells * 300), 40 * rng.poisson(cells * 0.7)]
        planes[1] *= number % 2
        images.append(np.dstack(planes).astype(np.uint16))
        images[-1][:3] = 0  # a black margin, which is cropped
    return images


def pooled(images: list[np.ndarray]) -> list[dict]:
    pool = MarkerPool(UNITS)
    for image in images:
        pool.add(measure_markers(image, UNITS))
    return pool.summary()


@pytest.mark.parametrize(("moments", "log"), [("linear", False), ("log", True), ("image_q99_log", True)])
def test_rules_from_the_statistics_give_mean_0_and_deviation_1_over_the_images_that_have_a_marker(moments, log) -> None:
    images = cohort()
    rules = [
        {"clip": IMAGE_Q99 if moments == "image_q99_log" else found["clip"], "unit": unit, "log": log, **found[moments]}
        for found, unit in zip(pooled(images), UNITS, strict=True)
    ]
    cropped = [np.moveaxis(image[3:], 2, 0) for image in images]
    normalised = [normalize_markers(image, rules) for image in cropped]
    for channel in range(3):
        there = [n[channel].ravel() for n, image in zip(normalised, cropped, strict=True) if image[channel].any()]
        values = np.concatenate(there).astype(np.float64)
        assert len(there) == (3 if channel == 1 else 6)
        np.testing.assert_allclose([values.mean(), values.std()], [0, 1], atol=1e-5)


def test_the_clip_is_a_high_quantile_of_positive_pixels_and_never_below_a_few_counts() -> None:
    images = cohort()
    first, second, third = pooled(images)
    values = np.concatenate([image[..., 1].ravel() for image in images])
    assert second["clip"] == pytest.approx(np.quantile(values[values > 0], 0.999), abs=2)
    assert first["zero_fraction"] == pytest.approx(np.mean([(i[3:, :, 0] == 0).mean() for i in images]), abs=0.01)
    rare = [np.zeros((10, 10, 3), np.uint16)]
    rare[0][0, 0] = 1
    assert [found["clip"] for found in pooled(rare)] == [LOWEST_CLIP, LOWEST_CLIP, LOWEST_CLIP * 40]
    assert third["clip"] >= LOWEST_CLIP * 40


def test_a_marker_without_any_signal_has_plain_statistics() -> None:
    found = pooled([np.zeros((4, 5, 3), np.uint16)])
    assert [marker["log"] for marker in found] == [{"mean": 0.0, "std": 1.0}] * 3


def test_intensities_of_absent_channels_do_not_count() -> None:
    rng = np.random.default_rng(0)
    full = rng.integers(1, 50, (500, 2)).astype(np.uint16)
    lacking = full.copy()
    lacking[:, 1] = 0
    alone, mixed = IntensityPool(2), IntensityPool(2)
    alone.add(measure_intensities(full, 100, np.random.default_rng(1)))
    mixed.add(measure_intensities(full, 100, np.random.default_rng(1)))
    mixed.add(measure_intensities(lacking, 100, np.random.default_rng(2)), np.array([True, False]))
    assert mixed.summary()[1] == alone.summary()[1]
    assert mixed.positive_summary()[1] == alone.positive_summary()[1]
    assert mixed.summary()[0]["mean"] == pytest.approx(alone.summary()[0]["mean"])
    nothing = IntensityPool(2)
    nothing.add(measure_intensities(lacking, 100, np.random.default_rng(2)), np.array([True, False]))
    assert set(nothing.summary()[1].values()) == {0.0}


def test_images_whose_signal_the_clip_of_the_image_erases_are_counted() -> None:
    rare, common, absent = np.zeros((10, 30), int), np.ones((10, 30), int), np.zeros((10, 30), int)
    rare[0, 0] = 7
    images = [np.dstack([rare, common, absent]).astype(np.uint16), np.dstack([common] * 3).astype(np.uint16)]
    assert [found["image_q99_zero"] for found in pooled(images)] == [1, 0, 0]
