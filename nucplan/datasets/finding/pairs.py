"""Images and their annotations, matched by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)
Keyed = Mapping[Key, Path] | Iterable[tuple[Key, Path]]


class Pair(NamedTuple):
    """An image with its annotation file."""

    image: Path
    annotation: Path


def pair_up(images: Keyed[Key], annotations: Keyed[Key], what: str = "annotation") -> tuple[dict[Key, Pair], list[str]]:
    """Match images and annotation files that have the same key.

    Parameters
    ----------
    images, annotations : key and path of each, as `dict` takes them
    what : an annotation is called in messages

    Returns
    -------
    pairs : by key, in the order of the images
    faults : a sentence for each file without its other half, and for each two files of one kind with the same key
    """
    image_of, annotation_of = _by_key(images), _by_key(annotations)
    pairs, faults = {}, []
    for key in dict.fromkeys((*image_of, *annotation_of)):
        found = image_of[key], annotation_of[key]
        if fault := _fault(*found, what):
            faults.append(fault)
        else:
            pairs[key] = Pair(*(path for (path,) in found))
    return pairs, faults


def by_stem(paths: Iterable[Path]) -> list[tuple[str, Path]]:
    """Paths with their stems as keys for `pair_up`."""
    return [(path.stem, path) for path in paths]


def _fault(images: list[Path], annotations: list[Path], what: str) -> str | None:
    for paths in (images, annotations):
        if len(paths) > 1:
            return f"{paths[0]} and {paths[1]} have the same name; rename or remove one of them."
    if not annotations:
        return f"{images[0]} has no {what} of the same name; add it or remove the image."
    if not images:
        return f"{annotations[0]} has no image of the same name; add it or remove the {what}."
    return None


def _by_key(files: Keyed[Key]) -> dict[Key, list[Path]]:
    found: dict[Key, list[Path]] = defaultdict(list)
    for key, path in files.items() if isinstance(files, Mapping) else files:
        found[key].append(path)
    return found
