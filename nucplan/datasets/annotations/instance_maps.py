"""A map of ids alone, in the files that the authors of HoVer-Net repack sets into: MATLAB, or NumPy in older ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nucplan.datasets.annotations.class_maps import label_plane
from nucplan.datasets.annotations.matlab import read_mat
from nucplan.datasets.annotations.pickles import map_array

SUFFIXES = (".mat", ".npy")


def read_instance_map(path: Path) -> np.ndarray:
    """The ids ``(H, W)`` int32 in the variable inst_map or instance_map, or in the array of a ``.npy`` file.

    Raises
    ------
    NucplanError
        If the file is missing, damaged, or holds no map of ids.
    """
    is_npy = path.suffix.lower() == ".npy"
    return label_plane(map_array(path) if is_npy else read_mat(path, ("inst_map", "instance_map"))["inst_map"], path)
