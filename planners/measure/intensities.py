"""Intensity statistics per channel: of one image, and pooled as nnU-Net pools them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Intensities:
    """Of N pixels with C channels: exact moments and extremes, and a sample with replacement for percentiles.

    Attributes
    ----------
    pixels : N; all else is empty or neutral where it is 0
    zeros : (C,) int64, pixels that are exactly 0
    sum, squares : (C,) float64, sums of the values and of their squares
    minimum, maximum : (C,) float64
    sample : (samples, C) in the type of the image
    """

    pixels: int
    zeros: np.ndarray
    sum: np.ndarray
    squares: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray
    sample: np.ndarray


def measure_intensities(pixels: np.ndarray, samples: int, random: np.random.Generator) -> Intensities:
    """Measure the pixels (N, C), uint8 or uint16, of one image; N may be 0."""
    number, channels = pixels.shape
    if number == 0:
        nothing = np.zeros(channels)
        return Intensities(0, nothing, nothing, nothing, nothing + np.inf, nothing - np.inf, pixels)
    # A histogram of integers gives every moment exactly, several times faster than sums over the pixels.
    counts = [np.bincount(pixels[:, channel]) for channel in range(channels)]
    levels = [np.arange(len(count), dtype=np.float64) for count in counts]
    return Intensities(
        pixels=number,
        zeros=np.array([count[0] for count in counts]),
        sum=np.array([count @ level for count, level in zip(counts, levels, strict=True)]),
        squares=np.array([count @ level**2 for count, level in zip(counts, levels, strict=True)]),
        minimum=np.array([np.flatnonzero(count)[0] for count in counts], dtype=np.float64),
        maximum=np.array([len(count) - 1 for count in counts], dtype=np.float64),
        sample=pixels[random.integers(number, size=samples)],
    )


class IntensityPool:
    """The statistics of many images; as in nnU-Net, every image with pixels gives the same number of samples.

    A channel without a single value gets the value 0.
    """

    def __init__(self, channels: int) -> None:
        self._pixels = np.zeros(channels, np.int64)
        self._zeros, self._sum, self._squares = np.zeros((3, channels))
        self._minimum, self._maximum = np.full(channels, np.inf), np.full(channels, -np.inf)
        self._samples: list[list[np.ndarray]] = [[] for _ in range(channels)]

    def add(self, image: Intensities, present: np.ndarray | None = None) -> None:
        """Add an image, of which only the channels ``present`` (C,) bool count; None for all."""
        present = np.ones(len(self._pixels), bool) if present is None else present
        self._pixels += image.pixels * present
        self._zeros += image.zeros * present
        self._sum += image.sum * present
        self._squares += image.squares * present
        self._minimum = np.where(present, np.minimum(self._minimum, image.minimum), self._minimum)
        self._maximum = np.where(present, np.maximum(self._maximum, image.maximum), self._maximum)
        for channel in np.flatnonzero(present):
            self._samples[channel].append(image.sample[:, channel])

    def summary(self) -> list[dict[str, float]]:
        """Per channel the keys of nnU-Net's fingerprint: mean, median, std, min, max, percentile_00_5 and _99_5."""
        percentiles = [np.percentile(self._sampled(c), (0.5, 50, 99.5)) for c in range(len(self._pixels))]
        low, median, high = np.transpose(percentiles)
        pixels = np.maximum(1, self._pixels)
        mean = self._sum / pixels
        std = np.sqrt(np.maximum(0, self._squares / pixels - mean**2))
        minimum, maximum = (np.where(self._pixels, found, 0) for found in (self._minimum, self._maximum))
        columns = {
            "mean": mean, "median": median, "std": std, "min": minimum, "max": maximum,
            "percentile_00_5": low, "percentile_99_5": high,
        }  # fmt: skip
        return [{name: float(column[c]) for name, column in columns.items()} for c in range(len(mean))]

    def positive_summary(self) -> list[dict[str, float]]:
        """Per channel "zero_fraction", and of the sampled values above 0 the quantiles "q99_positive", "q999_positive".

        Markers of multiplex images are 0 in most pixels, so quantiles over all of them say little. Quantiles of
        nothing are 0.
        """
        return [self._positive(channel) for channel in range(len(self._zeros))]

    def _positive(self, channel: int) -> dict[str, float]:
        values = self._sampled(channel)
        positive = values[values > 0]
        q99, q999 = np.percentile(positive, (99, 99.9)) if positive.size else (0.0, 0.0)
        zero_fraction = self._zeros[channel] / max(1, self._pixels[channel])
        return {"zero_fraction": float(zero_fraction), "q99_positive": float(q99), "q999_positive": float(q999)}

    def _sampled(self, channel: int) -> np.ndarray:
        values = np.concatenate([*self._samples[channel], np.zeros(0, np.uint8)])
        return values if values.size else np.zeros(1)
