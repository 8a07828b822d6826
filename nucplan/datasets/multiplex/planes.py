"""TIFF files of several planes: OME-TIFF, MIBItiff and plain stacks, looked at first and read plane by plane later."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import tifffile

from nucplan.datasets.multiplex.ome_xml import read_ome_xml
from nucplan.decoders import silent_decoders
from nucplan.errors import NucplanError

TARGET, MASS = "channel.target", "channel.mass"
# TIFF tags count pixels per inch (2) or per centimetre (3).
MICRONS_PER_UNIT = {2: 25_400.0, 3: 10_000.0}
# Besides C, what tifffile calls the axis of planes whose meaning a file does not tell, and of samples in a pixel.
PLANE_AXES = "CQIS"

Found = TypeVar("Found")


@dataclass(frozen=True)
class Stack:
    """What the header of a file says.

    Attributes
    ----------
    planes : how many there are
    names : one per plane, or None where the file does not name them
    dtype : of the pixels
    mpp : microns per pixel, or None
    pages : the pages that hold a plane each (MIBItiff); None where the first series of the file holds all planes
    is_rgb : whether the planes are the colours of a picture
    """

    path: Path
    planes: int
    names: tuple[str, ...] | None
    dtype: np.dtype
    mpp: float | None = None
    pages: tuple[int, ...] | None = None
    is_rgb: bool = False


def read_header(path: Path) -> Stack:
    """Look at a TIFF without reading its pixels.

    Raises
    ------
    NucplanError
        If it is missing or damaged, or has several images, focal planes or time points.
    """
    return _opened(path, _header)


def read_planes(stack: Stack, indices: Sequence[int]) -> np.ndarray:
    """The planes ``indices`` as ``(H, W, len(indices))``, of the type that the file has.

    Raises
    ------
    NucplanError
        If the file is missing or damaged.
    """

    def read(file: tifffile.TiffFile, path: Path) -> np.ndarray:
        if stack.pages is not None:
            return _from_pages([file.pages[stack.pages[i]] for i in indices])
        series = file.series[0]
        axis, size = _plane_axis(series, path), tuple(n for name, n in _sizes(series) if name in "YX")
        if len(series.pages) == stack.planes and series.keyframe.shape == size:
            return _from_pages([series.pages[i] for i in indices])
        pixels = series.asarray() if axis is None else np.moveaxis(series.asarray(), axis, 0)
        return np.moveaxis(pixels.reshape(stack.planes, *size)[list(indices)], 0, -1)

    return _opened(stack.path, read)


def _from_pages(pages: Sequence[tifffile.TiffPage | tifffile.TiffFrame]) -> np.ndarray:
    """``(H, W, C)`` of pages of one plane each; no more than these are in memory."""
    found = np.empty((len(pages), *pages[0].shape), pages[0].dtype)
    for plane, page in zip(found, pages, strict=True):
        plane[:] = page.asarray()
    return np.moveaxis(found, 0, -1)


def _opened(path: Path, look: Callable[[tifffile.TiffFile, Path], Found]) -> Found:
    if not path.is_file():
        raise NucplanError(f"{path} is missing; restore it.")
    # tifffile meets damaged files with whatever its struct and codec calls raise.
    try:
        with silent_decoders(), tifffile.TiffFile(path) as file:
            return look(file, path)
    except NucplanError:
        raise
    except Exception as error:
        raise NucplanError(f"{path} is damaged or cut short ({error}); copy or export it again.") from None


def _header(file: tifffile.TiffFile, path: Path) -> Stack:
    if _is_cut(file):
        raise NucplanError(f"{path} is damaged or cut short; copy it again.")
    if found := _mibi_pages(file):
        pages, names = zip(*found, strict=True)
        first = file.pages[pages[0]]
        return Stack(path, len(pages), names, first.dtype, _resolution(first), pages)
    series = file.series[0]
    if sum(other.shape == series.shape for other in file.series) > 1:
        raise NucplanError(f"{path} holds {len(file.series)} images; save each in a file of its own.")
    _check_whole(series, path)
    axis = _plane_axis(series, path)
    planes = 1 if axis is None else series.shape[axis]
    is_rgb = axis is not None and series.axes[axis] == "S" and series.keyframe.photometric.name == "RGB"
    described = read_ome_xml(file.ome_metadata, path) if file.is_ome else None
    names = described.names if described and len(described.names or ()) == planes else None
    return Stack(path, planes, names, series.dtype, described and described.mpp, is_rgb=is_rgb)


def _is_cut(file: tifffile.TiffFile) -> bool:
    """Whether pixels, or a page that the one before it or ImageJ announces, are not there; tifffile passes over it."""
    size, series = file.filehandle.size, file.series[0]
    ends = [start + count for p in file.pages for start, count in zip(p.dataoffsets, p.databytecounts, strict=True)]
    # Pages that follow each other may be one block that the first page stands for.
    block = series.dataoffset + series.nbytes if series.dataoffset is not None else 0
    images = (file.imagej_metadata or {}).get("images", 1)
    return max(block, *ends, _next_page(file)) > size or images * series.keyframe.size > series.size


def _next_page(file: tifffile.TiffFile) -> int:
    """Where the page after the last one that tifffile found should be; 0 if that was the last."""
    handle, form, start = file.filehandle, file.tiff, file.pages[-1].offset
    handle.seek(start)
    (tags,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
    handle.seek(start + form.tagnosize + tags * form.tagsize)
    return struct.unpack(form.offsetformat, handle.read(form.offsetsize))[0]


def _check_whole(series: tifffile.TiffPageSeries, path: Path) -> None:
    """Refuse an image with planes in a file that is missing: tifffile would put zeros there."""
    if any(page is None for page in series.pages):
        raise NucplanError(f"{path} lacks planes that its header lists; restore the files that belong to it.")


def _plane_axis(series: tifffile.TiffPageSeries, path: Path) -> int | None:
    """Which axis counts the planes; None where there is but one plane."""
    others = [(name, n) for name, n in _sizes(series) if name not in "YX" and n > 1]
    if any(name not in PLANE_AXES for name, _ in others) or len(others) > 1:
        sizes = ", ".join(f"{name} {n}" for name, n in others)
        raise NucplanError(
            f"{path} has several focal planes, time points or the like ({sizes}); save one of them, "
            "or a projection, with channels alone."
        )
    return series.axes.index(others[0][0]) if others else None


def _sizes(series: tifffile.TiffPageSeries) -> list[tuple[str, int]]:
    return list(zip(series.axes, series.shape, strict=True))


def _mibi_pages(file: tifffile.TiffFile) -> list[tuple[int, str]]:
    """Number and marker of each page whose description, in JSON, names a target; optical pictures have none."""
    found = []
    for index, page in enumerate(file.pages):
        described = _json(page.description)
        if described is None:
            # Files of other kinds have no such page at all, and may have very many.
            break
        if TARGET in described:
            found.append((index, str(described[TARGET] or described.get(MASS, f"channel_{index + 1}"))))
    return found


def _json(text: str) -> dict | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _resolution(page: tifffile.TiffPage) -> float | None:
    microns, per_unit = MICRONS_PER_UNIT.get(int(page.resolutionunit)), page.resolution[0]
    return microns / per_unit if microns and per_unit > 0 else None
