"""Cellpose's layout: images and masks in one folder, told apart by the ends of their names.

Source: https://cellpose.readthedocs.io/en/latest/train.html and outputs.html.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nucplan.datasets.label_files import read_ids
from nucplan.datasets.layers import ids_of
from nucplan.datasets.multiplex import Planes, find_factors, told
from nucplan.datasets.pairs import Pair, case_name
from nucplan.datasets.pickles import read_objects
from nucplan.datasets.planes import read_header
from nucplan.datasets.raw import Part
from nucplan.datasets.source import Annotated, Case, Format, Option, Source, Track, check_folder
from nucplan.errors import NucplanError
from nucplan.images import IMAGE_SUFFIXES, TIFF_SUFFIXES, checked_label_map, read_image

LAYOUT = """SOURCE/<x>.tif|png|jpg                  grey, RGB, or TIFF of several planes; perhaps in train/ and test/
SOURCE/<x>_masks.tif|tiff|png           instance ids; else <x>_cp_masks.*, else <x>_seg.npy"""

PARTS: dict[str, Part] = {"train": "Tr", "test": "Ts"}
MASK_SUFFIXES = (".tif", ".tiff", ".png")
WRITTEN_BY_CELLPOSE, SEGMENTATION = "_cp_masks", "_seg.npy"
NO_IMAGES = ("_masks", "_cp_masks", "_flows", "_cp_flows", "_outlines", "_cp_outlines", "_cp_output", "_cp_dP")


class Names(NamedTuple):
    """What names end with."""

    masks: str
    images: str


def read(
    folder: Path, track: Track = iter, mask_filter: str = "_masks", img_filter: str = "", trust: bool = False
) -> Source:
    """List the images, TIFFs by their headers; ``test`` becomes the test part.

    Raises
    ------
    NucplanError
        If the folder does not exist or no file is an image.
    """
    check_folder(folder)
    names = Names(mask_filter, img_filter)
    places = {folder / name: part for name, part in PARTS.items() if (folder / name).is_dir()} or {folder: "Tr"}
    pairs: list[tuple[str, Pair, Part]] = []
    faults: list[str] = []
    for place, part in places.items():
        for path in _images(place, names):
            stem = path.stem.removesuffix(img_filter)
            if (masks := _masks(path, stem, names)) is None:
                faults.append(f"{path} has no {stem}{mask_filter}.tif, .tiff or .png; add it or remove the image.")
            else:
                pairs.append((case_name(stem), Pair(path, masks), part))
    if not pairs and not faults:
        raise NucplanError(f"{folder} holds no image; expected are <x>.tif and <x>{mask_filter}.tif.")
    stacks, markers, more_faults = _stacks([files.image for _, files, _ in pairs])
    factors, unread = find_factors(list(stacks.values()), track)
    refused = more_faults | unread
    return Source(
        cases=[
            Case(name, files.image, partial(_load, files, stacks.get(files.image), factors, trust), part)
            for name, files, part in pairs
            if files.image not in refused
        ],
        markers=markers,
        faults=(*faults, *refused.values()),
        remarks=told(factors, markers or ()),
    )


def _images(folder: Path, names: Names) -> list[Path]:
    """Images, without what Cellpose writes beside them."""
    others = {names.masks, *NO_IMAGES} - {names.images}
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith(".")
        and path.stem.endswith(names.images)
        and not path.stem.endswith(tuple(others))
    ]


def _masks(image: Path, stem: str, names: Names) -> Path | None:
    ends = [f"{end}{suffix}" for end in (names.masks, WRITTEN_BY_CELLPOSE) for suffix in MASK_SUFFIXES]
    if names.masks == SEGMENTATION:
        ends = []
    candidates = [f"{base}{end}" for end in (*ends, SEGMENTATION) for base in (stem, image.stem)]
    return next((image.with_name(name) for name in candidates if image.with_name(name).is_file()), None)


def _stacks(images: list[Path]) -> tuple[dict[Path, Planes], tuple[str, ...] | None, dict[Path, str]]:
    """How to read images of several planes, the names of these, and faults; nothing where no image has planes."""
    stacks: dict[Path, Planes] = {}
    faults: dict[Path, str] = {}
    names: tuple[str, ...] | None = None
    for path in images:
        if path.suffix.lower() not in TIFF_SUFFIXES:
            continue
        try:
            stack = read_header(path)
        except NucplanError as error:
            faults[path] = str(error)
            continue
        if stack.planes == 1 or stack.is_rgb:
            continue
        names = names or stack.names or tuple(f"channel_{i + 1}" for i in range(stack.planes))
        if stack.planes == len(names):
            stacks[path] = Planes(stack, tuple(range(stack.planes)))
        else:
            faults[path] = f"{path} has {stack.planes} planes, but others have {len(names)}; make two datasets."
    return stacks, names, faults


def _load(files: Pair, planes: Planes | None, factors: np.ndarray | None, trust: bool) -> Annotated:
    image, remarks = (read_image(files.image), {}) if planes is None else planes.read(factors)
    is_pickle = files.labels.name.endswith(SEGMENTATION)
    instances = _segmentation(files.labels, trust) if is_pickle else read_ids(files.labels)
    return Annotated(image, instances, dict.fromkeys(ids_of(instances), 1), remarks=remarks)


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
