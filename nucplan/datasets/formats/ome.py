"""Multiplex images as OME-TIFF, MIBItiff or plain stacks, each with a label map.

Markers come from ``markers.csv`` (MCMICRO) or ``panel.csv`` (steinbock) where there is one, else from the files. All
images must have the same markers; their order may differ.

Source: OME-TIFF, https://docs.openmicroscopy.org/ome-model/; MIBItiff, https://github.com/ionpath/mibilib.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from nucplan.datasets.annotations.label_files import read_ids
from nucplan.datasets.annotations.layers import ids_of
from nucplan.datasets.finding.label_pairs import case_name, pair
from nucplan.datasets.multiplex.marker_tables import find_marker_table
from nucplan.datasets.multiplex.panels import Planes, choose_planes, find_factors, in_order, told
from nucplan.datasets.multiplex.planes import Stack, read_header
from nucplan.datasets.source import Annotated, Case, Format, Source, Track, check_folder
from nucplan.errors import NucplanError
from nucplan.images import LABEL_SUFFIXES, TIFF_SUFFIXES

LAYOUT = """SOURCE/<stem>.ome.tif|tif       planes CYX, YXC or ZCYX with one Z (or in SOURCE/images or SOURCE/img)
SOURCE/<stem>_mask.tif|png      instance ids (_masks, _labels; or in SOURCE/masks or SOURCE/labels, also as <stem>)
SOURCE/markers.csv              optional: marker_name[,channel_number,cycle_number,remove], a row per plane
SOURCE/panel.csv                optional: channel,name[,keep], a row per plane"""

IMAGES, MASKS = ("images", "img"), ("masks", "labels")
ENDINGS = ("_masks", "_mask", "_labels", "_label")


def read(folder: Path, track: Track = iter) -> Source:
    """List the images by their headers; where intensities do not fit 16 bits, all are read once for their range.

    Raises
    ------
    NucplanError
        If the folder does not exist or holds no image, or its marker table is damaged.
    """
    check_folder(folder)
    found, lonely = pair(*_files(folder), missing="mask of the same stem")
    faults = list(lonely)
    table = find_marker_table(folder)
    images: dict[str, Planes] = {}
    markers: tuple[str, ...] | None = None
    for stem, files in track(found.items()):
        try:
            stack = _header(files.image)
            names, indices = choose_planes(stack, table)
            markers = markers or names
            images[stem] = in_order(markers, names, indices, stack)
        except NucplanError as error:
            faults.append(str(error))
    factors, unread = find_factors(list(images.values()), track)
    mpp, remarks = _pixel_size([image.stack for image in images.values()])
    return Source(
        cases=[
            Case(case_name(stem), image.stack.path, partial(_load, image, found[stem].labels, factors))
            for stem, image in images.items()
            if image.stack.path not in unread
        ],
        mpp=mpp,
        markers=markers,
        faults=(*faults, *unread.values()),
        remarks=(*remarks, *told(factors, markers or ())),
    )


def _files(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and masks by stem."""
    images = next((folder / name for name in IMAGES if (folder / name).is_dir()), folder)
    masks = next((folder / name for name in MASKS if (folder / name).is_dir()), None)
    pictures = _by_stem(images, TIFF_SUFFIXES)
    if masks is not None:
        return pictures, _by_image(_by_stem(masks, LABEL_SUFFIXES))
    beside = {s: path for s, path in _by_stem(images, LABEL_SUFFIXES).items() if s.endswith(ENDINGS)}
    pictures = {stem: path for stem, path in pictures.items() if stem not in beside}
    if not pictures:
        raise NucplanError(f"{images} holds no TIFF image; see nucplan_convert --list ome.")
    return pictures, _by_image(beside)


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Files by name without ``.tif`` or ``.ome.tif``."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        stem = path.stem[:-4] if path.stem.lower().endswith(".ome") else path.stem
        if stem in found:
            raise NucplanError(f"{path} and {found[stem].name} have the same stem; rename or remove one of them.")
        found[stem] = path
    return found


def _by_image(masks: dict[str, Path]) -> dict[str, Path]:
    """Masks by the stem of their image."""
    found: dict[str, Path] = {}
    for stem, path in masks.items():
        image = next((stem.removesuffix(ending) for ending in ENDINGS if stem.endswith(ending)), stem)
        if image in found:
            raise NucplanError(f"{path} and {found[image]} are both masks of one image; move one of them away.")
        found[image] = path
    return found


def _header(path: Path) -> Stack:
    stack = read_header(path)
    if stack.is_rgb:
        raise NucplanError(f"{path} is an RGB picture and no stack of markers; convert it with the format 'folder'.")
    return stack


def _pixel_size(stacks: list[Stack]) -> tuple[float | None, tuple[str, ...]]:
    """The pixel size of all images, if it is one."""
    sizes = {stack.mpp: stack.path for stack in stacks}
    if len(sizes) <= 1:
        return next(iter(sizes), None), ()
    named = ", ".join(f"{path.name} {mpp or 'none'}" for mpp, path in sizes.items())
    if None not in sizes and max(sizes) - min(sizes) <= 1e-3 * max(sizes):
        return next(iter(sizes)), ()
    return None, (f"The pixel sizes of the images differ ({named}), so that none is kept; give one with --mpp.",)


def _load(image: Planes, mask: Path, factors: np.ndarray | None) -> Annotated:
    pixels, remarks = image.read(factors)
    instances = read_ids(mask)
    return Annotated(pixels, instances, dict.fromkeys(ids_of(instances), 1), remarks=remarks)


FORMAT = Format(
    "ome",
    "multiplex",
    "OME-TIFF, MIBItiff or stacks with a table of markers",
    LAYOUT,
    read,
    classes="1",
    mpp="from OME-XML or TIFF tags",
    documented="https://docs.openmicroscopy.org/ome-model/",
)
