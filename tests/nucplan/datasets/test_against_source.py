"""Two label maps are the same nuclei when their ids match one to one; if not, the first difference is named."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.datasets.against_source import partition_difference

label_maps = arrays(np.int32, (5, 6), elements=st.integers(0, 4))


def partition(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == i).tolist()) for i in np.unique(labels) if i}


@given(label_maps, st.permutations([7, 1, 900, 4]))
@settings(max_examples=60, deadline=None)
def test_other_ids_are_no_difference(labels, ids):
    assert partition_difference(np.array([0, *ids])[labels], labels) is None


@given(label_maps, label_maps)
@settings(max_examples=200, deadline=None)
def test_there_is_a_difference_exactly_where_the_sets_of_pixels_differ(found, expected):
    assert (partition_difference(found, expected) is None) == (partition(found) == partition(expected))


@given(label_maps, st.integers(0, 29), st.integers(0, 4))
@settings(max_examples=200, deadline=None)
def test_one_pixel_is_enough(labels, place, value):
    changed = labels.copy()
    changed.flat[place] = value
    assert (partition_difference(changed, labels) is None) == (partition(changed) == partition(labels))


def two_nuclei() -> np.ndarray:
    labels = np.zeros((10, 20), np.int32)
    labels[2:6, 2:8], labels[2:6, 8:14] = 1, 2
    return labels


WORDS = {
    "merged": (
        lambda m: m.__setitem__(m == 2, 1),
        r"nucleus 1 \(24 pixels around row 4, column 4\) and nucleus 2 .*one",
    ),
    "split": (lambda m: m.__setitem__((slice(2, 6), slice(2, 4)), 3), r"nucleus 1 .* is in 2 pieces"),
    "missing": (lambda m: m.__setitem__(m == 2, 0), r"nucleus 2 .* is missing"),
    "new": (lambda m: m.__setitem__((9, 9), 3), r"nucleus 3 \(1 pixels around row 9, column 9\) covers"),
    "smaller": (lambda m: m.__setitem__((2, 2), 0), r"nucleus 1 .* has lost pixels"),
    "larger": (lambda m: m.__setitem__((1, 2), 1), r"nucleus 1 .* covers pixels that are background"),
}


@pytest.mark.parametrize("case", WORDS)
def test_the_difference_is_named(case: str):
    change, message = WORDS[case]
    found = two_nuclei()
    change(found)
    assert re.search(message, partition_difference(found, two_nuclei()) or "")
