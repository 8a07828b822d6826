"""Where in an unpacked archive the data lie: in the folder that was given, or in one folder below it."""

from __future__ import annotations

from pathlib import Path

from nucplan.datasets.source import check_folder
from nucplan.errors import NucplanError

# What archives made on a Mac carry besides the data.
RESOURCE_FORKS = "__MACOSX"


def find_root(folder: Path, *patterns: str) -> Path:
    """``folder``, or the folder in it, that holds something which one of the glob ``patterns`` matches.

    Raises
    ------
    NucplanError
        If ``folder`` does not exist, or none or several of the folders in it hold the data.
    """
    check_folder(folder)
    if _holds(folder, patterns):
        return folder
    found = [below for below in folders_in(folder) if _holds(below, patterns)]
    if not found:
        raise NucplanError(f"{folder} holds no {' or '.join(patterns)}; give the folder in which they lie.")
    if len(found) > 1:
        raise NucplanError(f"{found[0]} and {found[1].name} both hold {' or '.join(patterns)}; give one of them.")
    return found[0]


def folders_in(folder: Path) -> list[Path]:
    """The folders in ``folder``, sorted, without hidden ones and resource forks."""
    return sorted(f for f in folder.iterdir() if f.is_dir() and f.name != RESOURCE_FORKS and f.name[0] != ".")


def _holds(folder: Path, patterns: tuple[str, ...]) -> bool:
    return any(True for pattern in patterns for _ in folder.glob(pattern))
