"""What is measured on one image, as functions on arrays; ``fingerprint`` pools it over the dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

WINDOW = 256  # side in pixels of the windows in which density is counted


def compact(labels: np.ndarray) -> np.ndarray:
    """Renumber instance ids to 1..N without gaps, in their order.

    Parameters
    ----------
    labels : (H, W) integer
        0 is background; memory grows with the highest id.

    Returns
    -------
    (H, W) int32
    """
    present = np.zeros(int(labels.max(initial=0)) + 1, dtype=bool)
    present[labels] = True
    present[0] = False
    return np.cumsum(present, dtype=np.int32)[labels]


def areas(labels: np.ndarray) -> np.ndarray:
    """Pixels per instance, (N,) int64, of a label map with ids 1..N without gaps."""
    return np.bincount(labels.ravel(), minlength=1)[1:]


def cut_by_border(labels: np.ndarray) -> np.ndarray:
    """(N,) bool: which instances touch the image border, so that their true size is unknown."""
    cut = np.zeros(int(labels.max(initial=0)) + 1, dtype=bool)
    for edge in (labels[:1], labels[-1:], labels[:, :1], labels[:, -1:]):
        cut[edge] = True
    return cut[1:]


def touching(labels: np.ndarray, gap: float) -> np.ndarray:
    """Which instances have another one within ``gap`` pixels of background.

    Two pixels at a centre distance of d leave a gap of d - 1, so every pixel is compared with those at most
    ``1 + gap`` away; half of these offsets cover all pairs.

    Returns
    -------
    (N,) bool
    """
    near = np.zeros(int(labels.max(initial=0)) + 1, dtype=bool)
    for rows, columns in _half_disc(1 + gap):
        one, other = _shifted(labels, rows, columns)
        meet = (one != other) & (one > 0) & (other > 0)
        near[one[meet]] = True
        near[other[meet]] = True
    return near[1:]


def _half_disc(radius: float) -> list[tuple[int, int]]:
    reach = range(-int(radius), int(radius) + 1)
    return [(r, c) for r in reach for c in reach if (r, c) > (0, 0) and r * r + c * c <= radius * radius]


def _shifted(labels: np.ndarray, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    # rows >= 0; the two views hold the pixel pairs (p, p + (rows, columns)) that lie inside the image.
    height, width = labels.shape
    left, right = max(0, -columns), max(0, columns)
    one = labels[: max(0, height - rows), left : max(left, width - right)]
    other = labels[rows:, right : max(right, width - left)]
    return one, other


def window_densities(labels: np.ndarray) -> np.ndarray:
    """Nuclei per 256 x 256 pixels in each of a grid of about so large equal windows.

    Returns
    -------
    (windows,) float64
    """
    shape = labels.shape
    grid = [max(1, round(side / WINDOW)) for side in shape]
    rows, columns = np.nonzero(labels)
    ids = labels[rows, columns]
    size = np.maximum(np.bincount(ids, minlength=1)[1:], 1)
    centroids = [np.bincount(ids, axis, minlength=1)[1:] / size for axis in (rows, columns)]
    counts, _, _ = np.histogram2d(*centroids, bins=grid, range=[(0, shape[0]), (0, shape[1])])
    return counts.ravel() * WINDOW**2 * counts.size / (shape[0] * shape[1])


def instance_classes(labels: np.ndarray, class_map: np.ndarray) -> np.ndarray:
    """(N,) class of each instance; an instance has one class, so any of its pixels tells it."""
    classes = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.int64)
    classes[labels] = class_map
    return classes[1:]


def equivalent_diameter(area: np.ndarray | float) -> np.ndarray:
    """Diameter in pixels of the disc with this area in pixels."""
    return np.sqrt(4 * np.asarray(area, dtype=np.float64) / np.pi)


def quantiles(counts: Mapping[float, int], percents: Iterable[float]) -> list[float]:
    """Exact quantiles of values given as value -> how often; memory grows with the distinct values only."""
    values = sorted(counts)
    weights = [counts[value] for value in values]
    levels = np.asarray(list(percents)) / 100
    return np.quantile(values, levels, weights=weights, method="inverted_cdf").tolist()


class IntensityStatistics:
    """Running statistics of C channels: exact moments and extremes, percentiles from a bounded sample.

    As in nnU-Net, every image gives the same number of sampled pixels, drawn with replacement.
    """

    def __init__(self, channels: int, samples_per_image: int) -> None:
        self._samples_per_image = samples_per_image
        self._samples: list[np.ndarray] = []
        self._pixels = 0
        self._sum, self._squares = np.zeros(channels), np.zeros(channels)
        self._minimum, self._maximum = np.full(channels, np.inf), np.full(channels, -np.inf)

    def add(self, pixels: np.ndarray, random: np.random.Generator) -> None:
        """Take in the pixels ``(N, C)`` of one image; N may be 0."""
        if len(pixels) == 0:
            return
        self._samples.append(pixels[random.integers(len(pixels), size=self._samples_per_image)].astype(np.float32))
        self._pixels += len(pixels)
        channels = np.ascontiguousarray(pixels.T)  # sums along the last axis are several times faster
        self._sum += channels.sum(axis=1, dtype=np.float64)
        self._squares += np.einsum("cn,cn->c", channels, channels, dtype=np.float64)
        self._minimum = np.minimum(self._minimum, channels.min(axis=1))
        self._maximum = np.maximum(self._maximum, channels.max(axis=1))

    def summary(self) -> list[dict[str, float]]:
        """Per channel the keys of nnU-Net's fingerprint: mean, median, std, min, max, percentile_00_5 and _99_5."""
        samples = np.concatenate(self._samples)
        low, median, high = np.percentile(samples, (0.5, 50, 99.5), axis=0)
        mean = self._sum / self._pixels
        std = np.sqrt(np.maximum(0, self._squares / self._pixels - mean**2))
        columns = {
            "mean": mean, "median": median, "std": std, "min": self._minimum, "max": self._maximum,
            "percentile_00_5": low, "percentile_99_5": high,
        }  # fmt: skip
        return [{name: float(column[c]) for name, column in columns.items()} for c in range(len(mean))]


def count(values: np.ndarray) -> Counter[float]:
    """How often each value occurs."""
    distinct, times = np.unique(values, return_counts=True)
    return Counter(dict(zip(distinct.tolist(), times.tolist(), strict=True)))
