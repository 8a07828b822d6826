from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_matrix

from nucplan.datasets.annotations.matlab import read_mat
from nucplan.errors import NucplanError

from ..touching import label_map


def save_new(path: Path, **arrays: np.ndarray) -> None:
    """As MATLAB's -v7.3: by columns, behind a block of 512 bytes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array.T).attrs["MATLAB_class"] = np.bytes_("double")
        file.create_group("#refs#")
    with open(path, "r+b") as handle:
        handle.write(b"MATLAB 7.3 MAT-file".ljust(512))


@pytest.mark.parametrize("save", [lambda p, **a: savemat(p, a), save_new], ids=["version 5", "version 7.3"])
def test_both_kinds_give_rows_and_columns_as_in_matlab(tmp_path: Path, save):
    save(tmp_path / "a.mat", inst_map=label_map().astype(float), id=np.array([[3.0], [7.0]]))
    found = read_mat(tmp_path / "a.mat", ("inst_map",), ("id", "class"))
    np.testing.assert_array_equal(found["inst_map"], label_map())
    assert found["id"].shape == (2, 1)
    assert "class" not in found


def test_an_empty_array_of_version_7_3_is_empty(tmp_path: Path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file.create_dataset("id", data=np.array([0, 1], np.uint64)).attrs["MATLAB_empty"] = np.uint8(1)
    assert read_mat(tmp_path / "a.mat", ("id",))["id"].shape == (0, 1)


def test_the_first_of_several_names_that_is_there_is_taken(tmp_path: Path):
    savemat(tmp_path / "a.mat", {"instance_map": label_map()})
    np.testing.assert_array_equal(read_mat(tmp_path / "a.mat", ("inst_map", "instance_map"))["inst_map"], label_map())


@pytest.mark.parametrize("save", [lambda p, **a: savemat(p, a), save_new], ids=["version 5", "version 7.3"])
def test_a_missing_variable_is_named_with_those_that_are_there(tmp_path: Path, save):
    save(tmp_path / "a.mat", n_ary_mask=label_map(), other=label_map())
    with pytest.raises(NucplanError, match=r"a\.mat has no variable inst_map, only n_ary_mask, other"):
        read_mat(tmp_path / "a.mat", ("inst_map",))


@pytest.mark.parametrize(
    "value",
    [{"field": 1.0}, np.array(["a", None], object), "text", csc_matrix(label_map())],
    ids=["struct", "cell", "text", "sparse"],
)
def test_what_is_no_array_of_numbers_is_refused(tmp_path: Path, value):
    if isinstance(value, np.ndarray):
        value[1] = np.zeros(3)
    savemat(tmp_path / "a.mat", {"inst_map": value})
    with pytest.raises(NucplanError, match="the variable inst_map is a struct, cell"):
        read_mat(tmp_path / "a.mat", ("inst_map",))


def test_structs_cells_and_text_of_version_7_3_are_refused(tmp_path: Path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file.create_group("struct")["field"] = 1.0
        file.create_dataset("cell", data=np.array([[file["struct"].ref]], h5py.ref_dtype))
        file.create_dataset("text", data=np.array([[97]], np.uint16)).attrs["MATLAB_class"] = np.bytes_("char")
    for name in ("struct", "cell", "text"):
        with pytest.raises(NucplanError, match=f"the variable {name} is a struct, cell"):
            read_mat(tmp_path / "a.mat", (name,))


@pytest.mark.parametrize("save", [lambda p, **a: savemat(p, a), save_new], ids=["version 5", "version 7.3"])
def test_a_file_cut_short_is_refused(tmp_path: Path, save):
    save(tmp_path / "a.mat", inst_map=np.random.default_rng(0).random((64, 64)))
    content = (tmp_path / "a.mat").read_bytes()
    for length in (len(content) * 2 // 3, 600, 100, 0):
        (tmp_path / "a.mat").write_bytes(content[:length])
        with pytest.raises(NucplanError, match=r"a\.mat is damaged, cut short or no MATLAB file"):
            read_mat(tmp_path / "a.mat", ("inst_map",))


def test_a_missing_file_and_one_of_another_kind_are_refused(tmp_path: Path):
    with pytest.raises(NucplanError, match=r"a\.mat is missing"):
        read_mat(tmp_path / "a.mat", ("inst_map",))
    (tmp_path / "a.mat").write_text("<html>sign in first</html>" * 20)
    with pytest.raises(NucplanError, match="no MATLAB file"):
        read_mat(tmp_path / "a.mat", ("inst_map",))
