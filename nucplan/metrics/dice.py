"""Dice of the foreground and Dice over overlapping pairs."""

from __future__ import annotations

from nucplan.metrics.counts import Ratio
from nucplan.metrics.overlap import Overlap


def dice(overlap: Overlap) -> Ratio:
    """Foreground Dice, 2 |A and B| / (|A| + |B|) on nucleus pixels; instances play no part."""
    total = overlap.predicted.areas.sum() + overlap.reference.areas.sum()
    return Ratio(2 * int(overlap.intersection.sum()), int(total))


def dice2(overlap: Overlap) -> Ratio:
    """Dice over all overlapping pairs, 2 sum |A and B| / sum (|A| + |B|) (Vu et al. 2019, "ensemble Dice").

    A single shared pixel puts both whole areas into the denominator. A nucleus without any overlap is in no pair;
    so that a fully wrong image scores 0 and an empty one NaN, pixels without a pair enter only when no pair exists.
    """
    if overlap.intersection.size == 0:
        return Ratio(0, int(overlap.predicted.areas.sum() + overlap.reference.areas.sum()))
    pair_areas = overlap.union + overlap.intersection
    return Ratio(2 * int(overlap.intersection.sum()), int(pair_areas.sum()))
