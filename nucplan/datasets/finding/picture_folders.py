"""Pictures in a folder Images and annotations of the same stem in a folder Labels beside it.

So the authors of HoVer-Net pack their sets, and others after them. Upper and lower case are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from nucplan.datasets.raw import Part
from nucplan.datasets.source import check_folder
from nucplan.errors import NucplanError
from nucplan.images import IMAGE_SUFFIXES

# What macOS adds to zip files.
MACOS = "__MACOSX"


class Pair(NamedTuple):
    """A picture and its annotation.

    Attributes
    ----------
    name : the stem; where a stem is there twice in the source, all names begin with the folder that holds Images
    part : "Ts" below a folder whose name begins with "test"
    """

    name: str
    image: Path
    labels: Path
    part: Part


def find_pairs(
    folder: Path, suffixes: Sequence[str], image_folders: Sequence[str] = ("images",)
) -> tuple[list[Pair], tuple[str, ...]]:
    """All pairs in ``folder`` and below, sorted by folder and stem, and a sentence for each half that is missing.

    Parameters
    ----------
    folder : the source
    suffixes : of the annotation files, in small letters
    image_folders : what a folder of pictures may be called, in small letters

    Raises
    ------
    NucplanError
        If ``folder`` does not exist or holds no folders Images and Labels, or two files of one folder have one stem.
    """
    check_folder(folder)
    pairs, faults = [], []
    for images, labels in _picture_folders(folder, image_folders):
        if labels is None:
            faults.append(f"{images} has no folder Labels beside it; restore it or move the pictures away.")
            continue
        pictures, annotations = files_by_stem(images, IMAGE_SUFFIXES), files_by_stem(labels, suffixes)
        stems, missing = matched(pictures, annotations)
        faults.extend(missing)
        pairs += [Pair(s, pictures[s], annotations[s], part_of(pictures[s], folder)) for s in stems]
    if not pairs and not faults:
        raise NucplanError(
            f"{folder} has no folder {' or '.join(name.capitalize() for name in image_folders)} with pictures beside a "
            f"folder Labels with {' or '.join(suffixes)} files; give the folder that holds them."
        )
    return _distinct(pairs, image_folders), tuple(faults)


def matched(images: Mapping[str, Path], labels: Mapping[str, Path]) -> tuple[list[str], list[str]]:
    """The stems that are in both, and a sentence for each file that has no other half."""
    lonely = [
        f"{images[s]} has no annotation of the same stem; add it or remove the image." for s in images.keys() - labels
    ]
    orphans = [f"{labels[s]} has no image of the same stem; add it or remove it." for s in labels.keys() - images]
    return [stem for stem in images if stem in labels], sorted(lonely) + sorted(orphans)


def files_by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """The files with one of ``suffixes`` in ``folder`` and below, sorted by stem; hidden ones are left out.

    Raises
    ------
    NucplanError
        If two files have one stem.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in suffixes or path.name.startswith(".") or MACOS in path.parts:
            continue
        if path.stem in found:
            raise NucplanError(f"{path} and {found[path.stem]} have the same stem; rename or remove one of them.")
        found[path.stem] = path
    return dict(sorted(found.items()))


def part_of(path: Path, folder: Path) -> Part:
    """ "Ts" where a folder between ``folder`` and ``path`` has a name that begins with "test"."""
    between = path.relative_to(folder).parts[:-1]
    return "Ts" if any(name.casefold().startswith("test") for name in between) else "Tr"


def _picture_folders(folder: Path, image_folders: Sequence[str]) -> Iterator[tuple[Path, Path | None]]:
    for parent in [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]:
        if MACOS in parent.parts:
            continue
        below = {path.name.casefold(): path for path in parent.iterdir() if path.is_dir()}
        for name in image_folders:
            if name in below:
                yield below[name], below.get("labels")


def _distinct(pairs: list[Pair], image_folders: Sequence[str]) -> list[Pair]:
    if max(Counter(pair.name for pair in pairs).values(), default=1) == 1:
        return pairs
    return [pair._replace(name=f"{_set_folder(pair.image, image_folders)}_{pair.name}") for pair in pairs]


def _set_folder(image: Path, image_folders: Sequence[str]) -> str:
    """The name of the folder that holds Images."""
    images = next(parent for parent in image.parents if parent.name.casefold() in image_folders)
    return images.parent.name
