"""All counts of one image: the overlap table, the boundaries and, where classes are known, the classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nucplan.errors import NucplanError
from nucplan.metrics.aji import aji, aji_plus
from nucplan.metrics.average_precision import AveragePrecisionCounts, average_precision_counts
from nucplan.metrics.boundary import (
    BoundaryCounts,
    boundary_counts,
    boundary_distance,
    boundary_iou,
    contact_boundary_recall,
    filterable,
)
from nucplan.metrics.counts import Additive, Ratio
from nucplan.metrics.detection import (
    ClassificationCounts,
    DetectionCounts,
    classification_counts,
    detection_radius,
    match_centroids,
)
from nucplan.metrics.dice import dice, dice2
from nucplan.metrics.merges_and_splits import merges, splits
from nucplan.metrics.overlap import Nuclei, Overlap, check_label_maps, overlap_table
from nucplan.metrics.panoptic import PanopticCounts, panoptic_counts, panoptic_counts_per_class


@dataclass(frozen=True)
class NucleusCounts(Additive):
    """What is counted of all nuclei, classes aside."""

    panoptic: PanopticCounts
    dice: Ratio
    dice2: Ratio
    aji: Ratio
    aji_plus: Ratio
    average_precision: AveragePrecisionCounts
    detection: DetectionCounts
    boundary: BoundaryCounts
    boundary_iou: Ratio
    contact_boundary: Ratio
    merges: int
    splits: int


@dataclass(frozen=True)
class ClassCounts(Additive):
    """What is counted of the nuclei of one class."""

    panoptic: PanopticCounts = field(default_factory=PanopticCounts)
    classification: ClassificationCounts = field(default_factory=ClassificationCounts)


@dataclass(frozen=True)
class ImageCounts:
    """The counts of one image; ``per_class`` (class id -> counts) is None where classes are not known."""

    name: str
    nuclei: NucleusCounts
    per_class: dict[int, ClassCounts] | None


def evaluate_image(
    predicted: np.ndarray,
    reference: np.ndarray,
    predicted_classes: Mapping[int, int] | None = None,
    reference_classes: Mapping[int, int] | None = None,
    ignore: np.ndarray | None = None,
    mpp: float | None = None,
    boundary_width: int | None = None,
    name: str = "",
) -> ImageCounts:
    """Compare a predicted with a reference label map.

    Parameters
    ----------
    predicted, reference
        Label maps ``(H, W)``, any integer type, 0 is background, ids need not be contiguous.
    predicted_classes, reference_classes
        Class (1..K) of each nucleus id; classes are compared where both are given.
    ignore
        Bool ``(H, W)``: where nothing is known. A prediction with more than half of its area there is not counted;
        of all other nuclei the pixels there are cut off (Kirillov et al., CVPR 2019, "void labels").
    mpp
        Microns per pixel; sets the detection radius (3 um, else 12 px).
    boundary_width
        Tolerance of boundary F1 and contact recall and width of the band of boundary IoU, px; by default 7 % of the
        median diameter of this reference.

    Raises
    ------
    NucplanError
        If the maps do not fit each other or a nucleus has no class.
    """
    check_label_maps(predicted, reference)
    if ignore is not None and ignore.any():
        predicted, reference = without_ignored(predicted, reference, ignore)
    overlap = overlap_table(predicted, reference)
    paired = match_centroids(overlap.predicted.centroids, overlap.reference.centroids, detection_radius(mpp))
    per_class = None
    if predicted_classes is not None and reference_classes is not None:
        classes = (
            _class_array(predicted_classes, overlap.predicted, f"predicted nucleus of image '{name}'"),
            _class_array(reference_classes, overlap.reference, f"reference nucleus of image '{name}'"),
        )
        per_class = _count_classes(overlap, *classes, *paired)
    width = boundary_distance(overlap.reference.areas) if boundary_width is None else boundary_width
    return ImageCounts(name, _count_nuclei(predicted, reference, overlap, paired[0].size, width), per_class)


def without_ignored(predicted: np.ndarray, reference: np.ndarray, ignore: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both label maps without what is not counted; ``ignore`` as in ``evaluate_image``."""
    ignored = overlap_table(predicted, (ignore > 0).view(np.uint8))
    mostly = 2 * ignored.intersection > ignored.predicted.areas[ignored.pair_predicted]
    dropped = ignored.predicted.ids[ignored.pair_predicted[mostly]]
    outside = ~(ignore > 0)
    return np.where(outside & ~np.isin(predicted, dropped), predicted, 0), np.where(outside, reference, 0)


def _class_array(classes: Mapping[int, int], nuclei: Nuclei, role: str) -> np.ndarray:
    missing = [nucleus for nucleus in nuclei.ids.tolist() if nucleus not in classes]
    if missing:
        raise NucplanError(f"The {role} with id {missing[0]} has no class; give every nucleus of the map one.")
    return np.array([classes[nucleus] for nucleus in nuclei.ids.tolist()], dtype=np.int64)


def _count_classes(
    overlap: Overlap,
    predicted_classes: np.ndarray,
    reference_classes: np.ndarray,
    paired_predicted: np.ndarray,
    paired_reference: np.ndarray,
) -> dict[int, ClassCounts]:
    panoptic = panoptic_counts_per_class(overlap, predicted_classes, reference_classes)
    classification = classification_counts(predicted_classes, reference_classes, paired_predicted, paired_reference)
    return {class_id: ClassCounts(panoptic[class_id], classification[class_id]) for class_id in panoptic}


def _count_nuclei(
    predicted: np.ndarray, reference: np.ndarray, overlap: Overlap, n_detected: int, width: int
) -> NucleusCounts:
    n_predicted, n_reference = overlap.predicted.ids.size, overlap.reference.ids.size
    predicted = filterable(predicted, overlap.predicted.ids)
    reference = filterable(reference, overlap.reference.ids)
    return NucleusCounts(
        panoptic=panoptic_counts(overlap),
        dice=dice(overlap),
        dice2=dice2(overlap),
        aji=aji(overlap),
        aji_plus=aji_plus(overlap),
        average_precision=average_precision_counts(overlap),
        detection=DetectionCounts(n_detected, n_predicted - n_detected, n_reference - n_detected),
        boundary=boundary_counts(predicted, reference, width),
        boundary_iou=boundary_iou(predicted, reference, width),
        contact_boundary=contact_boundary_recall(predicted, reference, width),
        merges=merges(overlap),
        splits=splits(overlap),
    )
