"""Every overlap metric against its definition, pixel by pixel, on small random label maps."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.errors import NucplanError
from nucplan.metrics.aji import aji, aji_plus
from nucplan.metrics.assignment import best_assignment
from nucplan.metrics.average_precision import average_precision_counts
from nucplan.metrics.dice import dice, dice2
from nucplan.metrics.image import evaluate_image
from nucplan.metrics.merges_and_splits import merges, splits
from nucplan.metrics.overlap import overlap_table
from nucplan.metrics.panoptic import panoptic_counts, panoptic_counts_per_class

small_map = arrays(np.int32, (6, 7), elements=st.integers(0, 4))
pair_of_maps = st.tuples(small_map, small_map)


@st.composite
def similar_maps(draw) -> tuple[np.ndarray, np.ndarray]:
    """Two maps of large blocks with some pixels exchanged, so that high IoUs occur."""
    blocks = draw(arrays(np.int32, (2, 3), elements=st.integers(0, 4)))
    reference = np.kron(blocks, np.ones((4, 3), dtype=np.int32))
    noise = draw(arrays(np.int32, reference.shape, elements=st.integers(0, 9)))
    return np.where(noise < 4, noise, reference).astype(np.int32), reference


maps = st.one_of(pair_of_maps, similar_maps())
examples = settings(max_examples=60, deadline=None)


def masks(labels: np.ndarray) -> list[np.ndarray]:
    return [labels == nucleus for nucleus in np.unique(labels) if nucleus]


def iou_matrix(predicted: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """IoU ``(T, P)`` from masks."""
    true, said = masks(reference), masks(predicted)
    values = [(a & b).sum() / (a | b).sum() for a, b in product(true, said)]
    return np.array(values, dtype=float).reshape(len(true), len(said))


def aggregated(predicted: np.ndarray, reference: np.ndarray, pairs: list[tuple[int, int]]) -> float:
    true, said = masks(reference), masks(predicted)
    intersection = sum((true[i] & said[j]).sum() for i, j in pairs)
    union = sum((true[i] | said[j]).sum() for i, j in pairs)
    union += sum(mask.sum() for i, mask in enumerate(true) if i not in {pair[0] for pair in pairs})
    union += sum(mask.sum() for j, mask in enumerate(said) if j not in {pair[1] for pair in pairs})
    return intersection / union if union else float("nan")


def assignments(n_rows: int, n_columns: int) -> list[list[tuple[int, int]]]:
    """All largest one-to-one pairings."""
    if n_rows > n_columns:
        return [[(i, j) for j, i in pairs] for pairs in assignments(n_columns, n_rows)]
    return [list(enumerate(columns)) for columns in permutations(range(n_columns), n_rows)]


@examples
@given(maps)
def test_the_table_counts_every_shared_pixel_area_and_centroid(pair):
    predicted, reference = pair
    overlap = overlap_table(predicted, reference)
    table = np.zeros((5, 5), dtype=int)
    np.add.at(table, (reference.ravel(), predicted.ravel()), 1)
    found = np.zeros((5, 5), dtype=int)
    found[overlap.reference.ids[overlap.pair_reference], overlap.predicted.ids[overlap.pair_predicted]] = (
        overlap.intersection
    )
    assert (found[1:, 1:] == table[1:, 1:]).all()
    assert (overlap.intersection > 0).all()
    for nuclei, labels in ((overlap.predicted, predicted), (overlap.reference, reference)):
        assert nuclei.ids.tolist() == [i for i in range(1, 5) if (labels == i).any()]
        assert nuclei.areas.tolist() == [(labels == i).sum() for i in nuclei.ids]
        for nucleus, centroid in zip(nuclei.ids, nuclei.centroids, strict=True):
            np.testing.assert_allclose(centroid, np.argwhere(labels == nucleus).mean(axis=0))


@examples
@given(maps)
def test_panoptic_quality_is_its_definition(pair):
    iou = iou_matrix(*pair)
    tp = int((iou > 0.5).sum())
    counts = panoptic_counts(overlap_table(*pair))
    assert (counts.tp, counts.fp, counts.fn) == (tp, iou.shape[1] - tp, iou.shape[0] - tp)
    expected = iou[iou > 0.5].sum() / (tp + (counts.fp + counts.fn) / 2) if sum(iou.shape) else float("nan")
    np.testing.assert_allclose(counts.pq, expected)


@examples
@given(maps, st.lists(st.integers(1, 3), min_size=4, max_size=4), st.lists(st.integers(1, 3), min_size=4, max_size=4))
def test_panoptic_counts_of_a_class_are_those_of_its_nuclei_alone(pair, predicted_classes, reference_classes):
    predicted, reference = pair
    said, true = np.array([0, *predicted_classes]), np.array([0, *reference_classes])
    overlap = overlap_table(predicted, reference)
    counts = panoptic_counts_per_class(overlap, said[overlap.predicted.ids], true[overlap.reference.ids])
    for class_id, of_class in counts.items():
        alone = (
            np.where(said[predicted] == class_id, predicted, 0),
            np.where(true[reference] == class_id, reference, 0),
        )
        expected = panoptic_counts(overlap_table(*alone))
        assert (of_class.tp, of_class.fp, of_class.fn) == (expected.tp, expected.fp, expected.fn)
        assert of_class.iou_sum == pytest.approx(expected.iou_sum)


@examples
@given(maps)
def test_aji_is_kumars_algorithm(pair):
    predicted, reference = pair
    iou, true, said = iou_matrix(*pair), masks(reference), masks(predicted)
    pairs = []
    for i in range(len(true)):
        # Ties go to the larger intersection, then to the lower id.
        best = max(range(len(said)), key=lambda j, i=i: (iou[i, j], (true[i] & said[j]).sum(), -j), default=None)
        if best is not None and iou[i, best] > 0:
            pairs.append((i, best))
    np.testing.assert_allclose(aji(overlap_table(*pair)).value, aggregated(predicted, reference, pairs))


@examples
@given(maps)
def test_aji_plus_takes_a_pairing_of_greatest_total_iou(pair):
    iou = iou_matrix(*pair)
    candidates = assignments(*iou.shape)
    totals = [sum(iou[i, j] for i, j in pairs) for pairs in candidates]
    best = [
        [(i, j) for i, j in pairs if iou[i, j] > 0]
        for pairs, total in zip(candidates, totals, strict=True)
        if total > max(totals) - 1e-9
    ]
    allowed = [aggregated(*pair, pairs) for pairs in best]
    assert np.isclose(aji_plus(overlap_table(*pair)).value, allowed, equal_nan=True).any()


@settings(max_examples=40, deadline=None)
@given(arrays(float, (4, 5), elements=st.one_of(st.just(0.0), st.floats(0.01, 1))))
def test_the_assignment_is_one_to_one_and_of_greatest_gain(gain):
    rows, columns = np.nonzero(gain)
    chosen = best_assignment(rows, columns, gain[rows, columns])
    assert len(set(rows[chosen])) == len(set(columns[chosen])) == len(chosen)
    best = max(sum(gain[i, j] for i, j in pairs) for pairs in assignments(*gain.shape))
    assert gain[rows, columns][chosen].sum() == pytest.approx(best)


@examples
@given(maps)
def test_average_precision_is_its_definition(pair):
    iou = iou_matrix(*pair)
    precision = average_precision_counts(overlap_table(*pair)).precision
    for threshold, found in zip((0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95), precision, strict=True):
        tp = (iou > threshold).sum()
        expected = tp / (sum(iou.shape) - tp) if sum(iou.shape) else float("nan")
        np.testing.assert_allclose(found, expected)


@examples
@given(maps)
def test_dice_and_dice2_are_their_definitions(pair):
    predicted, reference = pair
    both = [(a, b) for a, b in product(masks(reference), masks(predicted)) if (a & b).any()]
    shared = sum((a & b).sum() for a, b in both)
    foreground = (predicted > 0).sum() + (reference > 0).sum()
    expected = 2 * shared / foreground if foreground else float("nan")
    np.testing.assert_allclose(dice(overlap_table(*pair)).value, expected)
    if both:
        np.testing.assert_allclose(
            dice2(overlap_table(*pair)).value, 2 * shared / sum(a.sum() + b.sum() for a, b in both)
        )


@examples
@given(maps)
def test_merges_and_splits_are_their_definitions(pair):
    predicted, reference = pair
    true, said = masks(reference), masks(predicted)
    merged = sum(sum(2 * (a & b).sum() > a.sum() for a in true) >= 2 for b in said)
    split = sum(sum(2 * (a & b).sum() > b.sum() for b in said) >= 2 for a in true)
    assert (merges(overlap_table(*pair)), splits(overlap_table(*pair))) == (merged, split)


@settings(max_examples=30, deadline=None)
@given(similar_maps(), st.permutations(range(1, 5)), st.sampled_from([1, 1000, 70_000, 900_000_000]))
def test_new_ids_with_gaps_or_beyond_65535_change_nothing_but_ties(pair, order, stride):
    table = np.array([0, *order], dtype=np.int64) * stride
    renamed = evaluate_image(table[pair[0]].astype(np.uint32), table[pair[1]].astype(np.int64)).nuclei
    counts = evaluate_image(*pair).nuclei
    for name in ("dice", "dice2", "detection", "boundary", "boundary_iou", "contact_boundary", "merges", "splits"):
        assert getattr(renamed, name) == getattr(counts, name), name
    assert renamed.panoptic.iou_sum == pytest.approx(counts.panoptic.iou_sum)
    assert (renamed.average_precision.tp == counts.average_precision.tp).all()


def test_aji_does_not_depend_on_ids_where_no_ious_tie():
    rng = np.random.default_rng(0)
    reference = np.kron(rng.permutation(25).reshape(5, 5), np.ones((9, 8), dtype=int))
    predicted = np.roll(reference, (2, 3), axis=(0, 1)) * (rng.random(reference.shape) > 0.1)
    order = rng.permutation(np.arange(1, 25))
    renamed = np.array([0, *order])[predicted]
    assert aji(overlap_table(renamed, reference)).value == pytest.approx(aji(overlap_table(predicted, reference)).value)
    plus = aji_plus(overlap_table(predicted, reference)).value
    assert aji_plus(overlap_table(renamed, reference)).value == pytest.approx(plus)


def test_a_map_in_fortran_order_or_cut_out_of_another_gives_the_same():
    rng = np.random.default_rng(1)
    large = np.kron(rng.integers(0, 5, (4, 4)), np.ones((5, 5), dtype=np.int32)).astype(np.int32)
    cut = large[3:15, 2:17]
    expected = evaluate_image(np.ascontiguousarray(cut), np.roll(cut, 1, axis=0)).nuclei.boundary
    assert evaluate_image(np.asfortranarray(cut), np.roll(cut, 1, axis=0)).nuclei.boundary == expected
    assert evaluate_image(cut, np.roll(cut, 1, axis=0)).nuclei.boundary == expected


@pytest.mark.parametrize(
    ("predicted", "word"),
    [
        (np.zeros((3, 4), dtype=float), "integer"),
        (np.zeros((3, 4, 3), dtype=int), "two-dimensional"),
        (np.full((3, 4), -1), "-1"),
        (np.zeros((4, 3), dtype=int), "4 x 3"),
    ],
)
def test_what_is_no_label_map_of_this_size_is_refused(predicted, word):
    with pytest.raises(NucplanError, match=word):
        overlap_table(predicted, np.zeros((3, 4), dtype=int))
