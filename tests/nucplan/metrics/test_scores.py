"""Scores of summed counts are the scores of the summary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.metrics.image import evaluate_image
from nucplan.metrics.scores import ABLATION_SCORES, AP, DETECTION_F1, Score
from nucplan.metrics.summary import summarise

KEYS = (
    "dice_image_mean", "pq_pooled", "aji_image_mean", "merges", "splits", "contact_boundary_recall",
    "boundary_f1_pooled", "detection_f1_pooled",
)  # fmt: skip
SCORES = (*ABLATION_SCORES, DETECTION_F1)

blocks = arrays(np.int32, (3, 4), elements=st.integers(0, 3))
pairs_of_maps = st.lists(st.tuples(blocks, blocks), min_size=1, max_size=4)


def images_of(pairs):
    enlarged = [[np.kron(half, np.ones((4, 3), np.int32)) for half in pair] for pair in pairs]
    return [evaluate_image(*pair, boundary_width=1) for pair in enlarged]


@settings(max_examples=60, deadline=None)
@given(pairs_of_maps)
def test_every_score_equals_the_one_of_the_summary(pairs):
    images = images_of(pairs)
    summary = summarise(images)["summary"]
    for score, key in zip(SCORES, KEYS, strict=True):
        np.testing.assert_allclose(score(images), summary[key], err_msg=score.title)


@settings(max_examples=60, deadline=None)
@given(pairs_of_maps)
def test_average_precision_is_that_of_all_images_as_one(pairs):
    images = images_of(pairs)
    together = images[0].nuclei.average_precision
    for image in images[1:]:
        together += image.nuclei.average_precision
    np.testing.assert_allclose(AP(images), together.precision.mean())


@settings(max_examples=20, deadline=None)
@given(pairs_of_maps, pairs_of_maps)
def test_many_selections_of_images_are_scored_at_once(first, second):
    selections = [images_of(first), images_of(second), images_of(first + second)]
    for score in (*SCORES, AP):
        at_once = score.value(np.stack([score.table(images).sum(axis=0) for images in selections]))
        np.testing.assert_array_equal(at_once, [score(images) for images in selections])


@pytest.mark.parametrize("score", [*SCORES, AP], ids=lambda score: score.title)
def test_images_without_nuclei_score_nothing(score: Score):
    empty = np.zeros((8, 8), np.int32)
    value = score([evaluate_image(empty, empty, boundary_width=1)])
    assert value == 0 if score.title in ("merges", "splits") else np.isnan(value)
