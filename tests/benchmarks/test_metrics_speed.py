"""Speed of the metrics on a 1000 x 1000 pair with about 850 nuclei, as ratios within one run.

The yardstick is what most implementations do: a mask per reference nucleus, and the predictions under it counted.
"""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import pytest

from nucplan.metrics.aji import aji, aji_plus
from nucplan.metrics.average_precision import average_precision_counts
from nucplan.metrics.dice import dice, dice2
from nucplan.metrics.image import evaluate_image
from nucplan.metrics.merges_and_splits import merges, splits
from nucplan.metrics.overlap import overlap_table
from nucplan.metrics.panoptic import panoptic_counts

OVERLAP_METRICS = (panoptic_counts, aji, aji_plus, dice, dice2, average_precision_counts, merges, splits)


def draw_nuclei(centres: np.ndarray, axes: np.ndarray, angles: np.ndarray) -> np.ndarray:
    labels = np.zeros((1000, 1000), dtype=np.int32)
    for nucleus, (centre, axis, angle) in enumerate(zip(centres, axes, angles, strict=True), start=1):
        cv2.ellipse(labels, [int(c) for c in centre], [int(a) for a in axis], float(angle), 0, 360, nucleus, -1)
    return labels


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A prediction that misses one nucleus in twelve and shifts the others, and its reference."""
    rng = np.random.default_rng(0)
    centres, axes, angles = rng.uniform(10, 990, (850, 2)), rng.uniform(6, 14, (850, 2)), rng.uniform(0, 180, 850)
    found = rng.random(850) > 1 / 12
    shifted = centres + rng.normal(0, 1.5, centres.shape)
    return draw_nuclei(shifted[found], axes[found], angles[found]), draw_nuclei(centres, axes, angles)


def mask_per_nucleus(pair: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, reference = pair
    for nucleus in range(1, reference.max() + 1):
        np.unique(predicted[reference == nucleus], return_counts=True)


def overlap_metrics(pair: tuple[np.ndarray, np.ndarray]) -> None:
    overlap = overlap_table(*pair)
    for metric in OVERLAP_METRICS:
        metric(overlap)


def typed_image(pair: tuple[np.ndarray, np.ndarray]) -> None:
    classes = {nucleus: nucleus % 3 + 1 for nucleus in range(1, 851)}
    evaluate_image(*pair, classes, classes)


@pytest.mark.parametrize(("metrics", "at_least"), [(overlap_metrics, 15), (typed_image, 6)])
def test_the_metrics_outrun_one_mask_per_nucleus(benchmark, fastest, pair, metrics, at_least):
    benchmark.pedantic(metrics, args=(pair,), rounds=5, warmup_rounds=1)
    ratio = fastest(partial(mask_per_nucleus, pair), 1) / fastest(partial(metrics, pair), 5)
    benchmark.extra_info["times faster"] = round(ratio, 1)
    assert ratio > at_least
