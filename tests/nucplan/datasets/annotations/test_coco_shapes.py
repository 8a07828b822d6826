"""Shapes of COCO cover the pixels that the library which writes them says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coder

from nucplan.datasets.annotations.coco_shapes import shape_of
from nucplan.datasets.annotations.polygons import Stamp, covered
from nucplan.errors import NucplanError

masks = arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 1))


def pixels(shape: tuple[int, int], **annotation: Any) -> np.ndarray:
    return covered([shape_of({"class": 1} | annotation, shape, "x")], shape)


@given(masks)
@settings(max_examples=30, deadline=None)
def test_run_length_codes_of_both_kinds_give_back_the_mask(mask: np.ndarray):
    code = coder.encode(np.asfortranarray(mask))
    edges = np.flatnonzero(np.diff(mask.ravel(order="F").astype(int), prepend=0)).tolist()
    for counts in (code["counts"].decode(), np.diff([0, *edges, mask.size]).tolist()):
        found = pixels(mask.shape, segmentation={"size": list(mask.shape), "counts": counts})
        np.testing.assert_array_equal(found, mask > 0)


@given(masks)
@settings(max_examples=20, deadline=None)
def test_a_stamp_is_no_larger_than_what_it_holds(mask: np.ndarray):
    counts = coder.encode(np.asfortranarray(mask))["counts"].decode()
    stamp = shape_of({"segmentation": {"size": list(mask.shape), "counts": counts}, "class": 3}, mask.shape, "x")
    assert isinstance(stamp, Stamp)
    assert stamp.class_id == 3
    assert stamp.inside.size == 0 or all(stamp.inside.any(axis)[[0, -1]].all() for axis in (0, 1))


def test_polygons_of_one_object_are_joined_and_may_come_without_a_list_around_them():
    first, second = [2, 2, 10, 2, 10, 10, 2, 10], [6, 6, 14, 6, 14, 14, 6, 14]
    assert pixels((20, 20), segmentation=[first, second]).sum() == 64 + 64 - 16
    np.testing.assert_array_equal(pixels((20, 20), segmentation=first), pixels((20, 20), segmentation=[first]))


@pytest.mark.parametrize("segmentation", [None, [], ""])
def test_the_box_stands_in_where_there_is_no_segmentation(segmentation: Any):
    found = pixels((20, 20), segmentation=segmentation, bbox=[3, 5, 4, 2])
    assert np.argwhere(found).min(0).tolist() == [5, 3]
    assert found.sum() == 8


@pytest.mark.parametrize("bbox", [None, [1, 2, 3], [1, 2, 3, "x"], [10**400, 1, 1, 1], 5])
def test_without_either_the_annotation_is_refused(bbox: Any):
    with pytest.raises(NucplanError, match="x has no proper segmentation or box"):
        pixels((20, 20), bbox=bbox)
