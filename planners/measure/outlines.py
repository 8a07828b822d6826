"""Nuclear outlines: how much of them is contact, and how many pixels lie close to one."""

from __future__ import annotations

import cv2
import numpy as np

WIDEST_BAND = 8  # half-width in pixels up to which bands are counted


def outline_edges(labels: np.ndarray) -> tuple[int, int]:
    """Pixel edges of a label map (H, W): between two nuclei, and between a nucleus and background.

    An edge is shared by two 4-neighbours; the image border is no outline.
    """
    contact = outer = 0
    for one, other in (labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:]):
        change = one != other
        between = int(np.count_nonzero(change & (one > 0) & (other > 0)))
        contact += between
        outer += int(np.count_nonzero(change)) - between
    return contact, outer


def contact_share(contact: int, outer: int) -> float:
    """Share of the length of all nuclear outlines that is shared with another nucleus; 0 without outlines.

    An edge between two nuclei is part of both outlines.
    """
    return 2 * contact / max(1, 2 * contact + outer)


def band_pixels(labels: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """How many pixels lie in the boundary map of kernel ``k = 2 h + 1``, for h = 1 to 8.

    That map is (maximum filter of side k of the labels != minimum filter), with edges replicated. A window of side k
    holds two ids where a window of side 3 does whose centre is at most h - 1 away (Chebyshev distance), so one
    distance transform gives all of them.

    Parameters
    ----------
    labels : (H, W) int32
        Ids up to 32,767.
    counted : (H, W) bool
        Pixels that count.

    Returns
    -------
    (8,) int64
    """
    narrow = labels.astype(np.int16)  # the filters know no int32
    square = np.ones((3, 3), np.uint8)
    uniform = (cv2.dilate(narrow, square) == cv2.erode(narrow, square)).astype(np.uint8)
    if uniform.all():
        return np.zeros(WIDEST_BAND, dtype=np.int64)
    distance = cv2.distanceTransform(uniform, cv2.DIST_C, 3)[counted]
    counts = np.bincount(np.minimum(distance, WIDEST_BAND).astype(np.uint8), minlength=WIDEST_BAND + 1)
    return np.cumsum(counts[:WIDEST_BAND])
