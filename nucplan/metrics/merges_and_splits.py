"""The two errors that matter most where nuclei touch."""

from __future__ import annotations

import numpy as np

from nucplan.metrics.overlap import Overlap


def merges(overlap: Overlap) -> int:
    """Predictions that hold more than half of each of two or more reference nuclei."""
    return int(merged(overlap).sum())


def splits(overlap: Overlap) -> int:
    """Reference nuclei that hold more than half of each of two or more predictions."""
    return int(split(overlap).sum())


def merged(overlap: Overlap) -> np.ndarray:
    """Which predictions count in ``merges``, bool ``(P,)``."""
    held = 2 * overlap.intersection > overlap.reference.areas[overlap.pair_reference]
    return np.bincount(overlap.pair_predicted[held], minlength=overlap.predicted.ids.size) > 1


def split(overlap: Overlap) -> np.ndarray:
    """Which reference nuclei count in ``splits``, bool ``(T,)``."""
    held = 2 * overlap.intersection > overlap.predicted.areas[overlap.pair_predicted]
    return np.bincount(overlap.pair_reference[held], minlength=overlap.reference.ids.size) > 1
