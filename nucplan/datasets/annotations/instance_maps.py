"""A map of ids alone, in the files that the authors of HoVer-Net repack sets into: MATLAB, or NumPy in older ones."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from nucplan.datasets.annotations.class_maps import label_plane
from nucplan.datasets.annotations.label_files import load_labelled
from nucplan.datasets.annotations.matlab import read_mat
from nucplan.datasets.annotations.pickles import map_array
from nucplan.datasets.finding.picture_folders import NamedPair
from nucplan.datasets.source import Case
from nucplan.errors import NucplanError

SUFFIXES = (".mat", ".npy")
CLASSES = ("type_map", "inst_type")


def instance_cases(pairs: Iterable[NamedPair]) -> list[Case]:
    """A case for each picture with a map of ids, all of one class."""
    return [
        Case(name, image, partial(load_labelled, image, labels, read_instance_map), part)
        for name, image, labels, part in pairs
    ]


def read_instance_map(path: Path) -> np.ndarray:
    """The ids ``(H, W)`` int32 in the variable inst_map, or in the array of a ``.npy`` file.

    Raises
    ------
    NucplanError
        If the file is missing, damaged, holds no map of ids, or has classes, which would be lost.
    """
    if path.suffix.lower() == ".npy":
        return label_plane(map_array(path), path)
    found = read_mat(path, ("inst_map",), CLASSES)
    if found.keys() & set(CLASSES):
        raise NucplanError(f"{path} holds classes, as CoNSeP does; convert it with the format 'consep'.")
    return label_plane(found["inst_map"], path)
