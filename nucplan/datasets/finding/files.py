"""The files and folders of a source, without hidden ones and what macOS adds to archives."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nucplan.errors import NucplanError

MACOS = "__MACOSX"


def files_below(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """Files in ``folder`` and below whose names end in one of ``suffixes`` (lower case), sorted.

    Raises
    ------
    NucplanError
        If such a file is a link to nothing, which would count as missing without a word.
    """
    return _wanted_files(folder, folder.rglob("*"), suffixes)


def files_in(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """As `files_below`, of ``folder`` alone."""
    return _wanted_files(folder, folder.iterdir(), suffixes)


def folders_below(folder: Path) -> list[Path]:
    """Folders in ``folder`` and below, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_dir() and not is_clutter(path, folder))


def folders_in(folder: Path) -> list[Path]:
    """As `folders_below`, of ``folder`` alone."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_clutter(path, folder))


def is_clutter(path: Path, folder: Path) -> bool:
    """Whether ``path`` is hidden, or lies in a folder below ``folder`` that is or that macOS made."""
    return any(part.startswith(".") or part == MACOS for part in path.relative_to(folder).parts)


def _wanted_files(folder: Path, paths: Iterable[Path], suffixes: Iterable[str]) -> list[Path]:
    endings = tuple(suffixes)
    found = [path for path in paths if path.name.lower().endswith(endings) and not is_clutter(path, folder)]
    for path in found:
        if path.is_symlink() and not path.exists():
            raise NucplanError(
                f"{path} is a link to {path.readlink()}, which is missing; restore that or remove the link."
            )
    return sorted(path for path in found if path.is_file())
