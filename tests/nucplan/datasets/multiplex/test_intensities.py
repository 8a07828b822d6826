from __future__ import annotations

import numpy as np
import pytest

from nucplan.datasets.multiplex.intensities import Scale, scale_of
from nucplan.errors import NucplanError

FLOAT = {np.dtype(np.float32)}


def test_whole_numbers_that_fit_stay():
    images = [np.array([[[0, 65535]]], np.float32), np.array([[[3, 4]]], np.float32)]
    scale = scale_of(images, FLOAT, 2)
    assert scale.remarks(("a", "b")) == ()
    assert scale.apply(images[0], "x").tolist() == [[[0, 65535]]]
    assert scale.apply(images[0], "x").dtype == np.uint16


def test_fractions_get_one_factor_per_channel_for_all_images():
    images = [np.array([[[0.5, 10.0]]]), np.array([[[2.0, 5.0]]])]
    scale = scale_of(images, FLOAT, 2)
    first, second = (scale.apply(image, "x")[0, 0] for image in images)
    assert second[0] == first[1] == 65535
    assert first[0] / second[0] == pytest.approx(0.25, abs=1e-4)
    assert second[1] / first[1] == pytest.approx(0.5, abs=1e-4)
    assert scale.remarks(("nuclear", "membrane")) == (
        "To fit 16 bits, the intensities of all images were multiplied alike: nuclear by 32767.5, membrane by 6553.5.",
    )


def test_whole_numbers_that_do_not_fit_are_scaled_and_an_empty_channel_stays_empty():
    image = np.array([[[131070, 0]]], np.int64)
    scale = scale_of([image], {image.dtype}, 2)
    assert scale.factors == (0.5, 1.0)
    assert scale.apply(image, "x").tolist() == [[[65535, 0]]]


def test_images_of_8_or_16_bits_are_not_looked_at():
    def never():
        raise AssertionError
        yield

    assert scale_of(never(), {np.dtype(np.uint8), np.dtype(np.uint16)}, 2) == Scale(None)


@pytest.mark.parametrize("value", [-1, np.nan, np.inf])
def test_what_is_no_intensity_is_refused_and_spoils_no_other_image(value: float):
    bad, good = np.array([[[value, 1.0]]]), np.array([[[2.0, 1.0]]])
    scale = scale_of([bad, good], FLOAT, 2)
    assert scale.apply(good, "x").tolist() == [[[2, 1]]]
    with pytest.raises(NucplanError, match="x holds intensities that are negative or no numbers"):
        scale.apply(bad, "x")
