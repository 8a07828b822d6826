"""Images of several planes become one dataset: the same markers in the same order, 8 or 16 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nucplan.datasets.annotations.layers import counted
from nucplan.datasets.multiplex.marker_tables import MarkerTable, unique_names
from nucplan.datasets.multiplex.planes import Stack, read_planes
from nucplan.datasets.source import Track
from nucplan.errors import NucplanError

STORED = (np.dtype(np.uint8), np.dtype(np.uint16))
HIGHEST = 65_535
NEGATIVE = "intensities below 0, set to 0"


@dataclass(frozen=True)
class Planes:
    """The wanted planes of one image, in the order of the markers of the dataset."""

    stack: Stack
    indices: tuple[int, ...]

    def read(self, factors: np.ndarray | None = None) -> tuple[np.ndarray, dict[str, int]]:
        """``(H, W, C)`` uint8 or uint16 as stored, or uint16 multiplied by ``factors`` (C,); and remarks.

        Raises
        ------
        NucplanError
            If the file is damaged or an intensity is no number.
        """
        pixels = read_planes(self.stack, self.indices)
        if factors is None:
            return pixels, {}
        scaled, negative = np.empty(pixels.shape, np.uint16), 0
        for channel, factor in enumerate(factors.tolist()):
            plane = pixels[..., channel]
            if not np.isfinite(plane).all():
                raise NucplanError(f"{self.stack.path} holds intensities that are no numbers; export it again.")
            negative += int((plane < 0).sum())
            scaled[..., channel] = np.clip(np.rint(plane * factor), 0, HIGHEST)
        return scaled, counted([(NEGATIVE, negative)])


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


def find_factors(images: Sequence[Planes], track: Track = iter) -> tuple[np.ndarray | None, dict[Path, str]]:
    """What to multiply each marker by so that all of the dataset fits 16 bits; None where all is 8 or 16 bits already.

    Whole numbers up to 65535 stay as they are; anything else is stretched to that range. One image is in memory at a
    time.

    Returns
    -------
    factors : (C,) float64 or None
    faults : what is wrong with images that cannot be read
    """
    if all(image.stack.dtype in STORED for image in images):
        return None, {}
    faults: dict[Path, str] = {}
    highest = np.zeros(len(images[0].indices))
    whole = all(image.stack.dtype.kind in "bui" for image in images)
    for image in track(images):
        try:
            pixels = read_planes(image.stack, image.indices)
        except NucplanError as error:
            faults[image.stack.path] = str(error)
            continue
        highest = np.maximum(highest, np.nan_to_num(pixels.max(axis=(0, 1)).astype(np.float64), posinf=0.0))
    if whole and highest.max() <= HIGHEST:
        return np.ones(len(highest)), faults
    return np.where(highest > 0, HIGHEST / np.where(highest > 0, highest, 1.0), 1.0), faults


def told(factors: np.ndarray | None, markers: tuple[str, ...]) -> tuple[str, ...]:
    """The factors as a sentence for the user; none where nothing was changed."""
    if factors is None or (factors == 1).all():
        return ()
    named = ", ".join(f"{marker} x {factor:.6g}" for marker, factor in zip(markers, factors.tolist(), strict=True))
    return (f"Intensities were multiplied by one factor per marker to fit 16 bits: {named}.",)
