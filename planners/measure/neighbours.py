"""How close nuclei lie to each other: gaps, and from them the share of nuclei that touch."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

TOUCHING_GAP = 0.06  # of the median diameter: one pixel between nuclei of 17 px


def gaps(labels: np.ndarray) -> np.ndarray:
    """Pixels of background between every nucleus and its nearest neighbour.

    The gap is the distance of the centres of the two nearest pixels, less 1; it is 0 where nuclei share a pixel edge
    or corner. Every pixel is given to its nearest nuclear pixel (Borgefors 1986, 5 x 5 chamfer distance). Where two
    pixels side by side belong to different nuclei, the two nuclear pixels behind them bound the gap from above, and
    between nearest neighbours the bound is reached: no third nucleus can be closer to the line between them. The
    distance is approximate, so the gap may come out too wide, by less than half a pixel, and never too narrow.

    Parameters
    ----------
    labels : (H, W) int32
        Ids 1..N without gaps.

    Returns
    -------
    (N,) float64
        In pixels; infinite for a nucleus that is alone in its image.
    """
    nearest = np.full(int(labels.max(initial=0)) + 1, np.inf)
    if len(nearest) <= 2:
        return nearest[1:]
    site = _nearest_nuclear_pixel(labels)
    flat, width = labels.ravel(), labels.shape[1]
    owner = flat[site]
    for one, other in (np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:]):
        meet = owner[one] != owner[other]
        first, second = site[one][meet], site[other][meet]
        rows, columns = np.subtract(np.divmod(first, width), np.divmod(second, width))
        squared = rows * rows + columns * columns
        np.minimum.at(nearest, flat[first], squared)
        np.minimum.at(nearest, flat[second], squared)
    distance = np.sqrt(nearest[1:])
    return np.where(distance < 1.5, 0.0, distance - 1)


def touching_weight(gap: np.ndarray, threshold: float) -> np.ndarray:
    """How much a nucleus with this gap counts as touching: fully up to half of the threshold, not at all from 1.5.

    An all-or-nothing rule would jump with the tiniest change of the threshold, because gaps are whole pixels; and the
    slope is a share of the threshold, so that an image at twice the resolution gives the same weight.
    """
    return np.clip(1.5 - np.asarray(gap, dtype=np.float64) / threshold, 0, 1)


def touching_share(gap_counts: Mapping[float, int], nuclei: int, diameter: float) -> float:
    """Share of ``nuclei`` that touch, from gap -> how many; ``diameter`` is their median in pixels."""
    weights = touching_weight(np.array(list(gap_counts)), TOUCHING_GAP * diameter)
    return float(weights @ np.array(list(gap_counts.values()), dtype=np.float64)) / nuclei


def _nearest_nuclear_pixel(labels: np.ndarray) -> np.ndarray:
    """Flat index (H, W) int64 of the nuclear pixel that is nearest to each pixel."""
    background = (labels == 0).astype(np.uint8)
    _, number = cv2.distanceTransformWithLabels(background, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    nuclear = np.flatnonzero(labels)
    position = np.zeros(len(nuclear) + 1, dtype=np.int64)
    position[number.ravel()[nuclear]] = nuclear
    return position[number]
