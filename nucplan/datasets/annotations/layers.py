"""From the ways in which sources draw nuclei to one label map: components, areas, a class per pixel."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

OVERLAP = "pixels claimed by several nuclei, given to the smallest"
HIDDEN = "nuclei that others cover completely"
MIXED = "nuclei with pixels of several classes, given the most frequent one"
# To count ids is several times faster than to sort them, unless one is so large that counts take much memory.
COUNTED_IDS = 1 << 20


def components(mask: np.ndarray) -> np.ndarray:
    """The 8-connected components of a mask ``(H, W)``, numbered from 1, as int32.

    Where annotators part touching nuclei by a line of background one pixel wide, lines run diagonally as well; the
    nuclei on both sides of such a line never meet at a corner, so 8 is right for them too.
    """
    return cv2.connectedComponents(np.ascontiguousarray(mask > 0).view(np.uint8), connectivity=8)[1]


def areas_of(instances: np.ndarray) -> dict[int, int]:
    """Number of pixels of each id of a label map, by ascending id, without background."""
    whole = instances.dtype.kind in "biu"
    if whole and instances.min(initial=0) >= 0 and instances.max(initial=0) <= COUNTED_IDS:
        areas = np.bincount(instances.ravel().astype(np.int64))
        ids = np.flatnonzero(areas[1:]) + 1
        return dict(zip(ids.tolist(), areas[ids].tolist(), strict=True))
    ids, areas = np.unique(instances[instances != 0], return_counts=True)
    return dict(zip(ids.tolist(), areas.tolist(), strict=True))


def ids_of(instances: np.ndarray) -> list[int]:
    """The ids of a label map, ascending, without background."""
    return list(areas_of(instances))


def majority_classes(instances: np.ndarray, classes: np.ndarray) -> tuple[dict[int, int], int]:
    """The class of each instance from a class per pixel, by majority; the lower class where two are equal.

    Background (class 0) decides only where an instance has nothing else: the class is 0 then.

    Parameters
    ----------
    instances : (H, W) integer ids, 0 is background
    classes : (H, W) integer, 0 is background

    Returns
    -------
    class_of : instance id to class
    mixed : number of instances that have pixels of several classes other than 0
    """
    ids = np.array([0, *ids_of(instances)])
    index = np.searchsorted(ids, instances.ravel())
    columns = max(int(classes.max(initial=0)), 0) + 1
    votes = np.bincount(index * columns + classes.ravel().astype(np.int64), minlength=len(ids) * columns)
    votes = votes.reshape(len(ids), columns)[1:]
    mixed = int(((votes[:, 1:] > 0).sum(1) > 1).sum())
    named = votes[:, 1:].any(1) if columns > 1 else np.zeros(len(votes), bool)
    best = votes[:, 1:].argmax(1) + 1 if columns > 1 else np.zeros(len(votes), np.int64)
    return dict(zip(ids[1:].tolist(), np.where(named, best, 0).tolist(), strict=True)), mixed


def counted(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """The counts that are not 0, by their text."""
    return {text: count for text, count in counts if count}
