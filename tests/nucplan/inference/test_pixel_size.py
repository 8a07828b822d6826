"""Images of another pixel size: the network sees them at its own, their nuclei come back at theirs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from nucplan.errors import NucplanError
from nucplan.inference.pixel_size import at_model_size, predict_at_scale, scale_to_model

CENTRES = ((20, 24), (22, 70), (60, 40), (80, 84))


def discs(size: float) -> np.ndarray:
    """Four bright discs, the whole picture drawn ``size`` times as large."""
    image = np.full((round(104 * size), round(110 * size), 3), 60, np.uint8)
    for row, column in CENTRES:
        cv2.circle(image, (round(column * size), round(row * size)), round(8 * size), (200, 210, 220), -1)
    return image


@pytest.mark.parametrize(
    ("image_mpp", "model_mpp", "scale"),
    [(None, 0.25, 1), (0.5, None, 1), (0.5, 0.25, 2), (0.125, 0.25, 0.5), (0.2525, 0.25, 1), (0.26, 0.25, 1.04)],
)
def test_the_scale_is_the_ratio_of_the_pixel_sizes_beyond_three_percent(image_mpp, model_mpp, scale):
    assert scale_to_model(image_mpp, model_mpp) == pytest.approx(scale)


@pytest.mark.parametrize("mpp", [0, -0.5, float("nan"), float("inf"), 250, 0.00025])
def test_a_pixel_size_that_cannot_be_meant_is_refused(mpp):
    with pytest.raises(NucplanError, match="--mpp"):
        scale_to_model(mpp, 0.25)


@pytest.mark.parametrize("size", [0.5, 2.0])
def test_nuclei_of_a_picture_of_another_size_are_those_of_the_planned_size(bright, size):
    predictor, image = bright(), discs(size)
    found = predict_at_scale(predictor, image, 1 / size)
    assert found.labels.shape == image.shape[:2]
    np.testing.assert_allclose(found.table.centroid, np.array(CENTRES) * size, atol=1.5)
    np.testing.assert_allclose(found.table.area, np.pi * (8 * size) ** 2, rtol=0.2)
    np.testing.assert_array_equal(np.bincount(found.labels.ravel())[1:], found.table.area)


def test_the_network_sees_the_planned_pixel_size(bright):
    predictor = bright()
    predictor(discs(1))
    direct = len(predictor.networks[0].seen)
    tiles = predictor.networks[0].seen[0].shape
    predict_at_scale(predictor, discs(2), 0.5)
    assert [batch.shape for batch in predictor.networks[0].seen[direct:]] == [tiles] * direct


def test_a_scale_of_one_leaves_the_prediction_as_it_is(bright):
    image = discs(1)
    np.testing.assert_array_equal(predict_at_scale(bright(), image, 1.0).labels, bright()(image).labels)


@pytest.mark.parametrize("scale", [1.7, 0.6])
@pytest.mark.parametrize("channels", [4, 12, 40])
def test_images_of_many_channels_are_resampled_plane_by_plane(scale: float, channels: int):
    image = np.random.default_rng(0).poisson(2, (20, 30, channels)).astype(np.uint16)
    image[..., 3] = 0
    found = at_model_size(image, scale)
    assert found.shape[2] == channels
    assert not found[..., 3].any()
    np.testing.assert_array_equal(found[..., 0], at_model_size(np.ascontiguousarray(image[..., 0]), scale))
