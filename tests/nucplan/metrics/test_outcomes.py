"""What became of each nucleus agrees with the counts of the metrics."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.metrics.merges_and_splits import merges
from nucplan.metrics.outcomes import Outcome, missed, predicted_outcomes
from nucplan.metrics.overlap import overlap_table

small_map = arrays(np.int32, (4, 5), elements=st.integers(0, 4))


def test_each_outcome_has_its_nucleus():
    reference = np.zeros((12, 60), np.int32)
    predicted = np.zeros_like(reference)
    reference[2:8, 2:8], predicted[2:8, 2:7] = 1, 1
    reference[2:8, 10:16], reference[2:8, 16:22], predicted[2:8, 10:22] = 2, 3, 2
    reference[2:8, 25:35], predicted[2:8, 25:30], predicted[2:8, 30:35] = 4, 3, 4
    reference[2:8, 40:46] = 5
    predicted[2:8, 50:56] = 5
    overlap = overlap_table(predicted, reference)
    expected = [Outcome.MATCHED, Outcome.MERGED, Outcome.SPLIT, Outcome.SPLIT, Outcome.UNMATCHED]
    assert predicted_outcomes(overlap).tolist() == expected
    assert overlap.reference.ids[missed(overlap)].tolist() == [5]


def test_a_large_part_of_a_split_nucleus_is_split_though_it_matches():
    reference = np.ones((2, 10), np.int32)
    predicted = np.where(np.arange(10) < 7, 1, 2) * reference
    assert predicted_outcomes(overlap_table(predicted, reference)).tolist() == [Outcome.SPLIT] * 2


@settings(max_examples=60, deadline=None)
@given(small_map, small_map)
def test_as_many_are_merged_as_are_counted_and_what_is_missed_has_no_match(predicted, reference):
    overlap = overlap_table(predicted, reference)
    outcomes = predicted_outcomes(overlap)
    assert (outcomes == Outcome.MERGED).sum() == merges(overlap)
    assert not missed(overlap)[overlap.pair_reference[overlap.iou > 0.5]].any()
    swapped = overlap_table(reference, predicted)
    # Whoever is missed holds no nucleus, and no nucleus that counts as a merge holds it.
    held = 2 * swapped.intersection > swapped.predicted.areas[swapped.pair_predicted]
    in_merge = held & (outcomes == Outcome.MERGED)[swapped.pair_reference]
    assert not missed(overlap)[swapped.pair_predicted[in_merge]].any()


def test_nothing_against_nothing_has_no_outcome():
    empty = overlap_table(np.zeros((3, 3), int), np.zeros((3, 3), int))
    assert predicted_outcomes(empty).size == missed(empty).size == 0
