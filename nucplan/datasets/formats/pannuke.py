"""PanNuke: three folds of H&E tiles from 19 tissues, an array of images and one of masks per fold.

A mask has six channels. The first five hold the ids of one class each, so that a nucleus is a pair of channel and
id; the sixth is background. Ids are unique within their channel only, and nuclei of two channels may overlap.

Source: Gamper et al. 2019, ECDP, doi 10.1007/978-3-030-23937-4_2, and 2020, arXiv 2003.10778.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nucplan.datasets.annotations.layers import HIDDEN, OVERLAP, counted, ids_of
from nucplan.datasets.annotations.pickles import read_objects
from nucplan.datasets.annotations.stacks import eight_bit, read_row, row_origin, stack_shape
from nucplan.datasets.finding.files import files_below
from nucplan.datasets.source import NO_GROUPS_KNOWN, Annotated, Case, Format, Option, Source, Track, check_folder
from nucplan.errors import NucplanError
from nucplan.images import checked_label_map

LAYOUT = """SOURCE/**/images.npy   N x 256 x 256 x 3, uint8 or float64 from 0 to 255
SOURCE/**/masks.npy    N x 256 x 256 x 6, in the same folder or in a parallel one (images -> masks)
SOURCE/**/types.npy    optional: the tissue of each image, as text
e.g. Fold 1/images/fold1/images.npy and Fold 1/masks/fold1/masks.npy, fold0/{images,masks}.npy (counted from 0),
Part 1/Images/images.npy and Part 1/Masks/masks.npy"""
CLASSES = ("neoplastic", "inflammatory", "connective", "dead", "epithelial")
# The test fold of the official (train, validation, test) = (1, 2, 3), (2, 1, 3) and (3, 2, 1).
TEST_FOLD = {"1": 3, "2": 3, "3": 1}
FOLDS = 3
NO_TEST_PART = "No official test part: --set split=1 sets the third fold aside."
NUMBERS = (
    "The folders of the folds {} are taken for the official numbers; in a copy that counts from 0, as that of CellViT, "
    "each would be the next one: add its fold0."
)
_FOLD = re.compile(r"(?:fold|part)[ _-]*(\d+)", re.IGNORECASE)
_KIND = re.compile(r"images?|masks?", re.IGNORECASE)


class Fold(NamedTuple):
    """One fold as found; ``number`` is the official one, from 1, or None where no folder tells it."""

    images: Path
    masks: Path
    types: Path | None
    number: int | None


def read(folder: Path, track: Track = iter, split: str = "none", trust: bool = False) -> Source:
    """List the images of all folds.

    Raises
    ------
    NucplanError
        If the folder does not exist, no fold is found, an array is damaged or has another form, or a fold of the
        official split is missing.
    """
    check_folder(folder)
    folds, faults, numbering = find_folds(folder)
    test = _test_fold(folds, split, folder)
    cases: list[Case] = []
    for fold in folds:
        cases += _cases(fold, "Ts" if test and fold.number == test else "Tr", trust)
    return Source(
        cases=cases,
        class_names=CLASSES,
        mpp=0.25,
        licence=FORMAT.licence,
        citation="PanNuke, Gamper et al. 2020, arXiv 2003.10778",
        faults=faults,
        remarks=(NO_GROUPS_KNOWN, *numbering, *(() if test else (NO_TEST_PART,))),
    )


def find_folds(folder: Path) -> tuple[list[Fold], tuple[str, ...], tuple[str, ...]]:
    """The folds below ``folder``, a sentence for each half that is missing, and one on numbers that are assumed.

    Raises
    ------
    NucplanError
        If there is neither.
    """
    images, masks, types = (_by_place(folder, name) for name in ("images.npy", "masks.npy", "types.npy"))
    if not images and not masks:
        raise NucplanError(f"{folder} has no images.npy and masks.npy in or below it; give the folder of the folds.")
    numbers = {place: _number(place) for place in images}
    first = 1 if 0 in numbers.values() else 0
    folds = [
        Fold(images[place], masks[place], types.get(place), None if number is None else number + first)
        for place, number in numbers.items()
        if place in masks
    ]
    faults = [
        f"{here[place]} has no {other}.npy beside it or in a parallel folder; restore it."
        for here, there, other in ((images, masks, "masks"), (masks, images, "images"))
        for place in here
        if place not in there
    ]
    known = sorted({fold.number for fold in folds} - {None})
    # With a fold 0, or a third one, it is clear from where the folders count.
    unsure = known and not first and max(known) < FOLDS
    return folds, tuple(faults), (NUMBERS.format(" and ".join(map(str, known))),) if unsure else ()


def merge_channels(layers: np.ndarray) -> tuple[np.ndarray, dict[int, int], int, int]:
    """One label map from a map of ids per class.

    A pixel that two channels claim goes to the smaller nucleus, of equal ones to the later channel.

    Parameters
    ----------
    layers : (K, H, W) int32, ids in each, 0 where the class has no nucleus

    Returns
    -------
    instances : (H, W) int32; the id of a nucleus is its id in the channel + (channel - 1) * a power of ten that is
        larger than any id
    class_of : id to class, 1 to K
    contested : pixels that more than one channel claims
    hidden : nuclei without a pixel of their own
    """
    if layers.max(initial=0) > layers.size:
        # Ids of any size would make the table of areas as long; only which are equal matters.
        layers = np.unique(layers, return_inverse=True)[1].reshape(layers.shape) + int(layers.min() > 0)
    stride = 10 ** len(str(int(layers.max(initial=0))))
    offsets = stride * np.arange(len(layers), dtype=np.int32)[:, None, None]
    pairs = np.where(layers > 0, layers + offsets, 0)
    instances = pairs.max(0)
    several = np.count_nonzero(pairs, 0) > 1
    hidden = 0
    if several.any():
        before = len(ids_of(pairs))
        instances[several] = _smallest(pairs[:, several], np.bincount(pairs.ravel()))
        hidden = before - len(ids_of(instances))
    class_of = {i: i // stride + 1 for i in ids_of(instances)}
    return instances, class_of, int(several.sum()), hidden


def _smallest(pairs: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """For each of n pixels the pair of the smallest area in ``pairs`` (K, n), of equal ones the last."""
    backwards = pairs[::-1]
    best = np.where(backwards > 0, areas[backwards], areas.sum()).argmin(0)
    return backwards[best, np.arange(len(best))]


def _by_place(folder: Path, name: str) -> dict[tuple[str, ...], Path]:
    """Files of one name by the folder that they are in, "images" and "masks" being one."""
    found: dict[tuple[str, ...], Path] = {}
    for path in files_below(folder, [name]):
        if path.name.lower() == name:
            parts = path.parent.relative_to(folder).parts
            found[tuple("*" if _KIND.fullmatch(part) else part.casefold() for part in parts)] = path
    return found


def _number(place: Sequence[str]) -> int | None:
    numbers = [int(match[1]) for part in place if (match := _FOLD.search(part))]
    return numbers[-1] if numbers else None


def _test_fold(folds: list[Fold], split: str, folder: Path) -> int | None:
    if split == "none":
        return None
    found = {fold.number for fold in folds}
    if missing := set(range(1, FOLDS + 1)) - found:
        raise NucplanError(
            f"{folder} has no fold {min(missing)} of PanNuke, which split={split} needs; download it, name its folder "
            f"'Fold {min(missing)}', or give --set split=none."
        )
    return TEST_FOLD[split]


def _cases(fold: Fold, part: str, trust: bool) -> list[Case]:
    shape, masks = stack_shape(fold.images, (3,)), stack_shape(fold.masks, (5, 6))
    if shape != masks:
        raise NucplanError(
            f"{fold.images} holds {_size(shape)} and {fold.masks} {_size(masks)}; download the fold again."
        )
    tissues = _tissues(fold, shape[0], trust)
    prefix = "tile" if fold.number is None else f"fold{fold.number}"
    return [
        Case(f"{prefix}_{i:04d}", row_origin(fold.images, i), partial(_load, fold, i, tissues[i]), part)
        for i in range(shape[0])
    ]


def _tissues(fold: Fold, count: int, trust: bool) -> list[str | None]:
    if fold.types is None:
        return [None] * count
    types = np.ravel(read_objects(fold.types, trust))
    if len(types) != count:
        raise NucplanError(f"{fold.types} names {len(types)} tissues for {count} images; restore it or remove it.")
    return [str(tissue) for tissue in types]


def _load(fold: Fold, index: int, tissue: str | None) -> Annotated:
    image = eight_bit(read_row(fold.images, index), row_origin(fold.images, index))
    masks = read_row(fold.masks, index)[..., : len(CLASSES)]
    layers = np.ascontiguousarray(np.moveaxis(_ids(masks, row_origin(fold.masks, index)), 2, 0))
    instances, class_of, contested, hidden = merge_channels(layers)
    remarks = counted([(OVERLAP, contested), (f"images of the tissue {tissue}", int(tissue is not None))])
    return Annotated(image, instances, class_of, None, counted([(HIDDEN, hidden)]), remarks)


def _ids(masks: np.ndarray, origin: Path) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        ids = masks.astype(np.int32)
    # What survives the cast needs no closer look, which would take as long as all else.
    return ids if (ids == masks).all() and ids.min() >= 0 else checked_label_map(masks, origin)


def _size(shape: tuple[int, int, int]) -> str:
    return f"{shape[0]} images of {shape[1]} x {shape[2]} pixels"


FORMAT = Format(
    "pannuke",
    "H&E",
    "PanNuke, 19 tissues, as the official folds of npy files",
    LAYOUT,
    read,
    classes=", ".join(CLASSES),
    mpp="0.25",
    size="7,901 images of 256 x 256 in 3 folds",
    licence="CC-BY-NC-SA-4.0",
    documented="https://warwick.ac.uk/fac/cross_fac/tia/data/pannuke",
    options=(
        Option(
            "split",
            "official split whose test fold becomes the test part: fold 3 for 1 and 2, fold 1 for 3; the official "
            "train and validation folds are both trained on, as nucplan makes its own five folds",
            "none",
            ("1", "2", "3", "none"),
        ),
    ),
    may_hold_pickles=True,
)
