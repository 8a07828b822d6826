"""Sizes, places and classes of the nuclei of one label map, and exact quantiles of what was counted."""

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
    return np.cumsum(_present(labels), dtype=np.int32)[labels]


def instance_ids(labels: np.ndarray) -> np.ndarray:
    """(N,) int64: the ids in a label map (H, W), rising; entry n - 1 is what `compact` makes n of."""
    return np.flatnonzero(_present(labels))


def _present(labels: np.ndarray) -> np.ndarray:
    present = np.zeros(int(labels.max(initial=0)) + 1, dtype=bool)
    present[labels] = True
    present[0] = False
    return present


def areas(labels: np.ndarray) -> np.ndarray:
    """Pixels per instance, (N,) int64, of a label map with ids 1..N without gaps."""
    return np.bincount(labels.ravel(), minlength=1)[1:]


def cut_by_border(labels: np.ndarray) -> np.ndarray:
    """(N,) bool: which instances touch the image border, so that their true size is unknown."""
    cut = np.zeros(int(labels.max(initial=0)) + 1, dtype=bool)
    for edge in (labels[:1], labels[-1:], labels[:, :1], labels[:, -1:]):
        cut[edge] = True
    return cut[1:]


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


def count(values: np.ndarray) -> Counter[float]:
    """How often each value occurs."""
    distinct, times = np.unique(values, return_counts=True)
    return Counter(dict(zip(distinct.tolist(), times.tolist(), strict=True)))


def nonzero_size(image: np.ndarray) -> tuple[int, int]:
    """Height and width of what nnU-Net's crop leaves."""
    rows, columns = nonzero_window(image)
    return rows.stop - rows.start, columns.stop - columns.start


def nonzero_window(image: np.ndarray) -> tuple[slice, slice]:
    """What nnU-Net's crop leaves: from the first to the last row and column that is not black; all if all is black."""
    occupied = image.reshape(*image.shape[:2], -1).any(axis=-1)
    if not occupied.any():
        return slice(0, occupied.shape[0]), slice(0, occupied.shape[1])
    rows, columns = (np.flatnonzero(occupied.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
