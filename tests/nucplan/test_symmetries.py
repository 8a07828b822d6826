"""The eight symmetries, and where they put a window."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nucplan.symmetries import IDENTITY, SYMMETRIES

SIDES = st.integers(1, 7)


@st.composite
def windows(draw):
    shape = draw(SIDES), draw(SIDES)
    window = tuple(slice(start := draw(st.integers(0, side - 1)), draw(st.integers(start + 1, side))) for side in shape)
    return shape, window


def test_they_are_eight_different_ones() -> None:
    image = np.arange(9).reshape(3, 3)
    assert len({symmetry(image).tobytes() for symmetry in SYMMETRIES}) == 8
    assert np.array_equal(IDENTITY(image), image)


@given(windows(), st.sampled_from(SYMMETRIES))
def test_a_window_moves_with_its_image_and_the_inverse_brings_both_back(case, symmetry) -> None:
    shape, window = case
    image = np.arange(shape[0] * shape[1]).reshape(shape)
    moved = symmetry(image)
    assert moved.shape == symmetry.shape(shape)
    place = symmetry.window(window, shape)
    assert np.array_equal(moved[place], symmetry(image[window]))
    assert np.array_equal(symmetry.inverse(moved), image)
    assert symmetry.inverse.window(place, moved.shape) == window
