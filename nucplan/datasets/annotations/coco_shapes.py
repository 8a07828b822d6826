"""The shapes of COCO annotations: polygons, run-length codes, boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

from nucplan.datasets.annotations.polygons import Outline, Stamp, stamp_of
from nucplan.errors import NucplanError


def shape_of(annotation: dict[str, Any], size: tuple[int, int], where: str) -> Outline | Stamp:
    """The pixels of one annotation, or its outline; of its box where it has no segmentation.

    Parameters
    ----------
    annotation : as in the JSON file, with its class, 1 to K, as ``class``
    size : of the image, H and W
    where : names the annotation in messages

    Raises
    ------
    NucplanError
        If the segmentation is malformed or made for an image of another size.
    """
    segmentation, class_id = annotation.get("segmentation"), annotation["class"]
    try:
        if isinstance(segmentation, dict):
            return stamp_of(_decode(segmentation, size, where), class_id)
        if segmentation:
            polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]
            rings = [np.asarray(polygon, np.float64).reshape(-1, 2) for polygon in polygons]
            return Outline(rings, class_id, joined=True)
        x, y, width, height = map(float, annotation["bbox"])
    except NucplanError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError):
        raise NucplanError(f"{where} has no proper segmentation or box; export the file again.") from None
    return Outline([np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])], class_id)


def _decode(code: dict[str, Any], size: tuple[int, int], where: str) -> np.ndarray:
    """The mask ``(H, W)`` of a run-length code, which goes down the columns."""
    if tuple(code["size"]) != size:
        raise NucplanError(f"{where} is for {code['size']} pixels, but its image has {list(size)}; export it again.")
    counts = code["counts"]
    runs = np.array(_unpacked(counts) if isinstance(counts, str) else counts, np.int64)
    if (runs < 0).any() or runs.sum() != size[0] * size[1]:
        raise ValueError("the runs do not add up to the image")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size, order="F")


def _unpacked(text: str) -> list[int]:
    """The runs in a compressed code, as pycocotools writes it, which leaves pixels undefined where a code is cut short.

    Each character holds 5 bits, lowest first, and whether more follow; from the fourth run on, the difference to the
    run before the last is stored.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in text.encode("ascii"):
        bits = character - ord("0")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    return runs
