"""MATLAB files, of either kind: up to version 7 by SciPy, version 7.3 (HDF5) by h5py.

HDF5 is read by rows and MATLAB writes by columns, so arrays of version 7.3 come out transposed and are turned back.
Neither library runs anything that such a file may hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nucplan.errors import NucplanError


def read_mat(path: Path, one_of: Sequence[str], also: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Numeric variables of a ``.mat`` file, with the shape that they have in MATLAB.

    Parameters
    ----------
    path : the file
    one_of : names of one variable in different releases; the first that is there is returned, under ``one_of[0]``
    also : variables that are returned where they are there

    Raises
    ------
    NucplanError
        If the file is missing or damaged, none of ``one_of`` is there, or a variable is no numeric array.
    """
    try:
        found, names = _read(path, [*one_of, *also])
    except NucplanError:
        raise
    except FileNotFoundError:
        raise NucplanError(f"{path} is missing; restore it.") from None
    # Both libraries meet damaged files with whatever their parsers raise.
    except Exception as error:
        raise NucplanError(f"{path} is damaged, cut short or no MATLAB file ({error}); copy it again.") from None
    first = next((name for name in one_of if name in found), None)
    if first is None:
        there = ", ".join(sorted(names)) or "nothing"
        raise NucplanError(f"{path} has no variable {' or '.join(one_of)}, only {there}; is it of another format?")
    return {one_of[0]: found[first], **{name: found[name] for name in also if name in found}}


def _read(path: Path, wanted: list[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Those of the wanted variables that are there, and the names of all."""
    import h5py

    return _read_hdf5(path, wanted) if h5py.is_hdf5(path) else _read_older(path, wanted)


def _read_older(path: Path, wanted: list[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    from scipy.io import loadmat, whosmat

    names = [name for name, _, _ in whosmat(str(path), appendmat=False)]
    found = loadmat(str(path), variable_names=wanted, appendmat=False)
    return {name: _numeric(found[name], name, path) for name in wanted if name in found}, names


def _read_hdf5(path: Path, wanted: list[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    import h5py

    with h5py.File(path, "r") as file:
        # MATLAB keeps the contents of cells and objects under names that begin with #.
        names = [name for name in file if not name.startswith("#")]
        return {name: _from_hdf5(file[name], name, path) for name in wanted if name in names}, names


def _from_hdf5(item: Any, name: str, path: Path) -> np.ndarray:
    import h5py

    if not isinstance(item, h5py.Dataset) or item.attrs.get("MATLAB_class") == b"char":
        raise _refusal(name, path)
    # Of an empty array MATLAB stores the size as content.
    if item.attrs.get("MATLAB_empty"):
        return np.zeros([int(n) for n in item[()]])
    return _numeric(item[()], name, path).T


def _numeric(value: Any, name: str, path: Path) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        raise _refusal(name, path)
    return value


def _refusal(name: str, path: Path) -> NucplanError:
    return NucplanError(
        f"{path}: the variable {name} is a struct, cell, object, text or sparse matrix; save it as a plain array."
    )
