"""The five official splits that NuCLS and PanopTILs share, by the hospital that gave the slide."""

from __future__ import annotations

import csv
from pathlib import Path

from nucplan.datasets.finding.pairs import files_below
from nucplan.datasets.source import Option
from nucplan.errors import NucplanError

NONE = "none"
OPTION = Option(
    "fold", "take the test slides of an official split (train_test_splits) as the test part", NONE, (NONE, *"12345")
)


def slide_of(name: str) -> str:
    """The slide of an image, which is its name up to the first underscore: ``TCGA-A2-A0CM-DX1``."""
    return name.partition("_")[0]


def test_slides(folder: Path, fold: str) -> set[str]:
    """The slides of ``fold_<fold>_test.csv`` at or below ``folder``, or beside it; none for the fold "none".

    Raises
    ------
    NucplanError
        If the file is not there or has no column ``slide_name``.
    """
    if fold == NONE:
        return set()
    name = f"fold_{fold}_test.csv"
    beside = folder.parent / "train_test_splits" / name
    found = [*files_below(folder, [name]), *([beside] if beside.is_file() else [])]
    if not found:
        raise NucplanError(f"{folder} has no {name} in it or below; put the folder train_test_splits there.")
    with open(found[0], encoding="utf-8-sig", newline="") as handle:
        rows = csv.DictReader(handle)
        if "slide_name" not in (rows.fieldnames or ()):
            raise NucplanError(f"{found[0]} has no column slide_name; download it again.")
        return {slide_of(row["slide_name"]) for row in rows}
