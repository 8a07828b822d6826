"""The metrics as a table for the terminal; every line says which variant its number is."""

from __future__ import annotations

import math
from typing import Any

_POOLED_AND_MEAN = (
    ("PQ", "pq"),
    ("  segmentation quality SQ", "sq"),
    ("  detection quality DQ", "dq"),
    ("AJI", "aji"),
    ("AJI+ (one-to-one)", "aji_plus"),
    ("Dice of the foreground", "dice"),
    ("Dice2 over overlapping pairs", "dice2"),
    ("detection F1 by centroids", "detection_f1"),
    ("  precision", "detection_precision"),
    ("  recall", "detection_recall"),
    ("boundary F1", "boundary_f1"),
    ("boundary IoU", "boundary_iou"),
)
_SINGLE = (
    ("bPQ (PanNuke: mean of annotated images)", "bpq"),
    ("mPQ (PanNuke: classes of each image, then images)", "mpq_pannuke"),
    ("mPQ+ (pooled per class, mean of classes)", "mpq_plus"),
    ("classification F1 (mean of classes)", "classification_f1_class_mean"),
    ("AP at IoU 0.50 (image mean)", "ap_50"),
    ("AP at IoU 0.75 (image mean)", "ap_75"),
    ("AP over IoU 0.50 to 0.95 (image mean)", "map_50_95"),
    ("contact boundary recall (pooled)", "contact_boundary_recall"),
    ("merged predictions", "merges"),
    ("split reference nuclei", "splits"),
)
_CLASS_COLUMNS = (
    ("reference", "n_reference"),
    ("predicted", "n_predicted"),
    ("PQ pooled", "pq_pooled"),
    ("SQ pooled", "sq_pooled"),
    ("DQ pooled", "dq_pooled"),
    ("PQ PanNuke", "pq_pannuke"),
    ("F1 class", "classification_f1_pooled"),
)


def format_table(metrics: dict[str, Any]) -> str:
    """Lay out what ``evaluate_folders`` or ``summarise`` returned, in aligned columns."""
    summary = metrics["summary"]
    lines = [_headline(summary, metrics.get("settings")), "", f"{'':<52}{'pooled':>9}{'image mean':>13}"]
    for title, key in _POOLED_AND_MEAN:
        lines.append(f"{title:<52}{_number(summary[f'{key}_pooled']):>9}{_number(summary[f'{key}_image_mean']):>13}")
    lines += ["", *(f"{title:<52}{_number(summary[key]):>9}" for title, key in _SINGLE)]
    if metrics["per_class"]:
        lines += ["", *_class_lines(metrics["per_class"])]
    return "\n".join(lines)


def _headline(summary: dict[str, Any], settings: dict[str, Any] | None) -> str:
    counts = (
        f"{summary['n_images']} images, {summary['n_reference']} reference nuclei, {summary['n_predicted']} predicted"
    )
    if settings is None:
        return counts
    radius, width = settings["detection_radius_px"], settings["boundary_width_px"]
    return f"{counts}; centroids within {radius:.3g} px, boundaries within {width} px"


def _class_lines(per_class: dict[str, dict[str, Any]]) -> list[str]:
    width = max(len("class"), *(len(name) for name in per_class)) + 2
    head = f"{'class':<{width}}" + "".join(f"{title:>12}" for title, _ in _CLASS_COLUMNS)
    rows = (
        f"{name:<{width}}" + "".join(f"{_number(scores[key]):>12}" for _, key in _CLASS_COLUMNS)
        for name, scores in per_class.items()
    )
    return [head, *rows]


def _number(value: float | None) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
