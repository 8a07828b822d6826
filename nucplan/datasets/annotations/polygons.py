"""Outlines drawn as polygons become a label map.

Coordinates are (x, y) in pixels, and pixel (row 0, column 0) covers the square from (0, 0) to (1, 1), as in QuPath,
ImageScope and our own GeoJSON. A pixel belongs to a polygon when its centre lies inside; a centre on a side that two
polygons share belongs to exactly one of them. For outlines through pixel centres (OpenCV, HoVer-Net), see
`Outline.centred`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from nucplan.datasets.annotations.layers import HIDDEN, OVERLAP, counted, ids_of
from nucplan.errors import NucplanError

TOO_FEW_POINTS = "outlines of fewer than 3 points"
OUTSIDE = "outlines outside of the image"
TOO_SMALL = "outlines that hold no centre of a pixel"
NO_POSITIONS = "outlines with coordinates that are not finite or beyond any image"
# What readers say of nuclei without an outline that could be drawn or learned from.
NO_AREA = "objects without an area (points, lines)"
BOXES = "boxes without an outline, now areas to ignore"
UNCLEAR = "nuclei without a clear class, now areas to ignore"

# No slide is as large, in pixels; OpenCV walks through every row that a polygon spans, inside of the image or not.
FARTHEST = 2.0**22
# Annotators go past the edge now and then; outlines made for a larger image lie outside in numbers.
FEWEST_OUTSIDE, SHARE_OUTSIDE = 3, 0.1


@dataclass(frozen=True)
class Outline:
    """One nucleus.

    Attributes
    ----------
    rings : outer and inner rings, each (n, 2) float x, y, closed or not; a point is inside when an odd number of
        rings surrounds it, so holes, several parts and either direction are understood
    class_id : 1 to K
    joined : every ring is a part of its own instead, and a point is inside when any of them surrounds it
    centred : whether the rings run through the centres of the outermost pixels of the nucleus, which then belong
        to it, with (0, 0) the centre of the first pixel
    """

    rings: Sequence[np.ndarray]
    class_id: int = 1
    joined: bool = False
    centred: bool = False


@dataclass(frozen=True)
class Stamp:
    """One nucleus as pixels: ``inside`` (h, w) bool, of which the first lies at (``top``, ``left``) of the image."""

    inside: np.ndarray
    top: int
    left: int
    class_id: int = 1


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


def draw(outlines: Sequence[Outline | Stamp], shape: tuple[int, int]) -> Drawn:
    """Rasterise outlines into a label map of ``shape`` (H, W).

    Pixels of several outlines go to the one of the smallest area, of equal ones to the later, so that the result
    does not depend on the order in which a tool wrote nuclei of different sizes. What reaches over the edge is cut.
    """
    stamps = [rasterise(outline, shape) if isinstance(outline, Outline) else outline for outline in outlines]
    instances, claims = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    areas = [0 if isinstance(stamp, str) else int(stamp.inside.sum()) for stamp in stamps]
    for index in sorted(range(len(stamps)), key=lambda i: (-areas[i], i)):
        if areas[index]:
            where = _window(stamps[index])
            instances[where][stamps[index].inside] = index + 1
            claims[where] += stamps[index].inside
    reasons = [stamp if isinstance(stamp, str) else TOO_SMALL for stamp in stamps]
    drawn = sum(area > 0 for area in areas)
    visible = ids_of(instances)
    lost = Counter(reason for reason, area in zip(reasons, areas, strict=True) if not area)
    return Drawn(
        instances,
        {i: outlines[i - 1].class_id for i in visible},
        counted([*lost.items(), (HIDDEN, drawn - len(visible))]),
        counted([(OVERLAP, int((claims > 1).sum()))]),
    )


def refuse_other_origin(drawn: Drawn, where: str, others_inside: bool = False) -> None:
    """Refuse outlines that were made for another image than the one they were drawn into.

    Parameters
    ----------
    where : the message begins with it
    others_inside : whether something else of the same file, such as boxes, lies in the image

    Raises
    ------
    NucplanError
        If all that could be drawn lies outside of the image, or a large share of all outlines.
    """
    outside = drawn.left_out.get(OUTSIDE, 0)
    if outside and not drawn.class_of and not others_inside:
        raise NucplanError(
            f"{where}: all outlines lie outside of the image, as where they count from the corner of the slide; export "
            "them in pixels of this image."
        )
    count = len(drawn.class_of) + sum(drawn.left_out.values())
    if outside >= FEWEST_OUTSIDE and outside > SHARE_OUTSIDE * count:
        raise NucplanError(
            f"{where}: {outside} of {count} outlines lie outside of the image, as where they were made for an image of "
            "another size; export one of them again."
        )


def covered(outlines: Iterable[Outline | Stamp], shape: tuple[int, int]) -> np.ndarray:
    """Where any of the outlines is, ``(H, W)`` bool: an area rather than nuclei."""
    mask = np.zeros(shape, bool)
    for outline in outlines:
        stamp = rasterise(outline, shape) if isinstance(outline, Outline) else outline
        if isinstance(stamp, Stamp):
            mask[_window(stamp)] |= stamp.inside
    return mask


def rasterise(outline: Outline, shape: tuple[int, int]) -> Stamp | str:
    """The pixels of one outline, cut at the edges of an image of ``shape``, or the reason why there are none."""
    rings = [np.asarray(ring, np.float64).reshape(-1, 2) for ring in outline.rings]
    rings = [ring for ring in rings if len(np.unique(ring, axis=0)) >= (1 if outline.centred else 3)]
    if not rings:
        return TOO_FEW_POINTS
    points = np.concatenate(rings)
    if not (np.abs(points) < FARTHEST).all():
        return NO_POSITIONS
    if outline.centred:
        rings, points = [np.rint(ring) for ring in rings], np.rint(points)
    lowest, highest = points.min(0), points.max(0)
    # A ring through the centres of the pixels at 0 covers them; one along their edges at 0 has them on its other side.
    if (highest + outline.centred <= 0).any() or (lowest >= shape[::-1]).any():
        return OUTSIDE
    left, top = np.maximum(np.floor(lowest), 0).astype(int).tolist()
    right, bottom = np.minimum(np.floor(highest) + 1, shape[::-1]).astype(int).tolist()
    window = slice(top, bottom), slice(left, right)
    fill = _through_pixel_centres if outline.centred else _around_pixel_centres
    parts = [[ring] for ring in rings] if outline.joined else [rings]
    inside = np.logical_or.reduce([fill(part, window) for part in parts])
    return Stamp(inside, top, left, outline.class_id) if inside.any() else TOO_SMALL


def shared(one: Stamp, other: Stamp) -> tuple[np.ndarray, np.ndarray]:
    """Views of the pixels of both stamps in the window that they share, which may be empty."""
    windows = [_window(stamp) for stamp in (one, other)]
    rows, columns = (
        slice(first := max(a.start, b.start), max(first, min(a.stop, b.stop))) for a, b in zip(*windows, strict=True)
    )
    views = [
        stamp.inside[
            rows.start - stamp.top : rows.stop - stamp.top, columns.start - stamp.left : columns.stop - stamp.left
        ]
        for stamp in (one, other)
    ]
    return views[0], views[1]


def stamp_of(mask: np.ndarray, class_id: int = 1) -> Stamp:
    """A mask ``(H, W)`` bool cut down to what it holds, as a nucleus is small beside its image."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return Stamp(np.zeros((0, 0), bool), 0, 0, class_id)
    top, left = int(rows[0]), int(columns[0])
    return Stamp(mask[top : rows[-1] + 1, left : columns[-1] + 1].copy(), top, left, class_id)


