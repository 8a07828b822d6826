"""Images of several planes become one dataset: one list of markers, each matched by name, on one scale."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nucplan.datasets.multiplex.intensities import Scale, scale_of
from nucplan.datasets.multiplex.marker_tables import MarkerTable, unique_names
from nucplan.datasets.multiplex.planes import Stack, read_planes
from nucplan.datasets.source import Track
from nucplan.errors import NucplanError


@dataclass(frozen=True)
class Planes:
    """The wanted planes of one image, in the order of the markers of the dataset; None for one that it lacks."""

    stack: Stack
    indices: tuple[int | None, ...]

    def read(self) -> np.ndarray:
        """``(H, W, C)`` of the type that the file has, 0 for markers that the image lacks.

        Raises
        ------
        NucplanError
            If the file is missing or damaged.
        """
        there = [i for i in self.indices if i is not None]
        pixels = read_planes(self.stack, there)
        if len(there) == len(self.indices):
            return pixels
        padded = np.zeros((*pixels.shape[:2], len(self.indices)), pixels.dtype)
        padded[..., [i is not None for i in self.indices]] = pixels
        return padded

    def load(self, scale: Scale) -> tuple[np.ndarray, dict[str, int]]:
        """``(H, W, C)`` uint8 or uint16, and remarks.

        Raises
        ------
        NucplanError
            If the file is missing or damaged, or an intensity is no finite number.
        """
        return scale.apply(self.read(), self.stack.path)


def choose_planes(stack: Stack, table: MarkerTable | None) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The markers of one image and the plane of each, from a table or else from the file itself.

    Raises
    ------
    NucplanError
        If neither names the planes, both name the same markers in another order, or the table is of another length.
    """
    if table is None:
        if stack.names is None:
            raise NucplanError(
                f"{stack.path} does not name its {stack.planes} planes; add a markers.csv with the column "
                "marker_name and a row per plane."
            )
        return unique_names(stack.names), tuple(range(stack.planes))
    indices = table.planes(stack.planes, stack.path)
    if stack.names is not None:
        own = tuple(stack.names[i] for i in indices)
        if own != table.wanted and sorted(own) == sorted(table.wanted):
            raise NucplanError(
                f"{stack.path} names its planes {', '.join(own)}, but {table.path} has them in another order "
                f"({', '.join(table.wanted)}); correct one of them."
            )
    return unique_names(table.wanted), indices


def union(panels: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """All markers of several panels, in the spelling and order in which they come first."""
    found: dict[str, str] = {}
    for panel in panels:
        for key, name in zip(_keys(panel), panel, strict=True):
            found.setdefault(key, name)
    return tuple(found.values())


def match(markers: Sequence[str], names: Sequence[str]) -> tuple[int | None, ...]:
    """For each of ``markers`` its position in ``names``, or None; case, spaces, ``-``, ``_`` and ``.`` do not count.

    They do count for names that would else be one.
    """
    position = {key: i for i, key in enumerate(_keys(names))}
    return tuple(position.get(key) for key in _keys(markers))


def in_order(
    markers: tuple[str, ...], names: tuple[str, ...], indices: tuple[int, ...], stack: Stack
) -> tuple[Planes, tuple[str, ...]]:
    """The planes of an image whose markers are ``names``, in the order of ``markers``, and those that it lacks."""
    found = match(markers, names)
    absent = tuple(marker for marker, i in zip(markers, found, strict=True) if i is None)
    return Planes(stack, tuple(None if i is None else indices[i] for i in found)), absent


def panel_remarks(markers: Sequence[str], absent: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Which markers images lack, as a sentence for the user; none where all have all."""
    lacking = {marker: sum(marker in those for those in absent.values()) for marker in markers}
    named = ", ".join(f"{marker} ({number})" for marker, number in lacking.items() if number)
    if not named:
        return ()
    return (f"The panels of the images differ; markers, and how many of the {len(absent)} images lack them: {named}.",)


def _keys(names: Sequence[str]) -> Sequence[str]:
    keys = [re.sub(r"[\s\-_.]", "", name).casefold() for name in names]
    return keys if len(set(keys)) == len(keys) else names


def common_scale(images: Sequence[Planes], track: Track = iter) -> tuple[Scale, dict[Path, str]]:
    """How all images fit 8 or 16 bits, and what is wrong with those that cannot be read.

    Where their types do not tell, all are read, one at a time.
    """
    faults: dict[Path, str] = {}

    def readable() -> Iterator[np.ndarray]:
        for image in track(images):
            try:
                pixels = image.read()
            except NucplanError as error:
                faults[image.stack.path] = str(error)
                continue
            yield pixels

    return scale_of(readable(), {image.stack.dtype for image in images}), faults
