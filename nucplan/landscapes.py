"""The decoders: how each of them reads the maps as a landscape with seeds, from which `nucplan.watershed` cuts basins.

With D the distance to the background, b the boundary probability, d the planned diameter and e a small share:

============  =====================================  =============================================================
decoder       heights                                seeds
============  =====================================  =============================================================
``distance``  D                                      spaced maxima
``boundary``  1 - b + e D / d                        regions where foreground - b exceeds a threshold
``tempered``  D x max(1 - b, e)                      spaced maxima, and one in each region that the boundary encloses
``interior``  distance inside those regions + e D    the same
============  =====================================  =============================================================

Nuclei that are too small for an inside of their own would be lost to ``boundary`` and ``interior``, so a maximum of D
with no seed around it is a seed, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from nucplan.decoder_plan import DecoderPlan
from nucplan.watershed import distance_map, label_maxima, smoothed, window

# e: where the boundary says the same all over, as in a nucleus that is all boundary, the outline has to decide.
OUTLINE_SHARE = 0.05


class Landscape(NamedTuple):
    """Heights (H, W) float32 and the seeds on them, (H, W) int32 regions above 0, with gaps."""

    heights: np.ndarray
    seeds: np.ndarray


def landscape(
    foreground: np.ndarray, background: np.ndarray, boundary: np.ndarray | None, plan: DecoderPlan
) -> Landscape:
    """Heights and seeds as the decoder of the plan sees them; ``boundary`` may be None for "distance" alone."""
    return _LANDSCAPES[plan.name](foreground, background, boundary, plan)


def _distance(foreground: np.ndarray, _background: np.ndarray, _boundary: None, plan: DecoderPlan) -> Landscape:
    heights = _outline(foreground, plan)
    return Landscape(heights, label_maxima(heights, foreground, _spacing(plan)))


def _boundary(foreground: np.ndarray, background: np.ndarray, boundary: np.ndarray, plan: DecoderPlan) -> Landscape:
    clear, outline = _clear(boundary, foreground), _outline(foreground, plan)
    # foreground - boundary > threshold, written so that the background is read without a copy.
    inside = np.less(background, clear - np.float32(plan.seed_threshold), order="C") & foreground
    seeds = _with_lone_peaks(_regions(inside, plan), outline, foreground, plan)
    return Landscape(clear + outline * np.float32(OUTLINE_SHARE / plan.diameter), seeds)


def _tempered(foreground: np.ndarray, _background: np.ndarray, boundary: np.ndarray, plan: DecoderPlan) -> Landscape:
    clear = _clear(boundary, foreground)
    temper = np.maximum(clear, np.float32(OUTLINE_SHARE))
    heights = smoothed(_bridged(distance_map(foreground), foreground) * temper, plan.smoothing * plan.diameter)
    seeds = label_maxima(heights, foreground, _spacing(plan))
    return Landscape(heights, _one_each(seeds, _enclosed(clear, foreground, plan)))


def _interior(foreground: np.ndarray, _background: np.ndarray, boundary: np.ndarray, plan: DecoderPlan) -> Landscape:
    regions, outline = _enclosed(_clear(boundary, foreground), foreground, plan), _outline(foreground, plan)
    inside = regions > 0
    heights = _outline(inside, plan) + outline * np.float32(OUTLINE_SHARE)
    seeds = _one_each(label_maxima(heights, inside, _spacing(plan)), regions)
    return Landscape(heights, _with_lone_peaks(seeds, outline, foreground, plan))


_LANDSCAPES: dict[str, Callable[..., Landscape]] = {
    "distance": _distance,
    "boundary": _boundary,
    "tempered": _tempered,
    "interior": _interior,
}


def _outline(mask: np.ndarray, plan: DecoderPlan) -> np.ndarray:
    return smoothed(distance_map(mask), plan.smoothing * plan.diameter)


def _spacing(plan: DecoderPlan) -> float:
    return plan.seed_spacing * plan.diameter


def _clear(boundary: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """1 - boundary, (H, W) float32, bridged."""
    return _bridged(np.subtract(1, boundary, dtype=np.float32), foreground)


def _bridged(heights: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Heights with the corners of diagonal steps as high as the steps, within the foreground.

    The ridge of a thin nucleus is a line of pixels, which 4-connectivity would break at every step aside. The factors
    of a landscape are bridged, not their product, which would open boundaries that touch at corners alone.
    """
    bridged = heights.copy()
    for mirror in (np.s_[:, :], np.s_[:, ::-1]):
        view, target, allowed = heights[mirror], bridged[mirror], foreground[mirror]
        step = np.minimum(view[:-1, :-1], view[1:, 1:])
        for corner in (np.s_[1:, :-1], np.s_[:-1, 1:]):
            np.maximum(target[corner], step, out=target[corner], where=allowed[corner])
    return bridged


def _enclosed(clear: np.ndarray, foreground: np.ndarray, plan: DecoderPlan) -> np.ndarray:
    """Regions of the foreground that the boundary encloses."""
    return _regions((clear > np.float32(1 - plan.boundary_threshold)) & foreground, plan)


def _regions(inside: np.ndarray, plan: DecoderPlan) -> np.ndarray:
    """4-connected regions, numbered with gaps, without the specks that are smaller than a seed."""
    _, regions, boxes, _ = cv2.connectedComponentsWithStats(inside.view(np.uint8), connectivity=4)
    speck = boxes[:, cv2.CC_STAT_AREA] < plan.minimum_seed * plan.disc_area
    return np.where(speck[regions], 0, regions) if speck.any() else regions


def _one_each(seeds: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Add the regions that hold no seed, as seeds."""
    return _added(seeds, _without(regions, seeds > 0))


def _with_lone_peaks(seeds: np.ndarray, outline: np.ndarray, foreground: np.ndarray, plan: DecoderPlan) -> np.ndarray:
    """Add the maxima of the distance to the background, ``outline``, that have no seed within the spacing."""
    peaks = label_maxima(outline, foreground, _spacing(plan))
    near = cv2.dilate((seeds > 0).view(np.uint8), window(_spacing(plan))).view(bool)
    return _added(seeds, _without(peaks, near))


def _without(regions: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The regions no pixel of which is in the mask."""
    met = np.zeros(int(regions.max(initial=0)) + 1, bool)
    met[regions[mask]] = True
    return np.where(met[regions], 0, regions)


def _added(seeds: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.where(others > 0, others + seeds.max(initial=0), seeds)
