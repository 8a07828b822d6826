"""The two errors that matter most where nuclei touch."""

from __future__ import annotations

import numpy as np

from nucplan.metrics.overlap import Overlap


def merges(overlap: Overlap) -> int:
    """Predictions that hold more than half of each of two or more reference nuclei."""
    held = 2 * overlap.intersection > overlap.reference.areas[overlap.pair_reference]
    return int((np.bincount(overlap.pair_predicted[held]) > 1).sum())


def splits(overlap: Overlap) -> int:
    """Reference nuclei that hold more than half of each of two or more predictions."""
    held = 2 * overlap.intersection > overlap.predicted.areas[overlap.pair_predicted]
    return int((np.bincount(overlap.pair_reference[held]) > 1).sum())
