"""Files that are either there and whole, or not there: temporary names, then a rename."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from nucplan.errors import NucplanError


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block ends well, remove it otherwise.

    The temporary name keeps the suffix, so that writers which look at it choose the right format. Works for a
    file and for a folder (a folder replaces nothing: ``path`` must not exist then). What processes that were killed
    on this host left in the same folder is removed first. What lies in a folder that is itself still temporary is
    written in place: the folder is renamed as a whole.

    Raises
    ------
    OSError
        From the block or from the rename; whatever stood at ``path`` before is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    in_place = not _unfinished.isdisjoint(path.absolute().parents)
    temporary = path if in_place else _temporary_name(path)
    if not in_place:
        _remove_leftovers(path.parent.absolute())
        # In a container every process may have the number of the one that was killed before it.
        _remove(temporary)
        _unfinished.add(temporary.absolute())
    try:
        yield temporary
        if not in_place:
            _flush_to_disk(temporary)
            os.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise
    finally:
        _unfinished.discard(temporary.absolute())


# Temporary paths of this process that were not renamed yet.
_unfinished: set[Path] = set()


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{socket.gethostname()}.{os.getpid()}.partial{path.suffix}")


@contextmanager
def atomic_files(folder: str | os.PathLike) -> Iterator[Path]:
    """Yield an empty temporary folder; when the block ends well, each file in it replaces its namesake in ``folder``.

    For writers that choose the names themselves and write in place.

    Raises
    ------
    OSError
        From the block or from a rename; no file of ``folder`` is ever half-written.
    """
    folder = Path(folder)
    temporary = folder / f".files.{socket.gethostname()}.{os.getpid()}.partial"
    folder.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder.absolute())
    _remove(temporary)
    temporary.mkdir()
    try:
        yield temporary
        for path in sorted(temporary.iterdir()):
            _flush_to_disk(path)
            os.replace(path, folder / path.name)
    finally:
        _remove(temporary)


# Once per process and folder: a look for each of thousands of files would cost more than writing them.
@cache
def _remove_leftovers(folder: Path) -> None:
    pattern = re.compile(rf"\..*\.{re.escape(socket.gethostname())}\.(\d+)\.partial(\..*)?")
    for name in os.listdir(folder):
        if (match := pattern.fullmatch(name)) and not _is_alive(int(match[1])):
            _remove(folder / name)


def _is_alive(process: int) -> bool:
    # Signal 0 only asks; elsewhere than on POSIX it would end the process.
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    # Without it a power cut can leave the new name with no content.
    if path.is_dir() and hasattr(os, "sync"):
        # One call for thousands of files, which to flush one by one takes longer than to write them.
        os.sync()
        return
    for file in (f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]:
        with open(file, "rb") as handle:
            os.fsync(handle.fileno())


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write ``content`` as readable JSON, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike, remedy: str = "restore or delete it") -> Any:
    """Read a JSON file; ``remedy`` is what to do about one that is damaged.

    Raises
    ------
    NucplanError
        If the file is missing or is not JSON; the message names it.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NucplanError(f"{path} is missing.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise NucplanError(f"{path} is not valid JSON ({error}); {remedy}.") from None


def refuse_unwritable(folder: str | os.PathLike) -> None:
    """Do nothing, or refuse; nothing is written to find out.

    Raises
    ------
    NucplanError
        If the folder, or the closest one above it that is there, is none that can be written.
    """
    there = _closest(Path(folder))
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise NucplanError(f"{there} cannot be written; make it writable or choose another folder.")


# A full disk, a used-up quota, a limit to the size of files.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def naming_full_disk(folder: Path) -> Iterator[None]:
    """Within the block, what the system says of a full disk names ``folder``; by itself it names nothing."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL and error.filename is None:
            error.filename = str(folder)
        raise


def free_bytes(folder: str | os.PathLike) -> int:
    """Free space where the folder is or will be."""
    return shutil.disk_usage(_closest(Path(folder))).free


def _closest(path: Path) -> Path:
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())


def file_hash(path: str | os.PathLike) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises
    ------
    NucplanError
        If the file does not exist.
    """
    path = Path(path)
    if not path.is_file():
        raise NucplanError(f"The file {path} does not exist; check the path.")
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def hash_of_large_file(path: str | os.PathLike) -> str:
    """As `file_hash`, read once per process while size and time of the file stay: weights are of some gigabytes."""
    status = Path(path).stat() if Path(path).is_file() else None
    return _remembered_hash(Path(path), status and (status.st_size, status.st_mtime_ns, status.st_ino))


@lru_cache(maxsize=8)
def _remembered_hash(path: Path, _: tuple[int, ...] | None) -> str:
    return file_hash(path)
