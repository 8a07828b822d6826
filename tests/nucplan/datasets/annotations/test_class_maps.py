"""No nucleus is lost between an instance map and its classes: it has a class, or is ignored and counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.datasets.annotations.class_maps import (
    CLASSLESS,
    PIXELLESS,
    classes_by_id,
    classes_by_pixel,
    label_plane,
    names_by_number,
    one_class,
)
from nucplan.errors import NucplanError

IMAGE = np.zeros((5, 6, 3), np.uint8)
label_maps = arrays(np.int32, (5, 6), elements=st.sampled_from([0, 0, 1, 2, 9]))
tables = st.dictionaries(st.sampled_from([1, 2, 9, 11, 12]), st.integers(0, 3))


@given(label_maps, tables)
@settings(max_examples=60, deadline=None)
def test_nuclei_of_class_0_are_ignored_and_entries_without_pixels_are_counted(labels: np.ndarray, table: dict):
    table = {1: 0, 2: 3, 9: 1} | table
    present = {int(i) for i in np.unique(labels) if i}
    found = classes_by_id(IMAGE, labels, table)
    assert found.class_of == {i: table[i] for i in present if table[i]}
    np.testing.assert_array_equal(found.instances, np.where(np.isin(labels, list(found.class_of)), labels, 0))
    ignored = np.zeros(labels.shape, bool) if found.ignored is None else found.ignored
    np.testing.assert_array_equal(ignored | (found.instances > 0), labels > 0)
    assert found.left_out.get(CLASSLESS, 0) == sum(not table[i] for i in present)
    assert found.left_out.get(PIXELLESS, 0) == len(table.keys() - present)


@given(label_maps, arrays(np.float64, (5, 6), elements=st.integers(0, 3)))
@settings(max_examples=60, deadline=None)
def test_with_a_class_per_pixel_every_nucleus_is_there_or_ignored(labels: np.ndarray, types: np.ndarray):
    found = classes_by_pixel(IMAGE, labels.astype(float), types, 3, "x")
    ignored = np.zeros(labels.shape, bool) if found.ignored is None else found.ignored
    np.testing.assert_array_equal(ignored | (found.instances > 0), labels > 0)
    for i, class_id in found.class_of.items():
        assert class_id in types[labels == i]
    assert not types[ignored].any()


def test_without_classes_all_nuclei_are_of_class_1():
    labels = np.array([[0, 7], [3, 7]], np.int32)
    assert one_class(IMAGE, labels).class_of == {3: 1, 7: 1}


@pytest.mark.parametrize(
    ("instances", "types", "message"),
    [
        (np.zeros((5, 6)), np.full((5, 6), 4), "x holds the class 4, not 0 to 3"),
        (np.zeros((5, 6)), np.zeros((6, 5)), r"x: ids are \(5, 6\) pixels and classes \(6, 5\)"),
        (np.zeros((5, 6)), np.full((5, 6), 0.5), "fractional"),
        (np.zeros((5, 6)), np.full((5, 6), -1), "negative"),
        (np.zeros((5, 6, 1)), np.zeros((5, 6)), r"shape \(5, 6, 1\), not one \(height, width\)"),
    ],
)
def test_maps_that_do_not_belong_together_are_refused(instances: np.ndarray, types: np.ndarray, message: str):
    with pytest.raises(NucplanError, match=message):
        classes_by_pixel(IMAGE, instances, types, 3, "x")


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int64, np.uint64, np.float32])
def test_whole_numbers_of_any_type_are_ids(dtype: type):
    found = label_plane(np.ones((2, 3), dtype), "x")
    assert (found.dtype, found.tolist()) == (np.int32, [[1, 1, 1], [1, 1, 1]])


def test_numbers_without_a_name_get_one_and_background_none():
    assert names_by_number({0: "background", 3: "stroma"}) == ("class_1", "class_2", "stroma")
    assert names_by_number({}) == ()
