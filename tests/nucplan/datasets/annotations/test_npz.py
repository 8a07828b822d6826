from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from nucplan.datasets.annotations.npz import Rows, names_in, read_member
from nucplan.errors import NucplanError

from ..touching import Intruder


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_rows_come_in_any_order(tmp_path: Path, save):
    array = np.arange(4 * 3 * 5, dtype=np.float32).reshape(4, 3, 5)
    save(tmp_path / "a.npz", X=array, y=array + 1)
    rows = Rows(tmp_path / "a.npz", "y")
    assert (len(rows), rows.shape, rows.dtype) == (4, (4, 3, 5), np.float32)
    for index in (0, 1, 3, 2, 2, 0, 3):
        np.testing.assert_array_equal(rows[index], array[index] + 1)
    assert names_in(tmp_path / "a.npz") == ["X", "y"]


def test_one_row_is_in_memory_at_a_time(tmp_path: Path):
    np.savez_compressed(tmp_path / "a.npz", X=np.zeros((64, 100, 1000), np.float32))
    tracemalloc.start()
    rows = Rows(tmp_path / "a.npz", "X")
    assert sum(float(rows[i].sum()) for i in range(64)) == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 400_000 / 10


def test_arrays_of_objects_are_read_without_running_code(tmp_path: Path):
    np.savez(tmp_path / "a.npz", meta=np.array([["filename"], ["a.tif"]], object))
    assert read_member(tmp_path / "a.npz", "meta").tolist() == [["filename"], ["a.tif"]]
    np.savez(tmp_path / "b.npz", meta=np.array([Intruder(tmp_path / "made")], object))
    with pytest.raises(NucplanError, match=r"b\.npz holds a pickle .* --trust"):
        read_member(tmp_path / "b.npz", "meta")
    assert not (tmp_path / "made").exists()
    read_member(tmp_path / "b.npz", "meta", trust=True)
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "array", [np.array([Intruder(Path("made"))], object), np.array(["text"]), np.asfortranarray(np.ones((3, 4)))]
)
def test_rows_are_numbers_by_rows(tmp_path: Path, array: np.ndarray):
    np.savez(tmp_path / "a.npz", X=array)
    with pytest.raises(NucplanError, match="X is no array of numbers in C order"):
        Rows(tmp_path / "a.npz", "X")


def test_a_missing_array_is_named_with_those_that_are_there(tmp_path: Path):
    np.savez(tmp_path / "a.npz", images=np.ones(3), labels=np.ones(3))
    for read in (Rows, read_member):
        with pytest.raises(NucplanError, match=r"a\.npz has no array X, only images, labels"):
            read(tmp_path / "a.npz", "X")


def test_missing_damaged_and_cut_files_are_refused(tmp_path: Path):
    path = tmp_path / "a.npz"
    with pytest.raises(NucplanError, match=r"a\.npz is missing"):
        Rows(path, "X")
    np.savez_compressed(path, X=np.random.default_rng(0).random((50, 100)))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(NucplanError, match=r"a\.npz is damaged or cut short"):
        Rows(path, "X")
    path.write_bytes(content[:20_000] + bytes(2_000) + content[22_000:])
    rows = Rows(path, "X")
    with pytest.raises(NucplanError, match=r"a\.npz is damaged or cut short"):
        [rows[i] for i in range(50)]
