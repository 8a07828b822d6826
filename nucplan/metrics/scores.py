"""Scores as functions of counts that add up over images, so that many selections of images are scored at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nucplan.metrics.counts import Ratio
from nucplan.metrics.image import ClassCounts, ImageCounts, NucleusCounts


@dataclass(frozen=True)
class Score:
    """A score of any number of images that needs no more of them than sums.

    Attributes
    ----------
    title : str
        With the variant, as in `nucplan.metrics.summary`.
    counts : callable
        What one image adds, as C numbers. An image mean adds the score and 1, or 0 and 0 where the image has none.
    value : callable
        From sums ``(..., C)`` to scores ``(...)``, NaN where there is nothing to measure.
    is_count : bool
        A number of events rather than a rate.
    """

    title: str
    counts: Callable[[Any], Sequence[float]]
    value: Callable[[np.ndarray], np.ndarray]
    is_count: bool = False

    def table(self, images: Sequence[Any]) -> np.ndarray:
        """What each image adds, float64 ``(N, C)``; N is at least 1."""
        return np.array([self.counts(image) for image in images], dtype=np.float64)

    def __call__(self, images: Sequence[Any]) -> float:
        """The score of these images together."""
        return float(self.value(self.table(images).sum(axis=0)))


def image_mean(title: str, rate: Callable[[NucleusCounts], float]) -> Score:
    """The mean of a score over the images that have it."""

    def counts(image: ImageCounts) -> tuple[float, float]:
        value = rate(image.nuclei)
        return (0.0, 0.0) if np.isnan(value) else (value, 1.0)

    return Score(title, counts, _ratio)


def pooled_ratio(title: str, ratio: Callable[[NucleusCounts], Ratio]) -> Score:
    """A ratio of sums over all images."""
    return Score(title, lambda image: (ratio(image.nuclei).numerator, ratio(image.nuclei).denominator), _ratio)


def total(title: str, count: Callable[[NucleusCounts], int]) -> Score:
    """A number of events, added up."""
    return Score(title, lambda image: (count(image.nuclei),), lambda sums: sums[..., 0], is_count=True)


def _ratio(sums: np.ndarray) -> np.ndarray:
    return _divided(sums[..., 0], sums[..., 1])


def _divided(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator != 0)


def _panoptic_counts(image: ImageCounts) -> tuple[float, float]:
    # PQ = SQ * DQ is the sum of the matched IoUs over TP + FP/2 + FN/2.
    counts = image.nuclei.panoptic
    return counts.iou_sum, counts.tp + (counts.fp + counts.fn) / 2


def _boundary_counts(image: ImageCounts) -> tuple[float, ...]:
    precision, recall = image.nuclei.boundary.precision, image.nuclei.boundary.recall
    return precision.numerator, precision.denominator, recall.numerator, recall.denominator


def _boundary_f1(sums: np.ndarray) -> np.ndarray:
    near, drawn, found, annotated = np.moveaxis(sums, -1, 0)
    harmonic = np.nan_to_num(_divided(2 * near * found, drawn * found + annotated * near), nan=0.0)
    return np.where(drawn + annotated == 0, np.nan, harmonic)


def _average_precision(sums: np.ndarray) -> np.ndarray:
    found, nuclei = sums[..., :-1], sums[..., -1:]
    return np.where(nuclei[..., 0] == 0, np.nan, _divided(found, nuclei - found).mean(axis=-1))


def _detection_counts(image: ImageCounts) -> tuple[float, float]:
    counts = image.nuclei.detection
    return 2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn


def mpq_plus(classes: int) -> Score:
    """Mean over the classes 1 to ``classes`` of the pooled PQ, as `nucplan.metrics.panoptic.mpq_plus` has it.

    NaN for images without classes.
    """

    def counts(image: ImageCounts) -> list[float]:
        of_classes = [(image.per_class or {}).get(k, ClassCounts()).panoptic for k in range(1, classes + 1)]
        return [number for c in of_classes for number in (c.iou_sum, c.tp + (c.fp + c.fn) / 2)]

    def value(sums: np.ndarray) -> np.ndarray:
        pq = _ratio(sums.reshape(*sums.shape[:-1], classes, 2))
        known = ~np.isnan(pq)
        return _divided(np.where(known, pq, 0).sum(axis=-1), known.sum(axis=-1))

    return Score("mPQ+ (mean of classes)", counts, value)


DICE = image_mean("Dice (image mean)", lambda counts: counts.dice.value)
PQ_POOLED = Score("PQ (pooled)", _panoptic_counts, _ratio)
AP = Score(
    "AP 0.50 to 0.95 (pooled)",
    lambda image: (*image.nuclei.average_precision.tp, image.nuclei.average_precision.n_nuclei),
    _average_precision,
)
DETECTION_F1 = Score("detection F1 (pooled)", _detection_counts, _ratio)
CONTACT_BOUNDARY_RECALL = pooled_ratio("contact-boundary recall", lambda counts: counts.contact_boundary)

# What an ablation of boundaries is read by, in the order of its tables.
ABLATION_SCORES = (
    DICE,
    PQ_POOLED,
    image_mean("AJI (image mean)", lambda counts: counts.aji.value),
    total("merges", lambda counts: counts.merges),
    total("splits", lambda counts: counts.splits),
    CONTACT_BOUNDARY_RECALL,
    Score("boundary F1 (pooled)", _boundary_counts, _boundary_f1),
)
