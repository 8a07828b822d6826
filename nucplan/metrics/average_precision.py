"""Average precision over IoU thresholds, as the Data Science Bowl 2018 defines it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nucplan.metrics.counts import Additive
from nucplan.metrics.overlap import Overlap

# A quotient of whole numbers is the float next to the decimal, so an IoU of 11/20 is not above 0.55.
IOU_THRESHOLDS = np.arange(50, 100, 5) / 100


@dataclass(frozen=True)
class AveragePrecisionCounts(Additive):
    """Pairs above each of ``IOU_THRESHOLDS``, ``(10,)``, and the number of nuclei in both maps."""

    tp: np.ndarray
    n_nuclei: int

    @property
    def precision(self) -> np.ndarray:
        """TP / (TP + FP + FN) at each threshold ``(10,)``; NaN where there are no nuclei."""
        if self.n_nuclei == 0:
            return np.full(self.tp.shape, np.nan)
        return self.tp / (self.n_nuclei - self.tp)


def average_precision_counts(overlap: Overlap) -> AveragePrecisionCounts:
    """Count the pairs with an IoU strictly above 0.50, 0.55, ..., 0.95 (Caicedo et al., Nature Methods 2019)."""
    tp = (overlap.iou[:, None] > IOU_THRESHOLDS).sum(axis=0)
    return AveragePrecisionCounts(tp, overlap.predicted.ids.size + overlap.reference.ids.size)
