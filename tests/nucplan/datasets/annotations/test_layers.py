"""Components, areas and classes per pixel become what loops over nuclei and pixels say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.datasets.annotations import layers
from nucplan.datasets.annotations.layers import areas_of, components, counted, ids_of, majority_classes

label_maps = arrays(np.int32, (6, 7), elements=st.sampled_from([0, 0, 1, 4, 9, 2**31 - 1]))
class_maps = arrays(np.uint8, (6, 7), elements=st.integers(0, 4))


@given(label_maps)
@settings(max_examples=60, deadline=None)
def test_areas_are_counted_alike_whatever_the_size_of_the_ids(labels):
    expected = {int(i): int((labels == i).sum()) for i in np.unique(labels) if i}
    assert areas_of(labels) == expected
    assert ids_of(labels) == sorted(expected)
    small = np.searchsorted(np.unique(np.append(labels, 0)), labels)
    assert list(areas_of(small).values()) == list(expected.values())


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.uint32, np.int64, np.uint64])
def test_ids_of_every_type_of_whole_number(dtype: type):
    labels = np.zeros((3, 3), dtype)
    labels[1, 1] = 1
    assert areas_of(labels) == {1: 1}
    assert areas_of(np.zeros((0, 3), dtype)) == {}


def test_values_that_are_no_ids_are_listed_too_for_others_to_refuse():
    assert ids_of(np.array([[-1, 0], [2, 2]])) == [-1, 2]
    assert ids_of(np.array([[1.5, 0.0]])) == [1.5]


@given(label_maps, class_maps)
@settings(max_examples=80, deadline=None)
def test_the_class_of_a_nucleus_is_the_most_frequent_of_its_pixels_and_never_background(labels, classes):
    found, mixed = majority_classes(labels, classes)
    several = 0
    for i in np.unique(labels[labels > 0]):
        votes = np.bincount(classes[labels == i], minlength=5)
        several += (votes[1:] > 0).sum() > 1
        best = 0 if not votes[1:].any() else 1 + int(votes[1:].argmax())
        assert found.pop(int(i)) == best
    assert (found, mixed) == ({}, several)


def test_a_class_map_of_background_alone_and_one_without_nuclei():
    labels = np.array([[0, 3], [3, 5]])
    assert majority_classes(labels, np.zeros((2, 2), np.uint8)) == ({3: 0, 5: 0}, 0)
    assert majority_classes(np.zeros((2, 2), int), np.ones((2, 2), np.uint8)) == ({}, 0)


@given(arrays(np.uint8, (7, 8), elements=st.sampled_from([0, 0, 1, 255])))
@settings(max_examples=60, deadline=None)
def test_components_join_pixels_that_meet_at_a_side_or_a_corner_and_no_others(mask):
    labels = components(mask)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels > 0, mask > 0)
    for row, column in np.argwhere(mask > 0):
        near = labels[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        assert set(near[near > 0].tolist()) == {labels[row, column]}
    assert ids_of(labels) == list(range(1, _pieces(mask > 0) + 1))


def _pieces(mask: np.ndarray) -> int:
    left, pieces = {tuple(place) for place in np.argwhere(mask).tolist()}, 0
    while left:
        open_, pieces = [left.pop()], pieces + 1
        while open_:
            row, column = open_.pop()
            near = {(row + y, column + x) for y in (-1, 0, 1) for x in (-1, 0, 1)} & left
            left -= near
            open_ += near
    return pieces


def test_nuclei_parted_by_a_diagonal_line_stay_two():
    mask = np.ones((6, 6), np.uint8)
    mask[np.arange(6), np.arange(6)] = 0
    mask[np.arange(5), np.arange(1, 6)] = 0
    assert components(mask).max() == 2


def test_texts_without_a_count_are_not_told():
    assert counted([(layers.HIDDEN, 0), (layers.OVERLAP, 3)]) == {layers.OVERLAP: 3}


def test_label_maps_without_pixels_and_with_values_that_are_no_ids_do_not_fail():
    assert ids_of(np.zeros((0, 4), np.int32)) == []
    assert ids_of(np.array([[-1, 0], [2, 2]])) == [-1, 2]
    assert ids_of(np.array([[1.0, 0.0]])) == [1]
