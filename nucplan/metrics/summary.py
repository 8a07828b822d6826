"""From the counts of images to named scores; the variant of a score is part of its name.

``_pooled`` is the score of the counts summed over all images, ``_image_mean`` the mean of the scores of the images.
An image without any nucleus in reference and prediction scores NaN and is in no mean; one whose reference alone is
empty scores 0 in the image mean and adds its false positives to the pooled counts. ``bpq`` and ``mpq_pannuke`` leave
both kinds out, as PanNuke does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from nucplan.errors import NucplanError
from nucplan.metrics.image import ClassCounts, ImageCounts, NucleusCounts
from nucplan.metrics.panoptic import mpq_plus, pannuke_pq

_RATES = (
    "pq", "sq", "dq", "aji", "aji_plus", "dice", "dice2",
    "detection_f1", "detection_precision", "detection_recall", "boundary_f1", "boundary_iou",
)  # fmt: skip


def summarise(images: Sequence[ImageCounts], class_names: Sequence[str] = ()) -> dict[str, Any]:
    """Score a set of images.

    Parameters
    ----------
    images
        What ``evaluate_image`` returned for each.
    class_names
        Name of class 1, 2, ...; may be empty where classes are not known.

    Returns
    -------
    dict
        ``summary`` (name -> score), ``per_class`` (class name -> scores) and ``per_image`` (image name -> scores).
        Scores that do not exist are NaN; counts are int.

    Raises
    ------
    NucplanError
        If there is no image.
    """
    if not images:
        raise NucplanError("There are no images to evaluate; pass at least one.")
    per_class = _pooled_classes(images)
    per_image = {counts.name or str(position): _image_scores(counts) for position, counts in enumerate(images)}
    return {
        "summary": _summary_scores(images, per_class, list(per_image.values())),
        "per_class": {
            name: _class_scores(images, class_id, per_class.get(class_id, ClassCounts()))
            for class_id, name in enumerate(class_names, start=1)
            if per_class
        },
        "per_image": per_image,
    }


def _image_scores(counts: ImageCounts) -> dict[str, float]:
    panoptic = {class_id: one.panoptic for class_id, one in (counts.per_class or {}).items()}
    return _nucleus_scores(counts.nuclei) | {"mpq_pannuke": pannuke_pq(panoptic)}


def _nucleus_scores(counts: NucleusCounts) -> dict[str, float]:
    precision = counts.average_precision.precision
    return {
        "pq": counts.panoptic.pq,
        "sq": counts.panoptic.sq,
        "dq": counts.panoptic.dq,
        "aji": counts.aji.value,
        "aji_plus": counts.aji_plus.value,
        "dice": counts.dice.value,
        "dice2": counts.dice2.value,
        "ap_50": float(precision[0]),
        "ap_75": float(precision[5]),
        "map_50_95": float(precision.mean()),
        "detection_f1": counts.detection.f1,
        "detection_precision": counts.detection.precision,
        "detection_recall": counts.detection.recall,
        "boundary_f1": counts.boundary.f1,
        "boundary_iou": counts.boundary_iou.value,
        "contact_boundary_recall": counts.contact_boundary.value,
        "contact_boundary_pixels": int(counts.contact_boundary.denominator),
        "merges": counts.merges,
        "splits": counts.splits,
        "n_reference": counts.panoptic.tp + counts.panoptic.fn,
        "n_predicted": counts.panoptic.tp + counts.panoptic.fp,
    }


def _summary_scores(
    images: Sequence[ImageCounts], per_class: dict[int, ClassCounts], per_image: list[dict[str, float]]
) -> dict[str, float]:
    pooled = _nucleus_scores(reduce(add, (counts.nuclei for counts in images)))
    annotated = [scores for scores in per_image if scores["n_reference"]]
    summary = {"n_images": len(images), "n_reference": pooled["n_reference"], "n_predicted": pooled["n_predicted"]}
    for rate in _RATES:
        summary[f"{rate}_pooled"] = pooled[rate]
        summary[f"{rate}_image_mean"] = _mean(scores[rate] for scores in per_image)
    summary["bpq"] = _mean(scores["pq"] for scores in annotated)
    summary["mpq_pannuke"] = _mean(scores["mpq_pannuke"] for scores in per_image)
    summary["mpq_plus"] = mpq_plus({class_id: counts.panoptic for class_id, counts in per_class.items()})
    summary["classification_f1_class_mean"] = _mean(counts.classification.f1 for counts in per_class.values())
    for rate in ("ap_50", "ap_75", "map_50_95"):
        summary[rate] = _mean(scores[rate] for scores in per_image)
    for count in ("merges", "splits", "contact_boundary_recall", "contact_boundary_pixels"):
        summary[count] = pooled[count]
    return summary


def _class_scores(images: Sequence[ImageCounts], class_id: int, pooled: ClassCounts) -> dict[str, float]:
    of_images = [(counts.per_class or {}).get(class_id, ClassCounts()).panoptic for counts in images]
    return {
        "pq_pooled": pooled.panoptic.pq,
        "sq_pooled": pooled.panoptic.sq,
        "dq_pooled": pooled.panoptic.dq,
        "pq_pannuke": _mean(counts.pq for counts in of_images if counts.tp + counts.fn),
        "classification_f1_pooled": pooled.classification.f1,
        "n_reference": pooled.panoptic.tp + pooled.panoptic.fn,
        "n_predicted": pooled.panoptic.tp + pooled.panoptic.fp,
    }


def _pooled_classes(images: Sequence[ImageCounts]) -> dict[int, ClassCounts]:
    pooled: dict[int, ClassCounts] = {}
    for counts in images:
        for class_id, one in (counts.per_class or {}).items():
            pooled[class_id] = pooled.get(class_id, ClassCounts()) + one
    return dict(sorted(pooled.items()))


def _mean(scores: Iterable[float]) -> float:
    known = [score for score in scores if not np.isnan(score)]
    return float(np.mean(known)) if known else float("nan")
