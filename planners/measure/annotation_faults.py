"""What is worth a look in the annotation: nuclei in several pieces, and one image in two groups."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cache

import cc3d
import cv2
import numpy as np

THUMBNAIL = 32  # side in pixels
# Residual contrast (standard deviation over mean) below which a thumbnail shows noise; real fields have 0.02 and more.
LEAST_CONTRAST = 0.01
# Re-encoded, rescaled and brightened copies correlate by 0.94 and more, different fields by 0.4 and less.
DUPLICATE_CORRELATION = 0.9
BLOCK = 1024  # thumbnails that are compared at once


def in_pieces(labels: np.ndarray) -> np.ndarray:
    """(N,) bool: which nuclei of a label map (H, W) with ids 1..N consist of several 8-connected pieces."""
    pieces = cc3d.connected_components(labels, connectivity=8)
    owner = np.zeros(int(pieces.max(initial=0)) + 1, dtype=np.int32)
    owner[pieces] = labels
    return np.bincount(owner, minlength=int(labels.max(initial=0)) + 1)[1:] > 1


def thumbnail(image: np.ndarray) -> np.ndarray | None:
    """A small grey copy of an image (H, W) or (H, W, C) without brightness, contrast and uneven light.

    Returns
    -------
    (1024,) int8
        Or None for an image without contrast, which is like any other such image.
    """
    # Channels first: OpenCV resizes four at most, and multiplex images have dozens.
    flat = image.reshape(*image.shape[:2], -1).mean(axis=2, dtype=np.float32)
    grey = cv2.resize(flat, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).ravel().astype(np.float64)
    light = _slow_patterns()
    residual = grey - light @ (light.T @ grey)
    if residual.std() <= LEAST_CONTRAST * grey.mean():
        return None
    return np.rint(residual * (127 / np.abs(residual).max())).astype(np.int8)


def near_duplicates(
    thumbnails: Sequence[np.ndarray], groups: Sequence[Hashable], at_most: int = 50
) -> list[tuple[int, int]]:
    """Pairs of thumbnails that show one image although they are of different groups, so that a fold may leak.

    Returns
    -------
    list of (index, index)
        The first of each pair is the smaller one.
    """
    pairs: list[tuple[int, int]] = []
    numbers = {group: number for number, group in enumerate(groups)}
    group = np.array([numbers[name] for name in groups])
    for start in range(0, len(thumbnails), BLOCK):
        rows = _unit_length(thumbnails[start : start + BLOCK])
        for other in range(start, len(thumbnails), BLOCK):
            alike = rows @ _unit_length(thumbnails[other : other + BLOCK]).T > DUPLICATE_CORRELATION
            alike &= group[start : start + BLOCK, None] != group[None, other : other + BLOCK]
            found = np.argwhere(alike) + (start, other)
            pairs += [(int(i), int(j)) for i, j in found if i < j]
            if len(pairs) >= at_most:
                return pairs[:at_most]
    return pairs


@cache
def _slow_patterns() -> np.ndarray:
    """Orthonormal basis (1024, 6) of the quadratic surfaces: the same lamp lights all images of a microscope."""
    rows, columns = np.indices((THUMBNAIL, THUMBNAIL)).reshape(2, -1) / (THUMBNAIL - 1) - 0.5
    surfaces = [np.ones(THUMBNAIL**2), rows, columns, rows * rows, rows * columns, columns * columns]
    return np.linalg.qr(np.stack(surfaces, axis=1))[0]


def _unit_length(thumbnails: Sequence[np.ndarray]) -> np.ndarray:
    stack = np.stack(thumbnails).astype(np.float32)
    return stack / np.linalg.norm(stack, axis=1, keepdims=True)
