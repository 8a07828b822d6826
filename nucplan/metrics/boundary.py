"""Boundary F1, boundary IoU and the recall of contact boundaries.

These three look at pixels. They take label maps in a type that the filters know: see ``filterable``. The image border
is no boundary: a nucleus that is cut there goes on outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from nucplan.metrics.counts import Additive, Ratio

BOUNDARY_DISTANCE_FRACTION = 0.07
CONTACT_RADIUS_PX = 1


@dataclass(frozen=True)
class BoundaryCounts(Additive):
    """Boundary pixels near enough to a boundary of the other map, over all boundary pixels."""

    precision: Ratio = Ratio()
    recall: Ratio = Ratio()

    @property
    def f1(self) -> float:
        """Harmonic mean; NaN where neither map has a boundary, 0 where one has none."""
        if self.precision.denominator + self.recall.denominator == 0:
            return float("nan")
        if self.precision.numerator == 0 or self.recall.numerator == 0:
            return 0.0
        return 2 / (1 / self.precision.value + 1 / self.recall.value)


def boundary_distance(areas: np.ndarray) -> int:
    """Width d of the boundary band: 7 % of the median equivalent diameter, at least 1 px.

    Cheng et al. (CVPR 2021) take 2 % of the image diagonal, which swallows a nucleus whole.
    """
    if areas.size == 0:
        return 1
    return max(1, round(BOUNDARY_DISTANCE_FRACTION * float(np.median(np.sqrt(4 * areas / np.pi)))))


def filterable(labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Give a label map ``(H, W)`` the type uint16, or float32 where it has too many nuclei; ids may be renumbered."""
    top = np.iinfo(np.uint16).max
    if ids.size == 0 or ids[-1] < top:
        return labels.astype(np.uint16)
    return np.searchsorted(ids, labels, side="right").astype(np.uint16 if ids.size < top else np.float32)


def boundary_band(labels: np.ndarray, distance: int) -> np.ndarray:
    """Mark the nucleus pixels that have a pixel of another label within ``distance`` (Euclidean), bool ``(H, W)``."""
    disk = _disk(distance)
    return (labels > 0) & (cv2.dilate(labels, disk) != cv2.erode(labels, disk))


def boundary_counts(predicted: np.ndarray, reference: np.ndarray, tolerance: int) -> BoundaryCounts:
    """Compare the inner 1-px outlines of all nuclei; a pixel counts within ``tolerance`` px (Csurka et al. 2013)."""
    outlines = [boundary_band(labels, 1).view(np.uint8) for labels in (predicted, reference)]
    near = [cv2.dilate(outline, _disk(tolerance)) for outline in outlines]
    sizes = [int(np.count_nonzero(outline)) for outline in outlines]
    return BoundaryCounts(
        precision=Ratio(int(np.count_nonzero(outlines[0] & near[1])), sizes[0]),
        recall=Ratio(int(np.count_nonzero(outlines[1] & near[0])), sizes[1]),
    )


def boundary_iou(predicted: np.ndarray, reference: np.ndarray, distance: int) -> Ratio:
    """IoU of the inner boundary bands of all nuclei, each as wide as ``distance`` (Cheng et al., CVPR 2021)."""
    band, other = boundary_band(predicted, distance), boundary_band(reference, distance)
    return Ratio(int(np.count_nonzero(band & other)), int(np.count_nonzero(band | other)))


def contact_pixels(labels: np.ndarray, radius: int) -> np.ndarray:
    """Mark the pixels whose window of ``2 * radius + 1`` px a side holds two different nuclei, bool ``(H, W)``."""
    window = np.ones((2 * radius + 1, 2 * radius + 1), dtype=np.uint8)
    background_on_top = labels.copy()
    background_on_top[labels == 0] = np.iinfo(np.uint16).max if labels.dtype == np.uint16 else np.inf
    # Where a window holds no nucleus at all the maximum is 0 and the minimum is the top.
    return cv2.dilate(labels, window) > cv2.erode(background_on_top, window)


def contact_boundary_recall(predicted: np.ndarray, reference: np.ndarray, tolerance: int) -> Ratio:
    """Share of the boundary between touching or near nuclei that the prediction draws too.

    Counted are the pixels whose 3 x 3 window holds two different reference nuclei, so nuclei that touch or leave a gap
    of one pixel. Such a pixel is recalled where the same window, wider by ``tolerance`` px on each side, holds two
    different predicted nuclei. Merged nuclei are not recalled, nor is the contact of a nucleus that was missed; a
    gap in the prediction instead of a contact is. Splits do not cost here: read it beside ``splits``.
    """
    contact = contact_pixels(reference, CONTACT_RADIUS_PX)
    recalled = contact & contact_pixels(predicted, CONTACT_RADIUS_PX + tolerance)
    return Ratio(int(np.count_nonzero(recalled)), int(np.count_nonzero(contact)))


def _disk(radius: int) -> np.ndarray:
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return (rows**2 + columns**2 <= radius**2).astype(np.uint8)
