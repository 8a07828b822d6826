"""One test for each way in which published implementations go wrong or disagree."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nucplan.errors import NucplanError
from nucplan.metrics.aji import aji, aji_plus
from nucplan.metrics.average_precision import average_precision_counts
from nucplan.metrics.detection import match_centroids
from nucplan.metrics.dice import dice2
from nucplan.metrics.image import ImageCounts, evaluate_image
from nucplan.metrics.merges_and_splits import merges, splits
from nucplan.metrics.overlap import overlap_table
from nucplan.metrics.panoptic import panoptic_counts
from nucplan.metrics.summary import summarise

EMPTY = np.zeros((20, 20), dtype=np.int32)
ONE = EMPTY.copy()
ONE[5:10, 5:10] = 1


def grid_of_nuclei(count: int) -> np.ndarray:
    labels = np.zeros((12, 12 * count), dtype=np.int32)
    for nucleus in range(count):
        labels[2:10, 12 * nucleus + 2 : 12 * nucleus + 10] = nucleus + 1
    return labels


def typed_image(predicted_classes: list[int], reference_classes: list[int]) -> ImageCounts:
    labels = grid_of_nuclei(len(reference_classes))
    said, true = (dict(enumerate(classes, start=1)) for classes in (predicted_classes, reference_classes))
    return evaluate_image(labels, labels, said, true)


def test_a_hallucinated_class_costs_in_mpq_plus_and_not_in_mpq_pannuke():
    honest = [typed_image([1, 1, 2, 2], [1, 1, 2, 2]), typed_image([1, 1, 1, 1], [1, 1, 1, 1])]
    rare_class_invented = [honest[0], typed_image([1, 1, 2, 2], [1, 1, 1, 1])]
    perfect, result = summarise(honest, ["common", "rare"]), summarise(rare_class_invented, ["common", "rare"])
    assert perfect["summary"]["mpq_plus"] == perfect["summary"]["mpq_pannuke"] == 1
    assert result["per_class"]["rare"]["pq_pannuke"] == 1
    assert result["per_class"]["rare"]["pq_pooled"] == pytest.approx(2 / (2 + 2 / 2))
    common = 4 / (4 + 2 / 2)
    assert result["summary"]["mpq_plus"] == pytest.approx((common + 2 / 3) / 2)
    # PanNuke: image 1 scores 1; image 2 scores its one class, 2 / (2 + 2 / 2).
    assert result["summary"]["mpq_pannuke"] == pytest.approx((1 + 2 / 3) / 2)


def test_a_class_that_exists_only_in_predictions_scores_zero_in_mpq_plus():
    result = summarise([typed_image([1, 3], [1, 1])], ["a", "b", "c"])
    assert result["per_class"]["c"]["pq_pooled"] == 0
    assert math.isnan(result["per_class"]["b"]["pq_pooled"])
    assert result["summary"]["mpq_plus"] == pytest.approx((1 / 1.5 + 0) / 2)


def test_touching_nuclei_are_not_relabelled_as_one():
    reference = EMPTY.copy()
    reference[5:15, 2:10], reference[5:15, 10:18] = 1, 2
    merged = (reference > 0).astype(np.int32)
    assert panoptic_counts(overlap_table(reference, reference)).tp == 2
    assert panoptic_counts(overlap_table(merged, reference)).pq == 0
    assert evaluate_image(merged, reference).nuclei.merges == 1


def test_an_instance_in_several_pieces_stays_one_nucleus_of_one_class():
    pieces = EMPTY.copy()
    pieces[2:6, 2:6] = pieces[12:16, 12:16] = 1
    counts = evaluate_image(pieces, pieces, {1: 2}, {1: 2})
    assert counts.nuclei.panoptic.tp == 1
    assert list(counts.per_class) == [2]
    assert counts.per_class[2].panoptic.tp == 1


def test_empty_reference_and_empty_prediction_score_nan_and_are_in_no_mean():
    nothing = evaluate_image(EMPTY, EMPTY, {}, {}, name="nothing")
    perfect = evaluate_image(ONE, ONE, {1: 1}, {1: 1}, name="perfect")
    result = summarise([nothing, perfect], ["nucleus"])
    alone, both = summarise([nothing], ["nucleus"])["summary"], result["summary"]
    rates = [key for key in both if not key.startswith(("n_", "merges", "splits", "contact"))]
    assert all(math.isnan(alone[key]) for key in rates)
    assert all(math.isnan(result["per_image"]["nothing"][key]) for key in ("pq", "aji", "ap_50", "detection_f1"))
    assert {key: both[key] for key in rates} == dict.fromkeys(rates, 1.0)


def test_an_empty_reference_with_predictions_scores_zero_in_the_mean_and_adds_false_positives():
    result = summarise([evaluate_image(ONE, EMPTY), evaluate_image(ONE, ONE)])["summary"]
    for rate in ("pq", "sq", "dq", "aji", "aji_plus", "dice", "dice2", "detection_f1", "boundary_f1", "boundary_iou"):
        assert result[f"{rate}_image_mean"] == 0.5, rate
    assert result["ap_50"] == result["map_50_95"] == 0.5
    assert result["pq_pooled"] == pytest.approx(1 / 1.5)
    assert result["detection_precision_pooled"] == 0.5
    assert result["detection_recall_pooled"] == 1


def test_bpq_leaves_images_without_reference_nuclei_out():
    assert summarise([evaluate_image(ONE, EMPTY), evaluate_image(ONE, ONE)])["summary"]["bpq"] == 1


def test_no_dummy_centroid_makes_a_detection_of_two_empty_images():
    counts = evaluate_image(EMPTY, EMPTY).nuclei.detection
    assert (counts.tp, counts.fp, counts.fn) == (0, 0, 0)


def test_a_missed_nucleus_is_one_false_negative_not_two():
    counts = evaluate_image(EMPTY, ONE).nuclei.detection
    assert (counts.tp, counts.fp, counts.fn) == (0, 0, 1)


def test_centroid_pairing_is_maximal_rather_than_nearest_in_sum():
    reference, predicted = np.array([[0.0, 0], [12, 0]]), np.array([[11.0, 0], [12, 11]])
    paired_predicted, paired_reference = match_centroids(predicted, reference, 12)
    assert sorted(zip(paired_predicted.tolist(), paired_reference.tolist(), strict=True)) == [(0, 0), (1, 1)]


def test_one_more_pair_is_worth_any_number_of_longer_ones():
    reference = np.array([[10.0 * i, 0] for i in range(8)])
    # Seven pairs would have a distance of 0.1; eight are possible at 9.9 each.
    assert len(match_centroids(reference + [9.9, 0], reference, 10)[0]) == 8


def test_a_centroid_exactly_at_the_radius_is_within_it():
    assert len(match_centroids(np.array([[0.0, 12]]), np.array([[0.0, 0]]), 12)[0]) == 1
    assert len(match_centroids(np.array([[0.0, 12.01]]), np.array([[0.0, 0]]), 12)[0]) == 0


def test_an_iou_of_exactly_one_half_is_no_match():
    half = EMPTY.copy()
    half[5:10, 5:15] = 1
    overlap = overlap_table(ONE, half)
    assert overlap.iou.tolist() == [0.5]
    assert panoptic_counts(overlap).tp == 0
    assert average_precision_counts(overlap).tp[0] == 0


def test_an_iou_of_exactly_eleven_twentieths_is_not_above_0_55():
    reference = EMPTY.copy()
    reference[0] = 1
    predicted = reference.copy()
    predicted[0, 11:] = 0
    assert average_precision_counts(overlap_table(predicted, reference)).tp.tolist() == [1] + [0] * 9


def test_aji_divides_by_unions_of_pairs_and_not_by_the_foreground():
    # Prediction 1 covers both nuclei: its union with each is counted, where the foreground union would give 40 / 40.
    reference = EMPTY.copy()
    reference[0, :], reference[1, :] = 1, 2
    merged = (reference > 0).astype(np.int32)
    assert aji(overlap_table(merged, reference)).value == pytest.approx(40 / 80)
    assert aji_plus(overlap_table(merged, reference)).value == pytest.approx(20 / (40 + 20))


def test_aji_adds_unused_predictions_and_missed_nuclei_to_the_union():
    reference, predicted = EMPTY.copy(), EMPTY.copy()
    reference[0], reference[5, :7] = 1, 2
    predicted[0], predicted[9, :3] = 1, 2
    assert aji(overlap_table(predicted, reference)).value == pytest.approx(20 / (20 + 7 + 3))


def test_of_equal_ious_aji_takes_the_larger_intersection():
    reference, predicted = EMPTY.copy(), EMPTY.copy()
    reference[0, :6] = 1
    predicted[0, :2], predicted[0, 3:9] = 1, 2
    overlap = overlap_table(predicted, reference)
    assert overlap.iou[0] == overlap.iou[1]
    assert aji(overlap).value == pytest.approx(3 / (9 + 2))


def test_exactly_half_of_a_nucleus_makes_neither_merge_nor_split():
    large, halves = EMPTY.copy(), EMPTY.copy()
    large[0:4, 4:12] = 1
    halves[0:4, 2:6], halves[0:4, 10:14] = 1, 2
    assert merges(overlap_table(large, halves)) == splits(overlap_table(halves, large)) == 0
    halves[0:4, 2], halves[0:4, 13] = 0, 0
    assert merges(overlap_table(large, halves)) == splits(overlap_table(halves, large)) == 1


def test_one_stray_pixel_puts_two_whole_areas_into_dice2():
    reference = EMPTY.copy()
    reference[0, :10], reference[0, 10:] = 1, 2
    predicted = reference.copy()
    predicted[0, 10] = 1
    assert dice2(overlap_table(predicted, reference)).value == pytest.approx(
        2 * 20 / ((11 + 10) + (11 + 10) + (9 + 10))
    )


def test_a_map_without_any_background_pixel_is_measured():
    full = np.ones((4, 4), dtype=np.uint8)
    counts = evaluate_image(full, full).nuclei
    assert counts.panoptic.pq == counts.aji.value == 1


def test_pooled_and_image_mean_are_two_numbers_with_two_names():
    many, one = grid_of_nuclei(9), grid_of_nuclei(1)
    result = summarise([evaluate_image(many, many), evaluate_image(np.zeros_like(one), one)])["summary"]
    assert result["pq_image_mean"] == 0.5
    assert result["pq_pooled"] == pytest.approx(9 / 9.5)


def test_a_prediction_mostly_in_an_ignore_area_is_not_counted():
    ignore = np.zeros(EMPTY.shape, dtype=bool)
    ignore[:, 10:] = True
    predicted = ONE.copy()
    predicted[12:16, 9:14] = 2  # 16 of 20 pixels ignored
    counts = evaluate_image(predicted, ONE, ignore=ignore).nuclei
    assert counts.panoptic.pq == counts.aji.value == counts.dice.value == counts.boundary_iou.value == 1


def test_a_prediction_half_in_an_ignore_area_counts_with_its_known_half():
    ignore = np.zeros(EMPTY.shape, dtype=bool)
    ignore[:, 10:] = True
    predicted = ONE.copy()
    predicted[5:10, 5:15] = 1
    predicted[15:17, 8:12] = 2
    counts = evaluate_image(predicted, ONE, ignore=ignore).nuclei
    assert (counts.panoptic.tp, counts.panoptic.fp, counts.panoptic.iou_sum) == (1, 1, 1.0)


def test_a_nucleus_without_a_class_is_refused_by_its_id():
    with pytest.raises(NucplanError, match="id 1"):
        evaluate_image(ONE, ONE, {2: 1}, {1: 1})


def test_no_images_are_refused():
    with pytest.raises(NucplanError, match="no images"):
        summarise([])
