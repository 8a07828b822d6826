"""Panoptic quality: of all nuclei together, and of each class.

PQ = SQ * DQ with DQ = TP / (TP + FP/2 + FN/2) and SQ = the mean IoU of the TP (Kirillov et al., CVPR 2019, eq. 1-2).
A pair is a TP where its IoU is greater than one half, strictly: then no nucleus can be in two pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nucplan.metrics.counts import Additive
from nucplan.metrics.overlap import Overlap


@dataclass(frozen=True)
class PanopticCounts(Additive):
    """Matched, surplus and missed nuclei and the sum of the matched IoUs.

    ``dq``, ``sq`` and ``pq`` are NaN where there are no nuclei at all; ``sq`` is 0 where nothing matched.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0
    iou_sum: float = 0.0

    @property
    def dq(self) -> float:
        total = self.tp + (self.fp + self.fn) / 2
        return self.tp / total if total else float("nan")

    @property
    def sq(self) -> float:
        if self.tp + self.fp + self.fn == 0:
            return float("nan")
        return self.iou_sum / self.tp if self.tp else 0.0

    @property
    def pq(self) -> float:
        return self.dq * self.sq


def panoptic_counts(overlap: Overlap) -> PanopticCounts:
    """Count TP, FP, FN of one image, classes aside."""
    matched = is_match(overlap)
    tp = int(matched.sum())
    return PanopticCounts(
        tp, overlap.predicted.ids.size - tp, overlap.reference.ids.size - tp, float(overlap.iou[matched].sum())
    )


def panoptic_counts_per_class(
    overlap: Overlap, predicted_classes: np.ndarray, reference_classes: np.ndarray
) -> dict[int, PanopticCounts]:
    """Count TP, FP, FN of one image for each class that occurs in it; a TP agrees in its class.

    A nucleus has one class, so it is never cut in pieces and touching nuclei are never joined.

    Parameters
    ----------
    predicted_classes, reference_classes
        The class of each nucleus, in the order of ``overlap.predicted`` and ``overlap.reference``.
    """
    pair_class = reference_classes[overlap.pair_reference]
    matched = is_match(overlap) & (predicted_classes[overlap.pair_predicted] == pair_class)
    counts = {}
    for class_id in np.union1d(predicted_classes, reference_classes).tolist():
        chosen = matched & (pair_class == class_id)
        tp = int(chosen.sum())
        fp = int((predicted_classes == class_id).sum()) - tp
        fn = int((reference_classes == class_id).sum()) - tp
        counts[class_id] = PanopticCounts(tp, fp, fn, float(overlap.iou[chosen].sum()))
    return counts


def is_match(overlap: Overlap) -> np.ndarray:
    """Which pairs have an IoU greater than one half; in whole numbers, so that exactly one half is never a match."""
    return 2 * overlap.intersection > overlap.union


def pannuke_pq(per_class: Mapping[int, PanopticCounts]) -> float:
    """PanNuke's typed PQ of one image: the mean over the classes that the reference has (Gamper et al. 2020).

    A class that is only predicted costs nothing here; see ``mpq_plus``. NaN where the reference is empty.
    """
    scores = [counts.pq for counts in per_class.values() if counts.tp + counts.fn]
    return float(np.mean(scores)) if scores else float("nan")


def mpq_plus(pooled: Mapping[int, PanopticCounts]) -> float:
    """Mean over the classes of the PQ of counts pooled over all images (CoNIC, Graham et al. 2021).

    A class that is only predicted scores 0 and counts; a class that occurs nowhere is left out.
    """
    scores = [counts.pq for counts in pooled.values() if counts.tp + counts.fp + counts.fn]
    return float(np.mean(scores)) if scores else float("nan")
