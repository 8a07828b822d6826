"""What the networks of an ensemble say together, and how far they agree on each nucleus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nucplan.instances import NucleusProbabilities
from nucplan.metrics.overlap import overlap_table


@dataclass
class MeanMaps:
    """The running mean of the maps of several networks; the boundary is that of the networks that predict one.

    One map at a time is added, so that the maps of one network are in memory beside the mean, whatever their number.
    """

    _semantic: np.ndarray | None = None
    _boundary: np.ndarray | None = None
    _count: int = 0
    _with_boundary: int = 0

    def add(self, maps: NucleusProbabilities) -> None:
        """Add the maps of a network; all have one size and the same classes."""
        self._semantic = _plus(self._semantic, maps.semantic)
        self._count += 1
        if maps.boundary is not None:
            self._boundary = _plus(self._boundary, maps.boundary)
            self._with_boundary += 1

    def mean(self) -> NucleusProbabilities:
        """The mean as float16; of one network its own maps, unchanged."""
        boundary = None if self._boundary is None else (self._boundary / self._with_boundary).astype(np.float16)
        return NucleusProbabilities((self._semantic / self._count).astype(np.float16), boundary)


def _plus(total: np.ndarray | None, values: np.ndarray) -> np.ndarray:
    if total is None:
        return values.astype(np.float32)
    return np.add(total, values, out=total)


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
