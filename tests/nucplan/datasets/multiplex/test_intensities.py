"""Intensities stay as they are where they fit 16 bits; else each channel gets one factor, the same for all images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.datasets.multiplex.intensities import HIGHEST, NEGATIVE, Scale, scale_of
from nucplan.errors import NucplanError

SHAPE = (2, 3, 2)
TYPES = (np.int16, np.int32, np.int64, np.uint32, np.float16, np.float32, np.float64)

whole = st.sampled_from(TYPES).flatmap(
    lambda dtype: arrays(np.int64, SHAPE, elements=st.integers(-9, 2000)).map(
        lambda image: np.abs(image).astype(dtype) if np.dtype(dtype).kind == "u" else image.astype(dtype)
    )
)
fractions = arrays(np.float32, SHAPE, elements=st.floats(-10, 2**20, width=32, allow_subnormal=False))


def scale(*images: np.ndarray) -> Scale:
    return scale_of(images, {image.dtype for image in images})


@given(whole)
@settings(max_examples=50, deadline=None)
def test_whole_numbers_of_any_type_stay_and_negative_ones_become_0_and_are_counted(image: np.ndarray):
    found = scale(image)
    pixels, remarks = found.apply(image, "x")
    np.testing.assert_array_equal(pixels, image.clip(0))
    assert pixels.dtype == np.uint16
    assert remarks.get(NEGATIVE, 0) == (image < 0).sum()
    assert found.remarks("ab") == ()


@given(st.lists(fractions, min_size=1, max_size=3))
@settings(max_examples=50, deadline=None)
def test_other_numbers_keep_their_ratios_within_a_channel_over_all_images(images: list[np.ndarray]):
    images = [*images, np.full((1, 1, 2), [0.5, 70_000], np.float32)]
    found = scale(*images)
    highest = np.max([image.max((0, 1)) for image in images], axis=0).astype(np.float64)
    for image in images:
        expected = image.clip(0).astype(np.float64) / highest * HIGHEST
        np.testing.assert_allclose(found.apply(image, "x")[0], expected, atol=0.5001)


def test_whole_numbers_beyond_16_bits_are_scaled_and_an_empty_channel_stays_empty():
    image = np.array([[[131070, 0]]], np.int64)
    assert scale(image).factors == (0.5, 1.0)
    assert scale(image).apply(image, "x")[0].tolist() == [[[65535, 0]]]


def test_numbers_of_half_precision_are_multiplied_in_full():
    image = np.array([[[0.5], [1.5]]], np.float16)
    assert scale(image).apply(image, "x")[0].tolist() == [[[21845], [65535]]]


def test_images_of_a_small_type_get_the_factors_of_the_others():
    small, large = np.array([[[100]]], np.uint8), np.array([[[0.5]]])
    found = scale(small, large)
    assert found.factors == (655.35,)
    assert found.apply(small, "x")[0].tolist() == [[[65535]]]


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [((np.uint8,), np.uint8), ((bool,), np.uint8), ((np.uint16,), np.uint16), ((np.uint8, ">u2"), np.uint16)],
)
def test_images_of_8_or_16_bits_are_not_looked_at_and_get_one_type(dtypes: tuple, expected: type):
    def never():
        raise AssertionError
        yield

    found = scale_of(never(), {np.dtype(dtype) for dtype in dtypes})
    assert found == Scale(np.dtype(expected))
    for dtype in dtypes:
        pixels, _ = found.apply(np.ones(SHAPE, dtype), "x")
        assert (pixels.dtype, pixels.max()) == (expected, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_and_spoils_no_other_image(value: float):
    bad, good = np.array([[[value, 0.7]]]), np.array([[[2.0, 1.0]]])
    found = scale(bad, good)
    assert found.apply(good, "x")[0].tolist() == [[[2, 1]]]
    with pytest.raises(NucplanError, match="x holds intensities that are no numbers; correct or remove the image"):
        found.apply(bad, "x")


def test_factors_are_told_by_the_names_of_the_channels():
    assert scale(np.array([[[2.0, 10.5]]])).remarks(("nuclear", "membrane")) == (
        "To fit 16 bits, the intensities of all images were multiplied by one factor per channel: "
        "nuclear by 32767.5, membrane by 6241.43.",
    )
