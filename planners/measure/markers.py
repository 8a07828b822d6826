"""Intensities of the markers of multiplex images: histograms, from which every statistic of a cohort is exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nucplan.marker_normalization import IMAGE_Q99, clip_of, compressed
from planners.measure.measurements import nonzero_window

CLIP_QUANTILE = 0.999  # of the positive pixels: q99 of all pixels is 0 for a marker that few cells have
LOWEST_CLIP = 3.0  # counts; below, a sparse marker would be its own noise


@dataclass(frozen=True)
class MarkerCounts:
    """Of one image, within the crop to what is not black.

    Attributes
    ----------
    histograms : per channel (highest + 1,) int64, or None for a channel that is 0 everywhere
    image_q99_log : (C, 2) float64, sums of the values and of their squares after clipping at the image's own q99 and
        log1p
    erased : (C,) bool, which channels hold a signal in so few pixels that this clip is 0
    """

    histograms: tuple[np.ndarray | None, ...]
    image_q99_log: np.ndarray
    erased: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """(C,) bool: which channels hold a signal."""
        return np.array([histogram is not None for histogram in self.histograms])


def measure_markers(image: np.ndarray, units: Sequence[float]) -> MarkerCounts:
    """Measure an image (H, W, C), uint8 or uint16; ``units`` are the intensities of one count, one per channel."""
    planes = np.moveaxis(image[nonzero_window(image)], 2, 0)
    histograms, sums, erased = [], np.zeros((len(planes), 2)), np.zeros(len(planes), bool)
    for channel, (plane, unit) in enumerate(zip(planes, units, strict=True)):
        histogram = np.bincount(plane.ravel())
        histograms.append(histogram if len(histogram) > 1 else None)
        clip = clip_of(plane, IMAGE_Q99)
        sums[channel] = _moments(histogram, clip, unit, log=True)
        erased[channel] = clip == 0 and len(histogram) > 1
    return MarkerCounts(tuple(histograms), sums, erased)


class MarkerPool:
    """The markers of many images; a marker that is 0 in a whole image does not count there."""

    def __init__(self, units: Sequence[float]) -> None:
        self._units = units
        self._histograms = [np.zeros(1, np.int64) for _ in units]
        self._image_q99_log = np.zeros((len(units), 2))
        self._erased = np.zeros(len(units), int)

    def add(self, image: MarkerCounts) -> None:
        self._image_q99_log += image.image_q99_log * image.present[:, None]
        self._erased += image.erased
        for channel, histogram in enumerate(image.histograms):
            if histogram is not None:
                self._histograms[channel] = _sum(self._histograms[channel], histogram)

    def summary(self) -> list[dict[str, Any]]:
        """Per channel "unit", "zero_fraction", "clip", and "mean" and "std" of what a normalisation makes of it.

        The last two stand under "linear" (clipped), "log" (clipped, log1p) and "image_q99_log" (each image clipped at
        its own 99th percentile, log1p), and in how many images this percentile is 0 although there is a signal under
        "image_q99_zero". A channel without any signal has the mean 0 and the deviation 1.
        """
        return [self._channel(channel) for channel in range(len(self._units))]

    def _channel(self, channel: int) -> dict[str, Any]:
        histogram, unit = self._histograms[channel], self._units[channel]
        pixels = max(1, int(histogram.sum()))
        clip = max(_positive_quantile(histogram, CLIP_QUANTILE), LOWEST_CLIP * unit)
        return {
            "unit": unit,
            "zero_fraction": float(histogram[0] / pixels),
            "clip": clip,
            "linear": _mean_and_std(_moments(histogram, clip, unit, log=False), pixels),
            "log": _mean_and_std(_moments(histogram, clip, unit, log=True), pixels),
            "image_q99_log": _mean_and_std(self._image_q99_log[channel], pixels),
            "image_q99_zero": int(self._erased[channel]),
        }


def _moments(histogram: np.ndarray, clip: float, unit: float, log: bool) -> np.ndarray:
    values = compressed(np.arange(len(histogram)), clip, unit, log).astype(np.float64)
    return np.array([histogram @ values, histogram @ values**2])


def _mean_and_std(sums: np.ndarray, pixels: int) -> dict[str, float]:
    mean = sums[0] / pixels
    std = float(np.sqrt(max(0.0, sums[1] / pixels - mean**2)))
    return {"mean": float(mean), "std": std or 1.0}


def _positive_quantile(histogram: np.ndarray, share: float) -> float:
    """The lowest positive value that at least this share of the positive pixels does not exceed; 0 without any."""
    cumulative = np.cumsum(histogram[1:])
    if not cumulative.size or not cumulative[-1]:
        return 0.0
    return float(1 + np.searchsorted(cumulative, share * cumulative[-1]))


def _sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    total = longer.astype(np.int64)
    total[: len(shorter)] += shorter
    return total
