"""From the ways in which sources draw nuclei to one label map: layers, components, a class per pixel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

OVERLAP = "pixels claimed by several nuclei, given to the smallest"
HIDDEN = "nuclei that others cover completely"
MIXED = "nuclei with pixels of several classes, given the most frequent one"


def stack_masks(masks: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """One label map from one binary mask ``(H, W)`` per nucleus; the position in the sequence + 1 is the id.

    Pixels of several nuclei go to the smallest (of equal ones, to the later), so that a small nucleus on top of a
    large one survives.

    Returns
    -------
    instances : (H, W) int32
    contested : number of pixels that more than one mask claims
    """
    instances, claims = np.zeros(masks[0].shape, np.int32), np.zeros(masks[0].shape, np.int32)
    areas = [int(np.count_nonzero(mask)) for mask in masks]
    for index in sorted(range(len(masks)), key=lambda i: (-areas[i], i)):
        inside = masks[index] > 0
        instances[inside] = index + 1
        claims += inside
    return instances, int((claims > 1).sum())


def components(mask: np.ndarray) -> np.ndarray:
    """The 8-connected components of a mask ``(H, W)``, numbered from 1, as int32.

    Where annotators part touching nuclei by a line of background one pixel wide, lines run diagonally as well; the
    nuclei on both sides of such a line never meet at a corner, so 8 is right for them too.
    """
    return cv2.connectedComponents(np.ascontiguousarray(mask > 0).view(np.uint8), connectivity=8)[1]


def ids_of(instances: np.ndarray) -> list[int]:
    """The ids of a label map, ascending, without background."""
    small = (
        instances.dtype.kind in "iu" and instances.size and 0 <= instances.min() <= instances.max() <= instances.size
    )
    if small:
        # Counting takes a tenth of the time of sorting.
        return (np.flatnonzero(np.bincount(instances.ravel())[1:]) + 1).tolist()
    ids = np.unique(instances)
    return ids[ids != 0].tolist()


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
    ids, index = np.unique(np.append(instances.ravel(), 0), return_inverse=True)
    index = index[:-1]
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
