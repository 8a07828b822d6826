"""NumPy files from strangers are read without running what is in them."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.lib import format as npy

from nucplan.datasets.annotations.pickles import map_array, read_npy_stream, read_objects
from nucplan.errors import NucplanError


class Calls:
    """A pickle of it calls ``function(*arguments)`` while it loads."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.called = function, arguments

    def __reduce__(self) -> tuple:
        return self.called


def write_pickle(path: Path, pickled: bytes, shape: tuple[int, ...] = ()) -> Path:
    """A ``.npy`` file of objects whose pickle is ``pickled``."""
    with open(path, "wb") as handle:
        npy.write_array_header_1_0(handle, {"descr": "|O", "fortran_order": False, "shape": shape})
        handle.write(pickled)
    return path


def of_cellpose() -> dict:
    masks = np.zeros((8, 9), np.uint16)
    masks[1:3, 2:5] = 1
    return {
        "outlines": masks > 0,
        "masks": masks,
        "chan_choose": [0, 0],
        "ismanual": np.zeros(1, bool),
        "filename": "a.tif",
        "flows": [np.zeros((3, 8, 9), np.float32), [], {"deep": {"deeper": np.arange(3)}}],
        "diameter": np.float64(17.5),
        "colours": {(1, 2), (3, 4)},
        "zdraw": None,
        "bytes": [b"", b"\x00\xff"],
    }


def same(a: object, b: object) -> bool:
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return np.array_equal(a, b) and getattr(a, "dtype", None) == getattr(b, "dtype", None)


def test_the_dictionary_of_cellpose_is_read(tmp_path: Path):
    np.save(tmp_path / "a_seg.npy", of_cellpose(), allow_pickle=True)
    assert same(read_objects(tmp_path / "a_seg.npy"), of_cellpose())


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_is_read(tmp_path: Path, protocol: int):
    boxed = np.array(of_cellpose(), dtype=object)
    path = write_pickle(tmp_path / "a.npy", pickle.dumps(boxed, protocol=protocol))
    assert same(read_objects(path), of_cellpose())


@pytest.mark.parametrize(("new", "old"), [(b"numpy._core", b"numpy.core"), (b"numpy.core", b"numpy._core")])
def test_the_module_names_of_old_and_new_numpy_are_read(tmp_path: Path, new: bytes, old: bytes):
    # Up to protocol 2 names end with a line, so that one may be shorter than the other.
    pickled = pickle.dumps(np.array(of_cellpose(), dtype=object), protocol=2).replace(new, old)
    assert old in pickled
    assert same(read_objects(write_pickle(tmp_path / "a.npy", pickled)), of_cellpose())


@given(
    arrays(
        st.sampled_from(["u1", "<u2", ">i4", "f8", "<U5", "S3", "?"]), st.tuples(st.integers(0, 3), st.integers(0, 4))
    )
)
@settings(max_examples=60, deadline=None)
def test_plain_arrays_are_read_as_they_are(array: np.ndarray):
    for order in (array, np.asfortranarray(array)):
        file = io.BytesIO()
        np.save(file, order)
        file.seek(0)
        found = read_npy_stream(file, Path("x.npy"))
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype


def test_arrays_of_texts_as_objects_are_read_too(tmp_path: Path):
    np.save(tmp_path / "types.npy", np.array(["Breast", "Bile-duct"], dtype=object), allow_pickle=True)
    assert read_objects(tmp_path / "types.npy").tolist() == ["Breast", "Bile-duct"]


def touch(path: str) -> None:
    """Something that must not happen."""
    Path(path).touch()


HARMFUL = {
    "a command": (lambda mark: Calls(os.system, f"touch {mark}"), f"{os.system.__module__}.system"),
    "code": (lambda mark: Calls(eval, f"open({mark!r}, 'w')"), "builtins.eval"),
    "a function of ours": (lambda mark: Calls(touch, mark), "touch"),
    "inside of a dictionary": (lambda mark: {"masks": [{"x": Calls(exec, f"open({mark!r}, 'w')")}]}, "builtins.exec"),
    "a way to others": (lambda mark: Calls(getattr, "x", "upper"), "builtins.getattr"),
    "an import": (lambda mark: Calls(__import__, "os"), "builtins.__import__"),
    "a file": (lambda mark: Calls(open, mark, "w"), r"_?io.open"),
    "NumPy's own loader": (lambda mark: Calls(np.load, mark), r"numpy.*load"),
}


@pytest.mark.parametrize("case", HARMFUL)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_what_a_pickle_wants_to_run_is_named_and_not_run(tmp_path: Path, case: str, protocol: int):
    make, name = HARMFUL[case]
    mark = tmp_path / "ran"
    path = write_pickle(tmp_path / "a_seg.npy", pickle.dumps(make(str(mark)), protocol=protocol))
    with pytest.raises(NucplanError, match=rf"a_seg\.npy holds a pickle that wants to run .*{name}.*--trust") as caught:
        read_objects(path)
    assert not mark.exists()
    assert "\n" not in str(caught.value)


def test_with_trust_a_pickle_may_run(tmp_path: Path):
    mark = tmp_path / "ran"
    path = write_pickle(tmp_path / "a_seg.npy", pickle.dumps(Calls(os.mkdir, str(mark))))
    read_objects(path, trust=True)
    assert mark.exists()


def _saved(path: Path, content: object) -> bytes:
    np.save(path, content, allow_pickle=True)
    return path.read_bytes()


DAMAGED = {
    "nothing": lambda path: b"",
    "a text": lambda path: b"no array at all\n",
    "a picture": lambda path: b"\x89PNG\r\n\x1a\n" + bytes(40),
    "half of an array": lambda path: _saved(path, np.arange(100))[:200],
    "half of a header": lambda path: _saved(path, np.arange(100))[:20],
    "half of a pickle": lambda path: _saved(path, of_cellpose())[:300],
    "no pickle": lambda path: write_pickle(path, b"\x00\x01\x02").read_bytes(),
    "a pickle that asks for a store": lambda path: write_pickle(path, b"Px\n.").read_bytes(),
    "more than there is memory": lambda path: _saved(path, np.arange(3)).replace(
        b"(3,), }" + b" " * 11, b"(300000000000000,), }"
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
@pytest.mark.parametrize("read", [read_objects, map_array])
def test_damaged_files_are_named(tmp_path: Path, case: str, read: Callable):
    path = tmp_path / "x.npy"
    path.write_bytes(DAMAGED[case](path))
    with pytest.raises(NucplanError, match=r"x\.npy (is damaged or cut short|holds Python objects)") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert "--trust" not in str(caught.value)


@pytest.mark.parametrize("read", [read_objects, map_array])
def test_missing_files_are_named(tmp_path: Path, read: Callable):
    with pytest.raises(NucplanError, match=r"x\.npy is missing"):
        read(tmp_path / "x.npy")


def test_arrays_of_objects_are_not_mapped(tmp_path: Path):
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(NucplanError, match="holds Python objects and no plain array"):
        map_array(tmp_path / "x.npy")


def test_mapped_arrays_are_read_where_they_are_touched(tmp_path: Path):
    np.save(tmp_path / "x.npy", np.arange(12).reshape(3, 4))
    found = map_array(tmp_path / "x.npy")
    assert isinstance(found, np.memmap)
    assert found[1].tolist() == [4, 5, 6, 7]
