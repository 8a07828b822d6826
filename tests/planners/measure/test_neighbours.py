"""Gaps, contacts and bands against brute force and against shapes whose answers are known."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import maximum_filter, minimum_filter

from planners.measure import measurements, neighbours, outlines

few = settings(max_examples=80, deadline=None)
label_maps = arrays(
    np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 5), fill=st.just(0)
)


def gaps_by_brute_force(labels: np.ndarray) -> np.ndarray:
    pixels, ids = np.argwhere(labels > 0), labels[labels > 0]
    distance = np.sqrt(((pixels[:, None] - pixels[None]) ** 2).sum(axis=-1))
    distance[ids[:, None] == ids[None]] = np.inf
    nearest = [distance[ids == number].min() for number in range(1, labels.max(initial=0) + 1)]
    return np.array([0.0 if d < 1.5 else d - 1 for d in nearest])


@few
@given(label_maps)
def test_gaps_are_those_of_brute_force(labels: np.ndarray) -> None:
    labels = measurements.compact(labels)
    np.testing.assert_allclose(neighbours.gaps(labels), gaps_by_brute_force(labels))


@few
@given(st.integers(0, 10**6), st.integers(2, 14), st.integers(1, 4))
def test_wide_gaps_are_within_half_a_pixel_and_never_below(seed: int, nuclei: int, radius: int) -> None:
    random = np.random.default_rng(seed)
    labels = np.zeros((90, 110), np.int32)
    for number in range(1, nuclei + 1):
        row, column = random.integers(0, 90), random.integers(0, 110)
        labels[max(0, row - radius) : row + radius, max(0, column - radius) : column + radius] = number
    labels = measurements.compact(labels)
    error = neighbours.gaps(labels) - gaps_by_brute_force(labels) if labels.max() > 1 else np.zeros(1)
    assert error.min() >= -1e-9
    assert error.max() <= 0.5


@pytest.mark.parametrize(("rows", "columns", "gap"), [(0, 1, 0), (1, 1, 0), (0, 2, 1), (2, 2, 8**0.5 - 1), (0, 7, 6)])
def test_pixels_that_share_an_edge_or_corner_have_no_gap(rows: int, columns: int, gap: float) -> None:
    labels = np.zeros((9, 12), np.int32)
    labels[2, 2], labels[2 + rows, 2 + columns] = 1, 2
    assert neighbours.gaps(labels) == pytest.approx([gap, gap])


def test_a_nucleus_alone_has_no_gap() -> None:
    assert np.isinf(neighbours.gaps(np.ones((5, 5), np.int32))).all()
    assert neighbours.gaps(np.zeros((5, 5), np.int32)).shape == (0,)


def test_the_weight_of_touching_rises_with_the_threshold_without_a_jump() -> None:
    thresholds = np.linspace(0.1, 6, 591)
    weights = np.array([neighbours.touching_weight([0.0, 1.0, 2.6], threshold) for threshold in thresholds])
    steps = np.diff(weights, axis=0)
    assert ((steps >= 0) & (steps <= 0.03)).all()
    assert (weights[:, 0] == 1).all()
    assert (weights[0, 1:] == 0).all()
    assert (weights[-1] == 1).all()


@few
@given(st.floats(0, 20), st.floats(0.1, 10))
def test_twice_the_resolution_leaves_the_weight_of_touching(gap: float, threshold: float) -> None:
    weight = neighbours.touching_weight(gap, threshold)
    assert neighbours.touching_weight(2 * gap, 2 * threshold) == pytest.approx(weight)


@few
@given(label_maps)
def test_outline_edges_are_counted_pair_by_pair(labels: np.ndarray) -> None:
    pairs = [*zip(labels[:, :-1].flat, labels[:, 1:].flat, strict=True)]
    pairs += [*zip(labels[:-1].flat, labels[1:].flat, strict=True)]
    contact = sum(a != b and a > 0 and b > 0 for a, b in pairs)
    outer = sum((a > 0) != (b > 0) for a, b in pairs)
    assert outlines.outline_edges(labels) == (contact, outer)


@few
@given(label_maps, st.integers(0, 99))
def test_bands_are_those_of_the_maximum_and_minimum_filters(labels: np.ndarray, seed: int) -> None:
    counted = np.random.default_rng(seed).random(labels.shape) < 0.8
    expected = []
    for half_width in range(1, 9):
        side = 2 * half_width + 1
        high, low = (f(labels, size=side, mode="nearest") for f in (maximum_filter, minimum_filter))
        expected.append(np.count_nonzero((high != low) & counted))
    assert outlines.band_pixels(labels, counted).tolist() == expected


def ellipse(shape: tuple[int, int], centre: tuple[float, float], axes: tuple[float, float]) -> np.ndarray:
    """Pixels whose centre lies in the ellipse with these half axes along the rows and the columns."""
    rows, columns = np.indices(shape)
    return ((rows - centre[0]) / axes[0]) ** 2 + ((columns - centre[1]) / axes[1]) ** 2 <= 1


def grid(place: Callable[[np.random.Generator], list[np.ndarray]], cells: int = 36, cell: int = 72) -> np.ndarray:
    """A label map with the nuclei that ``place`` puts into each (cell, cell) square, a wide way from the next."""
    random, side = np.random.default_rng(0), int(cells**0.5)
    labels = np.zeros((side * cell, side * cell), np.int32)
    for k in range(cells):
        window = labels[k // side * cell :, k % side * cell :][:cell, :cell]
        for mask in place(random):
            window[mask] = labels.max() + 1
    return labels


@pytest.mark.parametrize("axes", [(5.0, 7.0), (9.0, 6.0), (12.0, 11.0)])
@pytest.mark.parametrize("gap", [5.0, 9.3])
def test_ellipses_with_known_diameter_and_gap_are_recovered(axes: tuple[float, float], gap: float) -> None:
    def pair(random: np.random.Generator) -> list[np.ndarray]:
        row, column = 36 + random.uniform(-0.5, 0.5, 2)
        reach = axes[1] + gap / 2
        return [ellipse((72, 72), (row, column + side * reach), axes) for side in (-1, 1)]

    labels = grid(pair)
    diameter = measurements.equivalent_diameter(measurements.areas(labels))
    assert np.median(diameter) == pytest.approx(2 * np.sqrt(axes[0] * axes[1]), rel=0.05)
    assert neighbours.gaps(labels).mean() == pytest.approx(gap, rel=0.05)


@pytest.mark.parametrize("axes", [(6.0, 9.0), (10.0, 10.0), (14.0, 8.0)])
def test_ellipses_cut_in_two_share_the_length_of_the_cut(axes: tuple[float, float]) -> None:
    def halves(random: np.random.Generator) -> list[np.ndarray]:
        row, column = 36 + random.uniform(-0.5, 0.5, 2)
        whole, left = ellipse((72, 72), (row, column), axes), np.arange(72) < column
        return [whole & left, whole & ~left]

    # On a grid the outline of an ellipse is as long as that of its box: 2 (height + width).
    cut, outer = 2 * axes[0], 4 * (axes[0] + axes[1])
    found = outlines.contact_share(*outlines.outline_edges(grid(halves)))
    assert found == pytest.approx(2 * cut / (2 * cut + outer), rel=0.05)


def test_the_band_of_a_straight_outline_is_twice_its_half_width() -> None:
    labels = np.zeros((40, 60), np.int32)
    labels[:, :30] = 1
    assert outlines.band_pixels(labels, np.ones(labels.shape, bool)).tolist() == [40 * 2 * h for h in range(1, 9)]


def test_enlarging_twofold_leaves_who_touches() -> None:
    random = np.random.default_rng(3)
    canvas = np.zeros((300, 300), np.int32)
    for number in range(1, 90):
        centre, axes = random.uniform(0, 300, 2), random.uniform(8, 14, 2)
        canvas[ellipse(canvas.shape, tuple(centre), tuple(axes)) & (canvas == 0)] = number
    shares = []
    for size in (1, 2):
        labels = measurements.compact(cv2.resize(canvas, None, fx=size, fy=size, interpolation=cv2.INTER_NEAREST))
        diameter = np.median(measurements.equivalent_diameter(measurements.areas(labels)))
        shares.append(neighbours.touching_share(measurements.count(neighbours.gaps(labels)), labels.max(), diameter))
    assert shares[0] == pytest.approx(shares[1], abs=0.03)
    assert 0.3 < shares[0] < 0.95
