"""Instances as two semantic classes, core and border, and back: the representation that nnU-Net users train on."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

BACKGROUND, CORE, BORDER = 0, 1, 2
BORDER_WIDTH = 1  # px; wider borders erase the cores of small nuclei
# Share of the annotated nuclei under the fitted thresholds. A nucleus whose core is taken away mostly comes back as a
# lone border, so that threshold is the stricter one.
SMALL_CORES, SMALL_BORDERS = 0.005, 0.001


class Thresholds(NamedTuple):
    """Areas in pixels up to which parts are not nuclei of their own; 0 keeps everything.

    Attributes
    ----------
    core
        A core of at most this area counts as border.
    lone_border
        A border that surrounds no core and has at most this area counts as background.
    """

    core: int = 0
    lone_border: int = 0


def encode(instances: np.ndarray) -> np.ndarray:
    """Split every nucleus into its border, the outermost pixel all around, and its core, the rest.

    Parameters
    ----------
    instances
        (H, W) integer ids, 0 is background; gaps are allowed.

    Returns
    -------
    np.ndarray
        (H, W) uint8: 0 background, 1 core, 2 border. A nucleus at the edge of the image has no border there.
    """
    from acvl_utils.instance_segmentation.instance_as_semantic_seg import convert_instanceseg_to_semantic_patched
    from skimage.segmentation import relabel_sequential

    # Ids without gaps: the conversion reserves memory up to the highest id.
    volume = relabel_sequential(instances)[0].astype(np.uint32)[None]
    with warnings.catch_warnings():
        # It calls scikit-image's erosion by its old name.
        warnings.simplefilter("ignore", FutureWarning)
        return convert_instanceseg_to_semantic_patched(volume, spacing=(1, 1, 1), border_thickness=BORDER_WIDTH)[0]


def decode(semantic: np.ndarray, thresholds: Thresholds = Thresholds()) -> np.ndarray:  # noqa: B008 - immutable
    """Grow each core into the border around it; borders without a core become nuclei of their own.

    Parameters
    ----------
    semantic
        (H, W) integers as `encode` gives them; not changed.
    thresholds
        What is too small to be a nucleus (see `fit_thresholds`).

    Returns
    -------
    np.ndarray
        (H, W) int32 label map, ids 1..N without gaps.
    """
    from acvl_utils.instance_segmentation.instance_as_semantic_seg import convert_semantic_to_instanceseg

    # A copy, because the conversion writes into its input. With nnU-Net's spacing (999, 1, 1) areas would round to 0.
    volume = semantic.astype(np.uint8)[None]
    labels = convert_semantic_to_instanceseg(volume, (1, 1, 1), thresholds.core, thresholds.lone_border)
    return labels[0].astype(np.int32)


def fit_thresholds(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> Thresholds:
    """Thresholds under which annotated nuclei hardly ever lie: low quantiles of the areas of cores and of nuclei.

    acvl_utils' own 30 and 15 px merge or lose up to 6 % of the nuclei where these are small; 0 and 0 make a nucleus
    of every fragment of a core that the border cuts off.

    Parameters
    ----------
    pairs
        (instances, semantic), both (H, W), of the training images.
    """
    areas, core_areas = [np.empty(0)], [np.empty(0)]
    for instances, semantic in pairs:
        ids, index = np.unique(instances, return_inverse=True)
        index = index.ravel()
        areas.append(np.bincount(index)[ids > 0])
        core_areas.append(np.bincount(index, weights=semantic.ravel() == CORE)[ids > 0])
    return Thresholds(_just_below(core_areas, SMALL_CORES), _just_below(areas, SMALL_BORDERS))


def _just_below(areas: list[np.ndarray], share: float) -> int:
    pooled = np.concatenate(areas)
    return max(0, int(np.quantile(pooled, share)) - 1) if pooled.size else 0
