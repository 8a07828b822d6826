"""Images of several planes become one dataset: the same markers in the same order, on one scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    """The wanted planes of one image, in the order of the markers of the dataset."""

    stack: Stack
    indices: tuple[int, ...]

    def read(self) -> np.ndarray:
        """``(H, W, C)`` of the type that the file has.

        Raises
        ------
        NucplanError
            If the file is missing or damaged.
        """
        return read_planes(self.stack, self.indices)

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


def in_order(markers: tuple[str, ...], names: tuple[str, ...], indices: tuple[int, ...], stack: Stack) -> Planes:
    """The planes of an image whose markers are ``names``, in the order of ``markers``.

    Raises
    ------
    NucplanError
        If it has other markers.
    """
    if sorted(names) != sorted(markers):
        raise NucplanError(
            f"{stack.path} has the markers {', '.join(names)}, but other images have {', '.join(markers)}; give all "
            "images the same markers, or make two datasets."
        )
    plane_of = dict(zip(names, indices, strict=True))
    return Planes(stack, tuple(plane_of[marker] for marker in markers))


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
