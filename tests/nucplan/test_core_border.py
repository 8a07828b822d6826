"""Core and border labels: nuclei survive the way there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.core_border import BORDER, CORE, Thresholds, decode, encode, fit_thresholds
from nucplan.images import read_label_map
from nucplan.metrics.image import evaluate_image
from nucplan.metrics.summary import summarise


def discs(circles: list[tuple[int, int, int]], size: int = 48) -> np.ndarray:
    """(row, column, radius) drawn one over the other; every id that is left in one piece stays."""
    rows, columns = np.indices((size, size))
    labels = np.zeros((size, size), np.int32)
    for number, (row, column, radius) in enumerate(circles, start=1):
        labels[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = number
    return labels


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


@settings(deadline=None, max_examples=30)
@given(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1), st.integers(2, 5))
def test_discs_that_touch_or_not_come_back(cells, radius):
    # Neighbours of radius 5 and centres 11 px apart touch.
    labels = discs([(6 + 11 * row, 6 + 11 * column, radius) for row, column in sorted(cells)])
    back = decode(encode(labels))
    assert same_partition(labels, back)
    assert np.array_equal(np.unique(back), np.arange(len(cells) + 1))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 47), st.integers(0, 47), st.integers(1, 9)), max_size=8))
def test_the_labels_are_the_nuclei_and_a_core_touches_nothing_but_its_own_border(circles):
    labels = discs(circles)
    semantic = encode(labels)
    assert np.array_equal(semantic > 0, labels > 0)
    for axis in (0, 1):
        near, far = (np.take(labels, np.arange(*span), axis) for span in ((0, 47), (1, 48)))
        core = np.take(semantic == CORE, np.arange(47), axis)
        assert not (core & (near != far)).any()


def test_ids_with_gaps_and_of_any_size_are_encoded_alike():
    labels = discs([(12, 12, 5), (12, 23, 5)])
    assert np.array_equal(encode(labels), encode(labels * 1_000_000_007))


def test_neither_way_changes_its_input():
    labels = discs([(12, 12, 6), (30, 30, 2)])
    semantic = encode(labels)
    kept = labels.copy(), semantic.copy()
    decode(semantic, Thresholds(core=1000, lone_border=1000))
    encode(labels)
    assert np.array_equal(labels, kept[0])
    assert np.array_equal(semantic, kept[1])


def test_nuclei_too_small_for_a_core_survive_unless_a_threshold_drops_them():
    labels = np.zeros((20, 20), np.int32)
    labels[2, 2], labels[5:7, 5:7], labels[10:15, 10:15] = 1, 2, 3
    semantic = encode(labels)
    assert (semantic[:8, :8][labels[:8, :8] > 0] == BORDER).all()
    assert same_partition(labels, decode(semantic))
    assert decode(semantic, Thresholds(lone_border=1)).max() == 2


def test_an_image_without_nuclei_stays_empty():
    assert not decode(encode(np.zeros((8, 9), np.int32))).any()


def test_fitted_thresholds_keep_the_smallest_of_few_nuclei():
    labels = discs([(10, 10, 6), (10, 30, 6), (30, 10, 3), (30, 30, 4)])
    semantic = encode(labels)
    fitted = fit_thresholds([(labels, semantic), (np.zeros_like(labels), np.zeros_like(semantic))])
    assert 0 < fitted.core < (semantic[labels == 3] == CORE).sum()
    assert 0 < fitted.lone_border < (labels == 3).sum()
    assert same_partition(labels, decode(semantic, fitted))
    assert fit_thresholds([]) == Thresholds(0, 0)


@pytest.mark.parametrize(("name", "floor"), [("dsb2018_tissue", 0.99), ("tnbc", 0.99)])
def test_annotated_nuclei_of_real_images_come_back(shared_data, name, floor):
    maps = [read_label_map(path) for path in sorted((shared_data / name / "labels").glob("*.png"))[:12]]
    pairs = [(labels, encode(labels)) for labels in maps]
    fitted = fit_thresholds(pairs)
    counts = [evaluate_image(decode(semantic, fitted), labels) for labels, semantic in pairs]
    assert summarise(counts, [])["summary"]["pq_pooled"] > floor
