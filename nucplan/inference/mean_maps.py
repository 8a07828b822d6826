"""The maps of an ensemble, as one network would draw them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nucplan.instances import NucleusProbabilities

# The bits of 1.0 in half precision; for probabilities, bits and values have the same order.
CERTAIN = int(np.float16(1).view(np.uint16))


@dataclass
class MeanMaps:
    """The running mean of the maps of several networks; the boundary is that of the networks that predict one.

    One map at a time is added, so that the maps of one network are in memory beside the mean, whatever their number.
    """

    _semantic: np.ndarray | None = None
    _boundary: np.ndarray | None = None
    _count: int = 0
    _with_boundary: int = 0
    # How many pixels of all networks have each boundary probability that half precision knows.
    _levels: np.ndarray = field(default_factory=lambda: np.zeros(CERTAIN + 1, np.int64))

    def add(self, maps: NucleusProbabilities) -> None:
        """Add the maps of a network; all have one size and the same classes."""
        self._semantic = _plus(self._semantic, maps.semantic)
        self._count += 1
        if maps.boundary is not None:
            self._boundary = _plus(self._boundary, maps.boundary)
            self._levels += _level_counts(maps.boundary)
            self._with_boundary += 1

    def mean(self) -> NucleusProbabilities:
        """The mean as float16, its boundary as strong as in one network; of one network its own maps, unchanged."""
        semantic = (self._semantic / self._count).astype(np.float16)
        if self._boundary is None:
            return NucleusProbabilities(semantic, None)
        mean = (self._boundary / self._with_boundary).astype(np.float16)
        return NucleusProbabilities(semantic, with_levels_of(mean, self._levels))


def with_levels_of(mean: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """``mean`` with the distribution of values of single networks, the order of its pixels unchanged.

    Networks agree where a boundary is but for a pixel or so, and the mean of thin lines that lie beside each other is
    broad and pale: a decoder made for the lines of one network then parts too little. Each value is replaced by the one
    that has the same rank among the pixels of the networks (histogram matching; Gonzalez and Woods, Digital Image
    Processing, 3.3.2).

    Parameters
    ----------
    mean : (H, W) float16, 0 to 1
    levels : (CERTAIN + 1,) integer
        Number of pixels of the networks at each value, by the bits of that value.

    Returns
    -------
    (H, W) float16
    """
    own = _level_counts(mean)
    # The middle rank of the pixels of one value; whole numbers, so that equal distributions change nothing.
    rank = 2 * np.cumsum(own) - own
    found = np.searchsorted(2 * mean.size * np.cumsum(levels), rank * levels.sum())
    return found.astype(np.uint16).view(np.float16)[_bits(mean)]


def _level_counts(probabilities: np.ndarray) -> np.ndarray:
    return np.bincount(_bits(probabilities).ravel(), minlength=CERTAIN + 1)


def _bits(probabilities: np.ndarray) -> np.ndarray:
    # abs turns the bits of -0.0 into those of 0.0.
    return np.abs(probabilities.astype(np.float16)).view(np.uint16)


def _plus(total: np.ndarray | None, values: np.ndarray) -> np.ndarray:
    if total is None:
        return values.astype(np.float32)
    return np.add(total, values, out=total)
