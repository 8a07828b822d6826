"""Detection by centroids, and classification on the nuclei that were detected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from nucplan.metrics.assignment import best_assignment
from nucplan.metrics.counts import Additive

DETECTION_RADIUS_UM = 3.0
DETECTION_RADIUS_PX = 12.0


@dataclass(frozen=True)
class DetectionCounts(Additive):
    """Detected, surplus and missed nuclei; each score is NaN where there is nothing to count."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def precision(self) -> float:
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else float("nan")

    @property
    def recall(self) -> float:
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else float("nan")

    @property
    def f1(self) -> float:
        total = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / total if total else float("nan")


@dataclass(frozen=True)
class ClassificationCounts(Additive):
    """Counts of one class: ``tp, fp, fn`` among detected pairs; ``surplus, missed`` are nuclei in no pair."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    surplus: int = 0
    missed: int = 0

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + 2 FP + 2 FN + surplus + missed): HoVer-Net's typed F1, weights 2, 2, 1, 1."""
        total = 2 * (self.tp + self.fp + self.fn) + self.surplus + self.missed
        return 2 * self.tp / total if total else float("nan")


def detection_radius(mpp: float | None) -> float:
    """The distance, in pixels, within which two centroids may pair: 3 um, or 12 px where mpp is unknown."""
    return DETECTION_RADIUS_PX if mpp is None else DETECTION_RADIUS_UM / mpp


def match_centroids(predicted: np.ndarray, reference: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Pair centroids one-to-one: as many pairs within ``radius`` as there can be, of these the shortest in sum.

    Parameters
    ----------
    predicted, reference
        Centroids ``(P, 2)`` and ``(T, 2)``, px.

    Returns
    -------
    tuple of numpy.ndarray
        The indices of the paired predictions and reference nuclei ``(M,)``.
    """
    if len(predicted) == 0 or len(reference) == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    near = cKDTree(reference).sparse_distance_matrix(cKDTree(predicted), radius, output_type="ndarray")
    # One more pair is worth more than all the distance that it can cost.
    worth = (min(len(predicted), len(reference)) + 1) * radius
    chosen = best_assignment(near["i"], near["j"], worth - near["v"])
    return near["j"][chosen], near["i"][chosen]


def classification_counts(
    predicted_classes: np.ndarray,
    reference_classes: np.ndarray,
    paired_predicted: np.ndarray,
    paired_reference: np.ndarray,
) -> dict[int, ClassificationCounts]:
    """Count agreement of classes on detected pairs (Graham et al., HoVer-Net, 2019), for each class that occurs.

    Parameters
    ----------
    predicted_classes, reference_classes
        The class of each nucleus, ``(P,)`` and ``(T,)``.
    paired_predicted, paired_reference
        What ``match_centroids`` returns.
    """
    said, true = predicted_classes[paired_predicted], reference_classes[paired_reference]
    surplus, missed = np.delete(predicted_classes, paired_predicted), np.delete(reference_classes, paired_reference)
    counts = {}
    for class_id in np.union1d(predicted_classes, reference_classes).tolist():
        tp = int(((said == class_id) & (true == class_id)).sum())
        counts[class_id] = ClassificationCounts(
            tp=tp,
            fp=int((said == class_id).sum()) - tp,
            fn=int((true == class_id).sum()) - tp,
            surplus=int((surplus == class_id).sum()),
            missed=int((missed == class_id).sum()),
        )
    return counts
