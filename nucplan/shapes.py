"""What a label map alone says of its nuclei."""

from __future__ import annotations

from typing import NamedTuple

import cc3d
import numpy as np


class Shapes(NamedTuple):
    """Centroid, area and box of the nuclei of a label map, rows by id; as in `nucplan.instances.NucleusTable`."""

    centroid: np.ndarray
    area: np.ndarray
    bounding_box: np.ndarray


def measure(labels: np.ndarray) -> Shapes:
    """The shapes of the ids 1..N of a label map (H, W) int32; an id that does not occur has area 0."""
    if not labels.any():
        return Shapes(np.zeros((0, 2)), np.zeros(0, np.int64), np.zeros((0, 4), np.int32))
    # cc3d wants more pixels than ids, which a row of background gives to any map.
    if labels.max() >= labels.size:
        labels = np.pad(labels, ((0, 1), (0, 0)))
    found = cc3d.statistics(labels, no_slice_conversion=True)
    row0, row1, col0, col1 = found["bounding_boxes"][1:].astype(np.int32).T
    return Shapes(
        found["centroids"][1:],
        found["voxel_counts"][1:].astype(np.int64),
        np.stack([row0, col0, row1 + 1, col1 + 1], axis=1),
    )


def union(parts: Shapes, group: np.ndarray) -> Shapes:
    """Shapes of groups of parts; ``group`` (N,) is the row that stands for each part, other rows become empty."""
    area = np.zeros_like(parts.area)
    np.add.at(area, group, parts.area)
    moment = np.zeros_like(parts.centroid)
    np.add.at(moment, group, parts.area[:, None] * parts.centroid)
    box = parts.bounding_box.copy()
    np.minimum.at(box[:, :2], group, parts.bounding_box[:, :2])
    np.maximum.at(box[:, 2:], group, parts.bounding_box[:, 2:])
    return Shapes(moment / np.maximum(area, 1)[:, None], area, box)
