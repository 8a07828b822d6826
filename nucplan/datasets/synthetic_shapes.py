"""The outlines of synthetic nuclei: bent, wavy ellipses of three kinds, placed so that many touch or overlap."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

LYMPHOCYTE, FIBROBLAST, EPITHELIAL = 1, 2, 3
NUCLEI_PER_IMAGE = (65, 105)  # in 256 x 256 pixels
ATTACHED_SHARE = 0.24
LARGEST_OVERLAP = 0.17  # of the visible area of either nucleus
SMALLEST_AREA = 30
PLACEMENT_TRIES = 10
FREE_GAP = 3.0
MARGIN = 4


@dataclass(frozen=True)
class Nucleus:
    """A bent, wavy ellipse; lengths in pixels, angles in radians, image rows downwards.

    ``bend`` lowers the ends of the long axis by this share of its half length; ``waves`` are (amplitude, phase) of
    2, 3, 4 waves around the outline.
    """

    class_id: int
    semi_axes: tuple[float, float]
    angle: float
    bend: float
    waves: tuple[tuple[float, float], ...]
    row: float = 0.0
    col: float = 0.0

    def radius(self, direction: float) -> float:
        """Distance from centre to outline in a direction, bend and waves left out."""
        (a, b), turned = self.semi_axes, direction - self.angle
        return a * b / np.hypot(b * np.cos(turned), a * np.sin(turned))


@dataclass(frozen=True)
class Placed:
    """A nucleus in its window of the image: signed distance ``(h, w)`` to its outline, positive inside."""

    nucleus: Nucleus
    window: tuple[slice, slice]
    distance: np.ndarray


def draw_shape(rng: np.random.Generator, class_id: int, fibre_angle: float) -> Nucleus:
    """A nucleus of one kind, not placed yet; spindles follow the fibres."""
    if class_id == LYMPHOCYTE:
        a, roundness, bend, wave = rng.uniform(6.5, 8.5), rng.uniform(0.85, 1.0), 0.0, 0.03
    elif class_id == FIBROBLAST:
        a, roundness, bend, wave = rng.uniform(13, 19), rng.uniform(0.24, 0.34), rng.normal(0, 0.13), 0.04
    else:
        a, roundness, bend, wave = rng.uniform(10, 14), rng.uniform(0.68, 0.97), 0.0, 0.05
    angle = fibre_angle + rng.normal(0, 0.3) if class_id == FIBROBLAST else rng.uniform(0, np.pi)
    waves = tuple((abs(rng.normal(0, wave)) * 2 / count, rng.uniform(0, 2 * np.pi)) for count in (2, 3, 4))
    return Nucleus(class_id, (a, a * roundness), angle, bend, waves)


def outline(nucleus: Nucleus, size: int) -> Placed:
    """The nucleus in its window of a ``(size, size)`` image; distances are exact to first order at the outline."""
    a, b = nucleus.semi_axes
    reach = 1.15 * a + MARGIN
    row0, col0 = (max(0, int(centre - reach)) for centre in (nucleus.row, nucleus.col))
    row1, col1 = (min(size, int(centre + reach) + 1) for centre in (nucleus.row, nucleus.col))
    y = np.arange(row0, row1, dtype=np.float32)[:, None] - np.float32(nucleus.row)
    x = np.arange(col0, col1, dtype=np.float32)[None, :] - np.float32(nucleus.col)
    cos, sin = np.float32(np.cos(nucleus.angle)), np.float32(np.sin(nucleus.angle))
    u = x * cos + y * sin
    v = y * cos - x * sin - np.float32(nucleus.bend / a) * u * u
    scaled = np.hypot(u / np.float32(a), v / np.float32(b)) + np.float32(1e-3)
    slope = np.hypot(u / np.float32(a * a), v / np.float32(b * b)) / scaled + np.float32(1e-3)
    distance = (1 - scaled / _waviness(np.arctan2(v, u), nucleus)) / slope
    return Placed(nucleus, (slice(row0, row1), slice(col0, col1)), distance)


def place_nuclei(rng: np.random.Generator, size: int, fibre_angle: float) -> tuple[list[Placed], np.ndarray]:
    """Place nuclei one on top of the other, most of them against another one.

    Returns
    -------
    placed : from the lowest to the topmost
    instances : (size, size) int32, position in ``placed`` + 1
    """
    instances = np.zeros((size, size), np.int32)
    placed: list[Placed] = []
    mix = rng.dirichlet((4, 3, 5))
    for _ in range(round(rng.uniform(*NUCLEI_PER_IMAGE) * (size / 256) ** 2)):
        class_id = int(rng.choice((LYMPHOCYTE, FIBROBLAST, EPITHELIAL), p=mix))
        attached = bool(placed) and rng.random() < ATTACHED_SHARE
        for _ in range(PLACEMENT_TRIES):
            shape = draw_shape(rng, class_id, fibre_angle)
            one = outline(_beside(rng, shape, placed) if attached else _anywhere(rng, shape, size), size)
            if _fits(one, placed, instances, gap=0.0 if attached else FREE_GAP):
                placed.append(one)
                instances[one.window][one.distance > 0] = len(placed)
                break
    return placed, instances


def _waviness(theta: np.ndarray, nucleus: Nucleus) -> np.ndarray:
    return 1 + sum(
        np.float32(amplitude) * np.cos(count * theta + np.float32(phase))
        for count, (amplitude, phase) in enumerate(nucleus.waves, start=2)
    )


def _anywhere(rng: np.random.Generator, shape: Nucleus, size: int) -> Nucleus:
    row, col = rng.uniform(0, size, 2)
    return replace(shape, row=row, col=col)


def _beside(rng: np.random.Generator, shape: Nucleus, placed: list[Placed]) -> Nucleus:
    """Against a nucleus of its own kind where there is one, from just touching to a little overlap."""
    kin = [one.nucleus for one in placed if one.nucleus.class_id == shape.class_id]
    anchors = kin or [one.nucleus for one in placed]
    anchor, direction = anchors[rng.integers(len(anchors))], rng.uniform(0, 2 * np.pi)
    reach = (anchor.radius(direction) + shape.radius(direction)) * rng.uniform(0.86, 1.0)
    return replace(shape, row=anchor.row + reach * np.sin(direction), col=anchor.col + reach * np.cos(direction))


def _fits(one: Placed, placed: list[Placed], instances: np.ndarray, gap: float) -> bool:
    """Large enough in the image, no nucleus nearer than ``gap`` pixels, and none below covered too much."""
    inside, below = one.distance > 0, instances[one.window]
    area = np.count_nonzero(inside)
    if area < SMALLEST_AREA or not _is_one_piece(inside) or (gap and below[one.distance > -gap].any()):
        return False
    covered = np.bincount(below[inside], minlength=len(placed) + 1)
    if covered[1:].sum() > LARGEST_OVERLAP * area:
        return False
    return all(_survives(i, covered[i], one, placed[i - 1], instances) for i in np.flatnonzero(covered[1:]) + 1)


def _survives(instance: int, covered: int, upper: Placed, lower: Placed, instances: np.ndarray) -> bool:
    """The lower nucleus stays one piece and keeps most of its visible area."""
    visible = instances == instance
    if covered > LARGEST_OVERLAP * np.count_nonzero(visible[lower.window]):
        return False
    visible[upper.window] &= upper.distance <= 0
    return _is_one_piece(visible[lower.window])


def _is_one_piece(mask: np.ndarray) -> bool:
    return cv2.connectedComponents(mask.astype(np.uint8))[0] == 2
