"""How much of the annotation survives the way there and back: labels, targets, decoder, PQ against the file.

No network can do better than the ceiling of its decoder. A high ceiling is a condition, not a choice: which decoder
suits what a network really predicts is seen on predictions for images that it was not trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import NamedTuple

import cv2
import numpy as np

from nucplan import core_border
from nucplan.datasets.raw import RawDataset
from nucplan.instances import DecoderPlan, NucleusProbabilities, decode, instances_from_labels
from nucplan.metrics.overlap import overlap_table
from nucplan.metrics.panoptic import PanopticCounts, panoptic_counts
from planners.measure.look_ahead import in_order
from planners.measure.measurements import compact

# A network's outlines are about as sharp as a Gaussian of one pixel of its grid.
BLUR_PX = 1.0
# What is written into tools that were tuned on nuclei of 40x slides.
DIAMETER_40X, KERNEL_40X = 20.0, 3
SAMPLED_IMAGES, CROP_SIDE = 24, 512
WINDOW_DIAMETERS = 3  # of the large nuclei, so that a window holds them
SAMPLED_PIXELS = 1_500_000  # of the network's grid, over all images


class Ceiling(NamedTuple):
    """PQ, pooled over images, of decoded targets against the labels; 1 where there is no nucleus to lose.

    Attributes
    ----------
    clean : of the targets themselves
    blurred : of the targets as a network blurs them (Gaussian, sigma 1 px of its grid)
    """

    clean: float
    blurred: float


class _Maps(NamedTuple):
    """The targets of one image as probabilities (C, H, W) float32, and what they were made from."""

    clean: np.ndarray
    blurred: np.ndarray
    labels: np.ndarray


def ceilings(
    labels: Sequence[np.ndarray], scale: int, kernel: int, plans: Mapping[str, DecoderPlan]
) -> dict[str, Ceiling]:
    """The ceiling of each decoder plan.

    Parameters
    ----------
    labels : sequence of (H, W) integer
        Instance maps as annotated, 0 background (and ignored).
    scale : int
        Enlargement by which the network sees them, by nearest neighbour as in preprocessing.
    kernel : int
        Side of the boundary's kernel, in pixels of the network's grid.
    plans : mapping from a name to a plan
        Diameters in pixels of the network's grid.
    """
    maps = [_with_blurred(_targets(_enlarged(truth, scale), kernel), truth) for truth in labels]

    def decoder(plan: DecoderPlan) -> Callable[[np.ndarray], np.ndarray]:
        # The plan's threshold counters networks, which see nuclei too large; blurred labels they are not.
        even = replace(plan, foreground_threshold=0.5)
        return lambda targets: decode(NucleusProbabilities(targets[:2], targets[2]), even).labels

    return {name: _ceiling(maps, decoder(plan)) for name, plan in plans.items()}


def fixed_40x(labels: Sequence[np.ndarray], name: str) -> Ceiling:
    """What a decoder keeps with constants made for nuclei of 20 px and no change of scale, whatever the data."""
    return ceilings(labels, 1, KERNEL_40X, {name: DecoderPlan.default(name, DIAMETER_40X)})[name]


def core_border_ceiling(labels: Sequence[np.ndarray], scale: int) -> Ceiling:
    """The ceiling of core and border labels (`nucplan.core_border`), thresholds fitted to the same images."""
    enlarged = [_enlarged(truth, scale) for truth in labels]
    encoded = [core_border.encode(truth) for truth in enlarged]
    thresholds = core_border.fit_thresholds(zip(enlarged, encoded, strict=True))
    classes = np.arange(3)[:, None, None]
    maps = [
        _with_blurred((semantic == classes).astype(np.float32), truth)
        for semantic, truth in zip(encoded, labels, strict=True)
    ]
    return _ceiling(maps, lambda targets: core_border.decode(targets.argmax(axis=0), thresholds))


def sample_labels(
    raw: RawDataset, cases: Sequence[str], scale: int = 1, diameter: float = 0, pixels: int = SAMPLED_PIXELS
) -> list[np.ndarray]:
    """A bounded sample of the annotated training images: the same one whenever it is drawn.

    At most 24 images, evenly spread over the cases in their order; of each the window with the most nuclei, of at
    most 512 x 512 px and so large that all together have at most ``pixels`` pixels once they are enlarged by ``scale``;
    but three diameters wide, for which fewer images are drawn, at least one.
    Nuclei that lie for the larger part outside of the window are left out, since slivers are not what is asked about.

    Parameters
    ----------
    raw : RawDataset
    cases : sequence of str
        Training cases to draw from; those that turn out to hold no nucleus are skipped.
    scale : int
    diameter : float
        Of the large nuclei (d95) in pixels.
    pixels : int

    Returns
    -------
    list of (H, W) int32
        Ids without gaps. Empty only where none of the drawn cases holds a nucleus.
    """
    if not cases:
        return []
    ordered = sorted(cases)
    least = WINDOW_DIAMETERS * diameter
    number = min(SAMPLED_IMAGES, len(ordered), max(1, int(pixels / max(1, least * scale) ** 2)))
    drawn = np.linspace(0, len(ordered) - 1, number).round().astype(int)
    side = max(1, int(max(least, min(CROP_SIDE, (pixels / number) ** 0.5 / scale))))
    windows = (_densest_window(compact(raw.instances(ordered[case])), side) for case in drawn)
    return [window for window in windows if window.any()]


def _densest_window(labels: np.ndarray, side: int) -> np.ndarray:
    """The window with the most nuclei by centroid, of those on a grid; ids 1..N, in and without gaps out."""
    table = instances_from_labels(labels).table
    grid = [-(-length // side) for length in labels.shape]
    nuclei = np.zeros(grid, int)
    np.add.at(nuclei, tuple((table.centroid // side).astype(int).T), 1)
    densest = np.unravel_index(nuclei.argmax(), grid)
    # The last cell of a row is cut short by the image; its window starts earlier.
    top, left = (max(0, min(cell * side, size - side)) for cell, size in zip(densest, labels.shape, strict=True))
    window = labels[top : top + side, left : left + side]
    mostly_inside = 2 * np.bincount(window.ravel(), minlength=len(table) + 1) > np.append(0, table.area)
    return compact(np.where(mostly_inside[window], window, 0))


def _enlarged(labels: np.ndarray, scale: int) -> np.ndarray:
    return labels.repeat(scale, axis=0).repeat(scale, axis=1)


def _targets(labels: np.ndarray, kernel: int) -> np.ndarray:
    """Background, foreground and boundary of a label map as certain probabilities, (3, H, W) float32."""
    import torch

    from nucplan.targets import boundary_map

    boundary = boundary_map(torch.from_numpy(compact(labels))[None], kernel)[0].numpy()
    return np.stack([labels == 0, labels > 0, boundary]).astype(np.float32)


def _with_blurred(targets: np.ndarray, labels: np.ndarray) -> _Maps:
    blurred = [cv2.GaussianBlur(m, (0, 0), BLUR_PX, borderType=cv2.BORDER_REPLICATE) for m in targets]
    return _Maps(targets, np.stack(blurred), labels)


def _ceiling(maps: Sequence[_Maps], decoder: Callable[[np.ndarray], np.ndarray]) -> Ceiling:
    def score(image: _Maps) -> tuple[PanopticCounts, PanopticCounts]:
        found = (_at_size(decoder(targets), image.labels.shape) for targets in (image.clean, image.blurred))
        clean, blurred = (panoptic_counts(overlap_table(labels, image.labels)) for labels in found)
        return clean, blurred

    clean, blurred = zip(*in_order(score, maps), strict=True) if maps else ((), ())
    return Ceiling(_pooled_pq(clean), _pooled_pq(blurred))


def _pooled_pq(counts: Sequence[PanopticCounts]) -> float:
    total = reduce(add, counts, PanopticCounts())
    return total.pq if total.tp + total.fp + total.fn else 1.0


def _at_size(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Back to the grid of the file, as a prediction goes there."""
    return cv2.resize(labels, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
