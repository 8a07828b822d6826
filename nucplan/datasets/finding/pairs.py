"""Images and their annotations: found below a folder, matched by name, told apart into training and test."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import NamedTuple

from nucplan.datasets.raw import Part
from nucplan.errors import NucplanError

# The word, on its own or as in MoNuSegTestData; neither "latest" nor "testis".
_TEST = re.compile(r"(?<![A-Za-z])(?i:test(?:ing)?)(?![a-z])|(?<=[a-z])Test(?:ing)?(?![a-z])")


class Pair(NamedTuple):
    """An image with its annotation file."""

    image: Path
    annotation: Path


def files_below(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """Files below ``folder`` whose names end in one of ``suffixes`` (lower case), sorted.

    Hidden files and what macOS adds to archives are left out.
    """
    endings = tuple(suffixes)
    found = (path for path in folder.rglob("*") if path.name.lower().endswith(endings) and path.is_file())
    return sorted(path for path in found if not _is_clutter(path.relative_to(folder)))


def only_folder(folder: Path, name: str) -> Path:
    """The folder of that name at or below ``folder``.

    Raises
    ------
    NucplanError
        If there is none, or there are several and none of them directly in ``folder``.
    """
    if (folder / name).is_dir():
        return folder / name
    found = [p for p in sorted(folder.rglob(name)) if p.is_dir() and not _is_clutter(p.relative_to(folder))]
    if not found:
        raise NucplanError(f"{folder} has no folder '{name}' in it or below; check the path and the format.")
    if len(found) > 1:
        raise NucplanError(f"{found[0]} and {found[1]} are two datasets; give the folder that holds one of them.")
    return found[0]


def pair_up(
    images: Iterable[tuple[Hashable, Path]], annotations: Iterable[tuple[Hashable, Path]]
) -> tuple[list[Pair], list[str]]:
    """Match images and annotation files that have the same key.

    Returns
    -------
    pairs : in the order of the images
    faults : a sentence for each file without its other half, and for each two files of one kind with the same key
    """
    by_key = _by_key(images), _by_key(annotations)
    pairs, faults = [], []
    for key in dict.fromkeys((*by_key[0], *by_key[1])):
        image, annotation = (found.get(key, []) for found in by_key)
        twice = next((files for files in (image, annotation) if len(files) > 1), None)
        if twice:
            faults.append(f"{twice[0]} and {twice[1]} have the same name; remove one of them.")
        elif not annotation:
            faults.append(f"{image[0]} has no annotation of the same name; add it or remove the image.")
        elif not image:
            faults.append(f"{annotation[0]} has no image of the same name; add it or remove the annotation.")
        else:
            pairs.append(Pair(image[0], annotation[0]))
    return pairs, faults


def part_of(path: Path, folder: Path) -> Part:
    """``Ts`` where a folder between ``folder`` and the file has the word "test" in its name."""
    return "Ts" if any(map(says_test, path.relative_to(folder).parts[:-1])) else "Tr"


def says_test(name: str) -> bool:
    """Whether a name has the word "test" or "testing" in it."""
    return _TEST.search(name) is not None


def _by_key(files: Iterable[tuple[Hashable, Path]]) -> dict[Hashable, list[Path]]:
    found: dict[Hashable, list[Path]] = defaultdict(list)
    for key, path in files:
        found[key].append(path)
    return found


def _is_clutter(path: Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
