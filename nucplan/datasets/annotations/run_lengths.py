"""Run lengths as Kaggle's nuclei challenge writes them: a line of a CSV per nucleus."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from nucplan.errors import NucplanError

COLUMNS = ("ImageId", "EncodedPixels")


def read_run_lengths(path: Path) -> dict[str, list[str]]:
    """The runs of each nucleus, as text, by image; an image whose lines are all empty has an empty list.

    Raises
    ------
    NucplanError
        If the file is no UTF-8 text or lacks a column.
    """
    found: dict[str, list[str]] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            rows = csv.DictReader(handle)
            if not set(COLUMNS) <= set(rows.fieldnames or ()):
                raise NucplanError(f"{path} needs a first line with the columns {' and '.join(COLUMNS)}.")
            for row in rows:
                nuclei = found.setdefault(row["ImageId"], [])
                if runs := (row["EncodedPixels"] or "").strip():
                    nuclei.append(runs)
    except UnicodeDecodeError as error:
        raise NucplanError(f"{path} is not UTF-8 text ({error.reason}); download it again.") from None
    return found


def decode_runs(text: str, shape: tuple[int, int], origin: Path) -> np.ndarray:
    """The mask ``(H, W)`` bool of ``start length start length ...``; pixels count from 1, down the columns.

    Raises
    ------
    NucplanError
        If the text is no list of pairs, or a run lies outside of the image; the message names ``origin``.
    """
    try:
        starts, lengths = np.array(text.split(), np.int64).reshape(-1, 2).T
    except (ValueError, OverflowError):
        raise NucplanError(f"{origin} has the runs '{text[:20]}', which are no pairs of numbers; correct it.") from None
    mask = np.zeros(shape[0] * shape[1], bool)
    if (starts < 1).any() or (lengths < 1).any() or (starts - 1 > mask.size - lengths).any():
        raise NucplanError(f"{origin} has runs '{text[:20]}' outside of an image of {shape}; check which image it is.")
    for start, length in zip((starts - 1).tolist(), lengths.tolist(), strict=True):
        mask[start : start + length] = True
    return mask.reshape(shape, order="F")
