"""How far the networks of an ensemble agree on each nucleus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nucplan.metrics.overlap import overlap_table


def compact(labels: np.ndarray) -> np.ndarray:
    """The label map in the smallest integers that hold it, as one is kept for each network."""
    return labels.astype(np.min_scalar_type(int(labels.max(initial=0))))


def agreement(labels: np.ndarray, of_networks: Sequence[np.ndarray]) -> np.ndarray:
    """For each nucleus of an ensemble how well its networks, each alone, see it.

    The best IoU of the nucleus with one of a network's, the mean over the networks: 1 where all draw the same
    outline, 0.5 where half of them miss it, between these where some of them split it or merge it with another. It
    orders right and wrong nuclei (IoU > 0.5) better than what the networks say of pixels: docs/benchmark.md.

    Parameters
    ----------
    labels : (H, W) int32
        Ids 1..N without gaps.
    of_networks : sequence of (H, W) integer
        The nuclei that each network finds alone, at least one map.

    Returns
    -------
    (N,) float32
    """
    count = int(labels.max(initial=0))
    total = np.zeros(count + 1)
    for other in of_networks:
        overlap, best = overlap_table(labels, other), np.zeros(count + 1)
        np.maximum.at(best, overlap.predicted.ids[overlap.pair_predicted], overlap.iou)
        total += best
    return (total[1:] / len(of_networks)).astype(np.float32)