def _window(stamp: Stamp) -> tuple[slice, slice]:
    height, width = stamp.inside.shape
    return slice(stamp.top, stamp.top + height), slice(stamp.left, stamp.left + width)


def _around_pixel_centres(rings: list[np.ndarray], window: tuple[slice, slice]) -> np.ndarray:
    """Pixels whose centre has an odd number of sides to its left, row by row.

    A side counts for the rows from its upper end on, without its lower end, and for the pixels from its crossing on:
    so polygons that share a side share no pixel and leave none out, which library functions do not promise.
    """
    rows, columns = window
    width = columns.stop - columns.start
    sides = np.zeros((rows.stop - rows.start, width + 1), np.int32)
    for ring in rings:
        following = np.roll(ring, -1, axis=0)
        # The same order of ends for both polygons of a shared side, for the same rounding.
        downward = (ring[:, 1] < following[:, 1])[:, None]
        upper, lower = np.where(downward, ring, following), np.where(downward, following, ring)
        first, stop = (np.clip(np.ceil(y - 0.5), rows.start, rows.stop).astype(int) for y in (upper[:, 1], lower[:, 1]))
        side = np.repeat(np.arange(len(ring)), stop - first)
        row = np.arange(len(side)) - (np.cumsum(stop - first) - stop)[side]
        slope = (lower[side, 0] - upper[side, 0]) / (lower[side, 1] - upper[side, 1])
        crossing = upper[side, 0] + (row + 0.5 - upper[side, 1]) * slope
        column = np.clip(np.ceil(crossing - 0.5) - columns.start, 0, width).astype(int)
        np.add.at(sides, (row - rows.start, column), 1)
    return np.cumsum(sides[:, :width], axis=1) % 2 == 1


def _through_pixel_centres(rings: list[np.ndarray], window: tuple[slice, slice]) -> np.ndarray:
    rows, columns = window
    filled = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    cv2.fillPoly(filled, [(ring - (columns.start, rows.start)).astype(np.int32) for ring in rings], 1)
    return filled.astype(bool)
