"""Pictures in a folder Images and annotations of the same stem in a folder Labels beside it.

So the authors of HoVer-Net pack their sets, and others after them. Upper and lower case are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from nucplan.datasets.finding.case_names import distinct_names
from nucplan.datasets.finding.files import files_below, folders_below, folders_in
from nucplan.datasets.finding.pairs import by_stem, pair_up
from nucplan.datasets.finding.parts import part_of
from nucplan.datasets.raw import Part
from nucplan.datasets.source import check_folder
from nucplan.errors import NucplanError
from nucplan.images import IMAGE_SUFFIXES

IMAGES = "images"


class NamedPair(NamedTuple):
    """A picture and its annotation.

    Attributes
    ----------
    name : the stem; where a stem is there twice in the source, all names begin with the folder that holds Images
    part : "Ts" below a folder with the word "test" in its name
    """

    name: str
    image: Path
    annotation: Path
    part: Part


def find_pairs(folder: Path, suffixes: Sequence[str]) -> tuple[list[NamedPair], tuple[str, ...]]:
    """All pairs in ``folder`` and below, sorted by folder and stem, and a sentence for each half that is missing.

    Parameters
    ----------
    folder : the source
    suffixes : of the annotation files, in small letters

    Raises
    ------
    NucplanError
        If ``folder`` does not exist or holds no folders Images and Labels.
    """
    check_folder(folder)
    pairs: list[NamedPair] = []
    faults: list[str] = []
    for images, labels in _picture_folders(folder):
        if labels is None:
            faults.append(f"{images} has no folder Labels beside it; restore it or move the pictures away.")
            continue
        found, lonely = pair_up(by_stem(files_below(images, IMAGE_SUFFIXES)), by_stem(files_below(labels, suffixes)))
        faults.extend(lonely)
        pairs += [NamedPair(stem, *found[stem], part_of(found[stem].image, folder)) for stem in sorted(found)]
    if not pairs and not faults:
        raise NucplanError(
            f"{folder} has no folder Images with pictures beside a folder Labels with {' or '.join(suffixes)} files; "
            "give the folder that holds them."
        )
    names = distinct_names([(pair.name, _set_folder(pair.image)) for pair in pairs])
    return [pair._replace(name=name) for pair, name in zip(pairs, names, strict=True)], tuple(faults)


def _picture_folders(folder: Path) -> Iterator[tuple[Path, Path | None]]:
    for parent in [folder, *folders_below(folder)]:
        below = {path.name.casefold(): path for path in folders_in(parent)}
        if IMAGES in below:
            yield below[IMAGES], below.get("labels")


def _set_folder(image: Path) -> str:
    """The name of the folder that holds Images."""
    images = next(parent for parent in image.parents if parent.name.casefold() == IMAGES)
    return images.parent.name
