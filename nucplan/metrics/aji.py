"""Aggregated Jaccard index, in its first form and with a one-to-one assignment."""

from __future__ import annotations

import numpy as np

from nucplan.metrics.assignment import best_assignment
from nucplan.metrics.counts import Ratio
from nucplan.metrics.overlap import Overlap


def aji(overlap: Overlap) -> Ratio:
    """AJI (Kumar et al., IEEE TMI 2017, algorithm 1).

    Every reference nucleus takes the prediction of highest IoU, also one that another nucleus took. The shared pixels
    of these pairs stand over their unions plus the areas of unmatched reference nuclei and of unused predictions.
    Of equal IoUs the larger intersection wins, then the lower id.
    """
    order = np.lexsort((overlap.pair_predicted, -overlap.intersection, -overlap.iou, overlap.pair_reference))
    _, first = np.unique(overlap.pair_reference[order], return_index=True)
    return _aggregate(overlap, order[first])


def aji_plus(overlap: Overlap) -> Ratio:
    """AJI+ (Graham et al., HoVer-Net, 2019): as AJI, over the one-to-one pairs of greatest total IoU."""
    return _aggregate(overlap, best_assignment(overlap.pair_reference, overlap.pair_predicted, overlap.iou))


def _aggregate(overlap: Overlap, chosen: np.ndarray) -> Ratio:
    missed = np.ones(overlap.reference.ids.size, dtype=bool)
    missed[overlap.pair_reference[chosen]] = False
    unused = np.ones(overlap.predicted.ids.size, dtype=bool)
    unused[overlap.pair_predicted[chosen]] = False
    unmatched = overlap.reference.areas[missed].sum() + overlap.predicted.areas[unused].sum()
    return Ratio(int(overlap.intersection[chosen].sum()), int(overlap.union[chosen].sum() + unmatched))
