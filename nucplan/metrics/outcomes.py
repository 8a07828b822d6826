"""What became of each nucleus, one word each: the words in which a picture of a prediction is read."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from nucplan.metrics.merges_and_splits import merged, split
from nucplan.metrics.overlap import Overlap
from nucplan.metrics.panoptic import is_match


class Outcome(IntEnum):
    """Of predictions, and of the reference nuclei that no prediction stands for (``MISSED``)."""

    MATCHED = 1
    SPLIT = 2
    MERGED = 3
    MISSED = 4
    UNMATCHED = 5


def predicted_outcomes(overlap: Overlap) -> np.ndarray:
    """The outcome of each prediction, int64 ``(P,)``.

    ``MERGED`` where it counts in ``merges``; else ``SPLIT`` where more than half of it lies in a reference nucleus
    that counts in ``splits``; else ``MATCHED`` where an IoU is greater than one half; else ``UNMATCHED``.
    """
    inside = 2 * overlap.intersection > overlap.predicted.areas[overlap.pair_predicted]
    outcomes = np.full(overlap.predicted.ids.size, Outcome.UNMATCHED, dtype=np.int64)
    outcomes[overlap.pair_predicted[is_match(overlap)]] = Outcome.MATCHED
    outcomes[overlap.pair_predicted[inside & split(overlap)[overlap.pair_reference]]] = Outcome.SPLIT
    outcomes[merged(overlap)] = Outcome.MERGED
    return outcomes


def missed(overlap: Overlap) -> np.ndarray:
    """Which reference nuclei have no match, are not split and lie less than half in a merge, bool ``(T,)``."""
    held = 2 * overlap.intersection > overlap.reference.areas[overlap.pair_reference]
    found = is_match(overlap) | held & merged(overlap)[overlap.pair_predicted]
    none = ~split(overlap)
    none[overlap.pair_reference[found]] = False
    return none
