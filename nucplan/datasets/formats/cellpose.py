"""Cellpose's layout: images and masks in one folder, told apart by the ends of their names.

Source: https://cellpose.readthedocs.io/en/latest/train.html and outputs.html.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from nucplan.datasets.annotations.class_maps import one_class
from nucplan.datasets.annotations.label_files import read_ids
from nucplan.datasets.annotations.pickles import read_objects
from nucplan.datasets.finding.case_names import case_name, distinct_names
from nucplan.datasets.finding.cellpose_names import SEGMENTATION, Names
from nucplan.datasets.multiplex.intensities import Scale
from nucplan.datasets.multiplex.marker_tables import unique_names
from nucplan.datasets.multiplex.panels import Planes, common_scale, in_order, panel_remarks, union
from nucplan.datasets.multiplex.planes import Stack, read_header
from nucplan.datasets.raw import Part
from nucplan.datasets.source import Annotated, Case, Format, Option, Source, Track, check_folder
from nucplan.errors import NucplanError
from nucplan.images import TIFF_SUFFIXES, checked_label_map, read_image

LAYOUT = """SOURCE/<x>.tif|png|jpg                  grey, RGB, or TIFF of several planes; perhaps in train/ and test/
SOURCE/<x>_masks.tif|tiff|png           instance ids; else <x>_cp_masks.*, else <x>_seg.npy"""

PARTS: dict[str, Part] = {"train": "Tr", "test": "Ts"}


def read(
    folder: Path, track: Track = iter, mask_filter: str = "_masks", img_filter: str = "", trust: bool = False
) -> Source:
    """List the images, TIFFs by their headers; ``test`` becomes the test part.

    Raises
    ------
    NucplanError
        If the folder does not exist, no file is an image, or ``mask_filter`` is empty.
    """
    check_folder(folder)
    if not mask_filter:
        raise NucplanError("mask_filter is empty, so that masks could not be told from images; give the end of names.")
    names = Names(mask_filter, img_filter)
    pairs: dict[Path, tuple[Path, Part]] = {}
    faults: list[str] = []
    for place, part in _places(folder).items():
        images = names.images_in(place)
        faults.extend(names.orphans(place, images))
        for path in images:
            if (masks := names.masks_of(path)) is None:
                wanted = f"{names.stem(path)}{mask_filter}.tif, .tiff or .png"
                faults.append(f"{path} has no {wanted}; add it or remove the image.")
            else:
                pairs[path] = (masks, part)
    if not pairs and not faults:
        raise NucplanError(f"{folder} holds no image; expected are <x>.tif and <x>{mask_filter}.tif.")
    headers, more_faults = _headers(list(pairs))
    stacks, markers, absent, strange = _panels(headers)
    scale, unread = common_scale(list(stacks.values()), track)
    refused = more_faults | strange | unread
    case_names = distinct_names([(case_name(names.stem(path)), path.parent.name) for path in pairs])
    return Source(
        cases=[
            Case(name, path, partial(_load, path, masks, stacks.get(path), scale, trust), part, absent.get(path, ()))
            for name, (path, (masks, part)) in zip(case_names, pairs.items(), strict=True)
            if path not in refused
        ],
        markers=markers,
        factors=scale.factors if markers else None,
        faults=(*faults, *refused.values()),
        remarks=(*scale.remarks(markers or ()), *panel_remarks(markers or (), absent)),
    )


def _places(folder: Path) -> dict[Path, Part]:
    return {folder / name: part for name, part in PARTS.items() if (folder / name).is_dir()} or {folder: "Tr"}


def _headers(images: list[Path]) -> tuple[dict[Path, Stack], dict[Path, str]]:
    """The headers of images of several planes, and faults."""
    headers: dict[Path, Stack] = {}
    faults: dict[Path, str] = {}
    for path in images:
        if path.suffix.lower() not in TIFF_SUFFIXES:
            continue
        try:
            stack = read_header(path)
        except NucplanError as error:
            faults[path] = str(error)
            continue
        if stack.planes > 1 and not stack.is_rgb:
            headers[path] = stack
    return headers, faults


Panels = tuple[dict[Path, Planes], tuple[str, ...] | None, dict[Path, tuple[str, ...]], dict[Path, str]]


def _panels(headers: dict[Path, Stack]) -> Panels:
    """How to read each image, all markers, those that each image lacks, and faults; by name where all have names."""
    if headers and all(stack.names for stack in headers.values()):
        names = {path: unique_names(stack.names) for path, stack in headers.items()}
        markers = union(names.values())
        found = {path: in_order(markers, names[path], tuple(range(s.planes)), s) for path, s in headers.items()}
        return {p: planes for p, (planes, _) in found.items()}, markers, {p: a for p, (_, a) in found.items()}, {}
    stacks: dict[Path, Planes] = {}
    faults: dict[Path, str] = {}
    markers = None
    for path, stack in headers.items():
        markers = markers or stack.names or tuple(f"channel_{i + 1}" for i in range(stack.planes))
        if stack.planes == len(markers):
            stacks[path] = Planes(stack, tuple(range(stack.planes)))
        else:
            faults[path] = f"{path} has {stack.planes} planes, but others have {len(markers)}; make two datasets."
    return stacks, markers, {}, faults


def _load(image: Path, masks: Path, planes: Planes | None, scale: Scale, trust: bool) -> Annotated:
    pixels, remarks = (read_image(image), {}) if planes is None else planes.load(scale)
    instances = _segmentation(masks, trust) if masks.name.endswith(SEGMENTATION) else read_ids(masks)
    return one_class(pixels, instances)._replace(remarks=remarks)


def _segmentation(path: Path, trust: bool) -> np.ndarray:
    """The masks ``(H, W)`` int32 of the dict in a ``_seg.npy`` file."""
    found = read_objects(path, trust)
    if not isinstance(found, dict) or not isinstance(found.get("masks"), np.ndarray):
        raise NucplanError(f"{path} holds no dict with an array 'masks'; save it again in Cellpose.")
    masks = np.squeeze(found["masks"])
    if masks.ndim != 2:
        raise NucplanError(f"{path} holds masks of shape {masks.shape}; save one plane per file.")
    return checked_label_map(masks, path)


FORMAT = Format(
    "cellpose",
    "any",
    "images and masks in one folder, as Cellpose trains on and writes them",
    LAYOUT,
    read,
    classes="1",
    documented="https://cellpose.readthedocs.io",
    options=(
        Option("mask_filter", "how the names of masks end; _seg.npy for Cellpose's own files", "_masks"),
        Option("img_filter", "how the names of images end", ""),
    ),
    may_hold_pickles=True,
)
