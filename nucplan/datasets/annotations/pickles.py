"""NumPy files from strangers: arrays are mapped, and what is a pickle inside is read without running its code.

A ``.npy`` file of objects holds a pickle, and a pickle may call any function while it loads. `read_objects` lets it
make nothing but arrays, numbers, texts and plain containers.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from nucplan.errors import NucplanError

# What NumPy, old and new, needs to rebuild arrays and scalars. None of it does anything else.
ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
    ("builtins", "set"),
    ("builtins", "frozenset"),
    ("builtins", "complex"),
    ("builtins", "bytes"),
    ("builtins", "bytearray"),
    ("builtins", "slice"),
    ("builtins", "range"),
    ("collections", "OrderedDict"),
}

# What NumPy and pickle raise on files that are damaged, or made to do harm: sizes beyond memory, missing modules.
DAMAGED = (
    pickle.UnpicklingError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ImportError,
    MemoryError,
    OverflowError,
    RecursionError,
)


class _Refused(pickle.UnpicklingError):
    """Its text is the name of what a pickle wants to run."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # Up to protocol 2, pickles of Python 3 name its built-in types as Python 2 did.
        module = "builtins" if module == "__builtin__" else module
        if (module, name) not in ALLOWED:
            raise _Refused(f"{module}.{name}")
        return super().find_class(module, name)


def map_array(path: Path) -> np.ndarray:
    """The array of a ``.npy`` file, mapped into memory and read where it is touched.

    Raises
    ------
    NucplanError
        If the file is missing, cut short, no ``.npy`` file, or an array of objects.
    """
    try:
        return npy.open_memmap(path, mode="r")
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise NucplanError(f"{path} is missing; restore it.") from None
        raise NucplanError(f"{path} cannot be read ({error.strerror or error}); copy it again.") from None
    except (ValueError, EOFError) as error:
        if "object" in str(error).lower():
            raise NucplanError(f"{path} holds Python objects and no plain array; save it as an array again.") from None
        raise NucplanError(f"{path} is damaged or cut short ({error}); copy or download it again.") from None


def read_objects(path: Path, trust: bool = False) -> Any:
    """What a ``.npy`` file holds, objects too; an array of one object, as ``np.save`` makes of a dict, is unpacked.

    Parameters
    ----------
    path : the file
    trust : let the pickle in it run whatever it wants

    Raises
    ------
    NucplanError
        If the file is missing or damaged, or its pickle asks for more than arrays and plain containers and is not
        trusted.
    """
    try:
        with open(path, "rb") as handle:
            found = read_npy_stream(handle, path, trust)
    except FileNotFoundError:
        raise NucplanError(f"{path} is missing; restore it.") from None
    return found.item() if isinstance(found, np.ndarray) and found.dtype == object and found.ndim == 0 else found


def read_npy_stream(handle: BinaryIO, path: Path, trust: bool = False) -> np.ndarray:
    """As `read_objects`, from an open file that ``path`` names in messages, without unpacking."""
    try:
        version = npy.read_magic(handle)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read_header(handle)
        if dtype.hasobject:
            return (pickle.Unpickler if trust else _PlainUnpickler)(handle).load()
        count = int(np.prod(shape))
        data = handle.read(count * dtype.itemsize)
        if len(data) < count * dtype.itemsize:
            raise ValueError("it ends too early")
        return np.frombuffer(data, dtype, count).reshape(shape, order="F" if fortran else "C")
    except _Refused as wanted:
        raise NucplanError(
            f"{path} holds a pickle that wants to run {wanted}; if you trust whoever made it, give --trust."
        ) from None
    except DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise NucplanError(f"{path} is damaged or cut short ({reason}); copy it again.") from None
