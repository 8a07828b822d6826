from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from nucplan.datasets.annotations.instance_maps import read_instance_map
from nucplan.errors import NucplanError

from ..touching import label_map


@pytest.mark.parametrize("name", ["inst_map", None])
def test_ids_are_read_from_the_variable_and_from_plain_arrays(tmp_path: Path, name: str | None):
    path = tmp_path / ("a.mat" if name else "a.NPY")
    ids = label_map().astype(float)
    if name:
        savemat(path, {name: ids})
    else:
        with open(path, "wb") as handle:
            np.save(handle, ids)
    found = read_instance_map(path)
    np.testing.assert_array_equal(found, label_map())
    assert found.dtype == np.int32


@pytest.mark.parametrize("name", ["type_map", "inst_type"])
def test_classes_are_not_lost_without_a_word(tmp_path: Path, name: str):
    savemat(tmp_path / "a.mat", {"inst_map": label_map(), name: np.ones((3, 1))})
    with pytest.raises(NucplanError, match=r"a\.mat holds classes, as CoNSeP does; convert it with .* 'consep'"):
        read_instance_map(tmp_path / "a.mat")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (label_map()[None], r"shape \(1, 32, 40\)"),
        (label_map() + 0.25, "fractional"),
        (label_map() + np.inf, "NaN or Inf"),
        (label_map() + np.nan, "NaN or Inf"),
        (np.array([{"a": 1}]), "holds Python objects"),
    ],
)
def test_arrays_that_are_no_label_maps_are_refused(tmp_path: Path, array: np.ndarray, message: str):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(NucplanError, match=rf"a\.npy.*{message}"):
        read_instance_map(tmp_path / "a.npy")
