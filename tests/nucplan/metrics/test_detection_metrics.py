"""Centroid pairing and the scores on pairs."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.metrics.detection import classification_counts, detection_radius, match_centroids
from nucplan.metrics.image import evaluate_image

points = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=5).map(
    lambda found: np.array(found, dtype=float).reshape(-1, 2)
)


def best_pairing(predicted: np.ndarray, reference: np.ndarray, radius: float) -> tuple[int, float]:
    """Most pairs within the radius and, of these, the least total distance; every pairing is tried."""
    few, many = sorted((predicted, reference), key=len)
    results = []
    for order in permutations(range(len(many)), len(few)):
        distances = [np.hypot(*(few[i] - many[j])) for i, j in enumerate(order)]
        near = [distance for distance in distances if distance <= radius]
        results.append((len(near), -sum(near)))
    count, negative = max(results)
    return count, -negative


@settings(max_examples=80, deadline=None)
@given(points, points)
def test_pairs_are_one_to_one_as_many_as_possible_and_then_as_short_as_possible(predicted, reference):
    paired_predicted, paired_reference = match_centroids(predicted, reference, 4)
    distances = np.hypot(*(predicted[paired_predicted] - reference[paired_reference]).T)
    assert len(set(paired_predicted)) == len(set(paired_reference)) == len(distances)
    count, total = best_pairing(predicted, reference, 4)
    assert len(distances) == count
    assert distances.sum() == pytest.approx(total)


def test_the_radius_is_three_microns_or_else_twelve_pixels():
    assert detection_radius(0.25) == 12
    assert detection_radius(0.5) == 6
    assert detection_radius(None) == 12


def test_a_known_pixel_size_moves_the_limit_of_detection():
    reference = np.zeros((30, 30), dtype=np.int32)
    reference[4:9, 4:9] = 1
    predicted = np.roll(reference, 8, axis=0)
    assert evaluate_image(predicted, reference).nuclei.detection.tp == 1
    assert evaluate_image(predicted, reference, mpp=0.5).nuclei.detection.tp == 0


def test_classification_f1_weighs_confusions_twice_and_detection_errors_once():
    predicted, reference = np.array([1, 1, 2, 1, 1]), np.array([1, 2, 1, 1])
    # Pairs: 1-1, 1-2, 2-1; left over: two predictions and one reference nucleus of class 1.
    counts = classification_counts(predicted, reference, np.array([0, 1, 2]), np.array([0, 1, 2]))[1]
    assert (counts.tp, counts.fp, counts.fn, counts.surplus, counts.missed) == (1, 1, 1, 2, 1)
    assert counts.f1 == pytest.approx(2 / (2 + 2 + 2 + 2 + 1))
