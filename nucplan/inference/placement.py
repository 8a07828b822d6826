"""Label maps of the network's grid back on the grid of the picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


def at_image_grid(labels: np.ndarray, region: Sequence[tuple[int, int]], shape: tuple[int, int]) -> np.ndarray:
    """Undo scale and crop of the preprocessing: nearest neighbour, so that ids stay ids.

    Parameters
    ----------
    labels : (h, w) int32
        At the planned scale; returned as it is where it is the whole picture at its own scale.
    region : rows and columns (start, stop) of the picture that ``labels`` covers
    shape : (H, W) of the picture

    Returns
    -------
    (H, W) int32
        0 outside of the region; small ids may be lost.
    """
    (top, bottom), (left, right) = region
    size = bottom - top, right - left
    if labels.shape == tuple(shape) == size:
        return labels
    whole = np.zeros(shape, np.int32)
    whole[top:bottom, left:right] = cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return whole
