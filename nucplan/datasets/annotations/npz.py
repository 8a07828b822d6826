"""Arrays in a ``.npz`` file, read row by row from the zip stream: neither memory nor disk holds a whole one."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from nucplan.datasets.annotations.pickles import read_npy_stream
from nucplan.errors import NucplanError


def names_in(path: Path) -> list[str]:
    """The names of the arrays in a ``.npz`` file.

    Raises
    ------
    NucplanError
        If the file is missing, damaged or cut short.
    """
    with _readable(path), zipfile.ZipFile(path) as archive:
        return _names(archive)


def read_member(path: Path, name: str, trust: bool = False) -> np.ndarray:
    """A whole array, of objects too if they are plain; see `nucplan.datasets.annotations.pickles.read_objects`.

    Raises
    ------
    NucplanError
        If the file is missing, damaged or cut short, has no such array, or it holds a pickle that is not trusted.
    """
    with _readable(path), zipfile.ZipFile(path) as archive, _member(archive, name, path) as stream:
        return read_npy_stream(stream, path, trust)


class Rows:
    """The rows of one array, first axis first. Going on is fast; going back starts the stream again.

    Attributes
    ----------
    shape, dtype : of the whole array

    Raises
    ------
    NucplanError
        If the file is damaged, has no such array, or it is not of numbers in C order.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self._stream: BinaryIO | None = None
        with _readable(path):
            self._rewind()
        self._row_bytes = int(np.prod(self.shape[1:])) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        """One row; raises NucplanError if the file is damaged there or ends before."""
        with _readable(self.path):
            if index < self._next or self._stream is None:
                self._rewind()
            while self._next < index:
                self._read_row()
            row = np.frombuffer(self._read_row(), self.dtype).reshape(self.shape[1:])
        if index == len(self) - 1:
            self._close()
        return row

    def _read_row(self) -> bytes:
        content = self._stream.read(self._row_bytes)
        if len(content) < self._row_bytes:
            raise EOFError(f"{self.name} ends in row {self._next}")
        self._next += 1
        return content

    def _rewind(self) -> None:
        self._close()
        self._archive = zipfile.ZipFile(self.path)
        self._stream, self._next = _member(self._archive, self.name, self.path), 0
        version = npy.read_magic(self._stream)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        self.shape, by_columns, self.dtype = header(self._stream)
        if self.dtype.kind not in "biuf" or by_columns or not self.shape:
            raise NucplanError(
                f"{self.path}: {self.name} is no array of numbers in C order; save it with np.savez again."
            )

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._archive.close()
            self._stream = None


def _names(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist()]


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> BinaryIO:
    if f"{name}.npy" not in archive.namelist():
        raise NucplanError(
            f"{path} has no array {name}, only {', '.join(_names(archive)) or 'nothing'}; is it of another format?"
        )
    return archive.open(f"{name}.npy")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except NucplanError:
        raise
    except FileNotFoundError:
        raise NucplanError(f"{path} is missing; restore it.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise NucplanError(f"{path} is damaged or cut short ({error}); download it again.") from None
