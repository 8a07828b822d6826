"""Outlines drawn as polygons become a label map.

Coordinates are (x, y) in pixels, and pixel (row 0, column 0) covers the square from (0, 0) to (1, 1), as in QuPath,
ImageScope and our own GeoJSON. A pixel belongs to a polygon when its centre lies inside; where outlines were drawn
through pixel centres (OpenCV, HoVer-Net), see `through_pixel_centres`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from skimage.draw import polygon2mask

from nucplan.datasets.layers import HIDDEN, OVERLAP, counted

TOO_FEW_POINTS = "outlines of fewer than 3 points"
OUTSIDE = "outlines outside of the image"
TOO_SMALL = "outlines that hold no centre of a pixel"


@dataclass(frozen=True)
class Outline:
    """One nucleus.

    Attributes
    ----------
    rings : outer and inner rings, each (n, 2) float x, y, closed or not; a point is inside when an odd number of
        rings surrounds it, so holes, several parts and either direction are understood
    class_id : 1 to K
    centred : whether the rings run through the centres of the outermost pixels of the nucleus, which then belong
        to it, with (0, 0) the centre of the first pixel
    """

    rings: Sequence[np.ndarray]
    class_id: int = 1
    centred: bool = False


@dataclass
class Drawn:
    """A label map from outlines.

    Attributes
    ----------
    instances : (H, W) int32; the position of an outline + 1 is its id
    class_of : class of each id that is there
    left_out : outlines that are not there, by reason
    remarks : number of pixels that several outlines claim
    """

    instances: np.ndarray
    class_of: dict[int, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    remarks: dict[str, int] = field(default_factory=dict)


def draw(outlines: Sequence[Outline], shape: tuple[int, int]) -> Drawn:
    """Rasterise outlines into a label map of ``shape`` (H, W).

    Pixels of several outlines go to the one of the smallest area, of equal ones to the later, so that the result
    does not depend on the order in which a tool wrote nuclei of different sizes. What reaches over the edge is cut.
    """
    windows = [_mask(outline, shape) for outline in outlines]
    instances, claims = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    areas = [0 if isinstance(w, str) else int(w[1].sum()) for w in windows]
    for index in sorted(range(len(windows)), key=lambda i: (-areas[i], i)):
        if areas[index]:
            where, inside = windows[index]
            instances[where][inside] = index + 1
            claims[where] += inside
    reasons = [w for w in windows if isinstance(w, str)]
    drawn = sum(area > 0 for area in areas)
    visible = np.unique(np.append(instances, 0))[1:].tolist()
    lost = [(reason, reasons.count(reason)) for reason in (TOO_FEW_POINTS, OUTSIDE, TOO_SMALL)]
    return Drawn(
        instances,
        {i: outlines[i - 1].class_id for i in visible},
        counted([*lost, (HIDDEN, drawn - len(visible))]),
        counted([(OVERLAP, int((claims > 1).sum()))]),
    )


def _mask(outline: Outline, shape: tuple[int, int]) -> tuple[tuple[slice, slice], np.ndarray] | str:
    """The window of an outline and the pixels in it that are inside, or the reason why there are none."""
    rings = [np.asarray(ring, np.float64).reshape(-1, 2) for ring in outline.rings]
    rings = [ring for ring in rings if len(np.unique(ring, axis=0)) >= (1 if outline.centred else 3)]
    if not rings:
        return TOO_FEW_POINTS
    points = np.concatenate(rings)
    left, top = np.floor(points.min(0)).astype(int)
    right, bottom = np.floor(points.max(0)).astype(int) + 1
    rows, cols = slice(max(top, 0), min(bottom, shape[0])), slice(max(left, 0), min(right, shape[1]))
    if rows.start >= rows.stop or cols.start >= cols.stop:
        return OUTSIDE
    origin, size = (cols.start, rows.start), (rows.stop - rows.start, cols.stop - cols.start)
    local = [ring - origin for ring in rings]
    inside = _through_pixel_centres(local, size) if outline.centred else _around_pixel_centres(local, size)
    return ((rows, cols), inside) if inside.any() else TOO_SMALL


def _around_pixel_centres(rings: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    inside = np.zeros(size, bool)
    for ring in rings:
        # Shifted by half a pixel, the centres of pixels have the whole coordinates that polygon2mask asks for.
        inside ^= polygon2mask(size, ring[:, ::-1] - 0.5)
    return inside


def _through_pixel_centres(rings: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    filled = np.zeros(size, np.uint8)
    cv2.fillPoly(filled, [np.rint(ring).astype(np.int32) for ring in rings], 1)
    return filled.astype(bool)
