"""What NuCLS and PanopTILs share: slides in the names of images, and five official splits by hospital."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nucplan.datasets.finding.files import files_below
from nucplan.datasets.finding.tcga import hospital, patient
from nucplan.datasets.source import Option
from nucplan.datasets.tables import read_rows
from nucplan.errors import NucplanError

NONE = "none"
FOLD_OPTION = Option(
    "fold", "take the test slides of an official split (train_test_splits) as the test part", NONE, (NONE, *"12345")
)


def slide_of(name: str) -> str:
    """The slide of an image, which is its name up to the first underscore: ``TCGA-A2-A0CM-DX1``."""
    return name.partition("_")[0]


# A group is one of these, of the name of an image.
GROUPS: dict[str, Callable[[str], str]] = {
    "patient": lambda name: patient(slide_of(name)),
    "slide": slide_of,
    "hospital": lambda name: hospital(slide_of(name)),
}
GROUP_OPTION = Option("group", "what may not be in both parts", "patient", tuple(GROUPS))


def slides_of_fold(folder: Path, fold: str) -> set[str]:
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
    return {slide_of(row["slide_name"]) for row in read_rows(found[0], ["slide_name"])}
