"""Boundary metrics against brute force, and what each of them can and cannot see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.metrics.boundary import (
    boundary_band,
    boundary_counts,
    boundary_distance,
    boundary_iou,
    contact_boundary_recall,
    contact_pixels,
    filterable,
)

small_map = arrays(np.uint16, (7, 8), elements=st.sampled_from([0, 0, 1, 1, 2, 3]))
examples = settings(max_examples=40, deadline=None)


def neighbours(labels: np.ndarray, row: int, column: int, near) -> np.ndarray:
    """Labels of the pixels inside the image whose offset satisfies ``near``."""
    rows, columns = np.indices(labels.shape)
    return labels[near(rows - row, columns - column)]


def disk(radius: int):
    return lambda rows, columns: rows**2 + columns**2 <= radius**2


def square(radius: int):
    return lambda rows, columns: np.maximum(abs(rows), abs(columns)) <= radius


def brute_band(labels: np.ndarray, distance: int) -> np.ndarray:
    band = np.zeros(labels.shape, dtype=bool)
    for row, column in np.argwhere(labels > 0):
        band[row, column] = (neighbours(labels, row, column, disk(distance)) != labels[row, column]).any()
    return band


def brute_contact(labels: np.ndarray, radius: int) -> np.ndarray:
    contact = np.zeros(labels.shape, dtype=bool)
    for row, column in np.ndindex(labels.shape):
        contact[row, column] = len(set(neighbours(labels, row, column, square(radius))) - {0}) > 1
    return contact


def two_touching_nuclei() -> np.ndarray:
    labels = np.zeros((40, 40), dtype=np.uint16)
    labels[10:30, 2:20], labels[10:30, 20:38] = 1, 2
    return labels


@examples
@given(small_map, st.integers(1, 3))
def test_the_band_is_every_nucleus_pixel_near_another_label(labels, distance):
    assert (boundary_band(labels, distance) == brute_band(labels, distance)).all()


@examples
@given(small_map, st.integers(1, 2))
def test_contact_pixels_see_two_nuclei_in_their_window(labels, radius):
    assert (contact_pixels(labels, radius) == brute_contact(labels, radius)).all()
    assert (contact_pixels(labels.astype(np.float32), radius) == brute_contact(labels, radius)).all()


@examples
@given(small_map, small_map, st.integers(1, 2))
def test_contact_recall_and_boundary_iou_are_their_definitions(predicted, reference, width):
    contact = brute_contact(reference, 1)
    recall = contact_boundary_recall(predicted, reference, width)
    recalled = contact & brute_contact(predicted, 1 + width)
    assert (recall.numerator, recall.denominator) == (recalled.sum(), contact.sum())
    band, other = brute_band(predicted, width), brute_band(reference, width)
    iou = boundary_iou(predicted, reference, width)
    assert (iou.numerator, iou.denominator) == ((band & other).sum(), (band | other).sum())


@examples
@given(small_map, small_map, st.integers(1, 2))
def test_boundary_precision_and_recall_are_shares_within_the_tolerance(predicted, reference, tolerance):
    counts = boundary_counts(predicted, reference, tolerance)
    outline, other = brute_band(predicted, 1), brute_band(reference, 1)
    for ratio, one, two in ((counts.precision, outline, other), (counts.recall, other, outline)):
        near = [neighbours(two, row, column, disk(tolerance)).any() for row, column in np.argwhere(one)]
        assert (ratio.numerator, ratio.denominator) == (sum(near), one.sum())


def test_merging_a_touching_pair_shows_in_contact_recall_and_hardly_in_boundary_f1():
    reference = two_touching_nuclei()
    merged = (reference > 0).astype(np.uint16)
    assert contact_boundary_recall(reference, reference, 1).value == 1
    assert contact_boundary_recall(merged, reference, 1).value == 0
    assert boundary_counts(merged, reference, 1).f1 > 0.8


def test_a_gap_in_place_of_a_contact_is_recalled():
    reference = two_touching_nuclei()
    separated = reference.copy()
    separated[:, 19:21] = 0
    assert contact_boundary_recall(separated, reference, 1).value == 1


def test_the_contact_of_a_missed_nucleus_is_not_recalled():
    reference = two_touching_nuclei()
    assert contact_boundary_recall(np.where(reference == 1, reference, 0), reference, 1).value == 0


def test_without_contacts_there_is_no_recall():
    alone = np.where(two_touching_nuclei() == 1, 1, 0).astype(np.uint16)
    assert np.isnan(contact_boundary_recall(alone, alone, 1).value)


def test_the_image_border_is_no_boundary():
    full = np.ones((10, 10), dtype=np.uint16)
    assert not boundary_band(full, 2).any()


@pytest.mark.parametrize(("diameter", "expected"), [(5, 1), (18, 1), (30, 2), (43, 3)])
def test_the_band_is_seven_percent_of_the_median_diameter_and_never_zero(diameter, expected):
    areas = np.array([1, np.pi * diameter**2 / 4, 10_000])
    assert boundary_distance(areas) == expected
    assert boundary_distance(np.empty(0)) == 1


def test_boundary_iou_sees_a_shift_that_mask_iou_forgives():
    reference = np.zeros((60, 60), dtype=np.uint16)
    reference[10:50, 10:50] = 1
    shifted = np.roll(reference, 3, axis=1)
    mask_iou = ((reference > 0) & (shifted > 0)).sum() / ((reference > 0) | (shifted > 0)).sum()
    assert mask_iou > 0.85
    assert boundary_iou(shifted, reference, 3).value < 0.6


def test_more_nuclei_than_uint16_holds_are_still_told_apart():
    ids = np.arange(1, 70_001)
    labels = np.concatenate([[0], ids]).reshape(1, -1)
    assert filterable(labels, ids).dtype == np.float32
    assert len(np.unique(filterable(labels, ids))) == 70_001
    assert filterable(labels[:, ::2] * 1000, ids[1::2] * 1000).dtype == np.uint16
