"""Where in an unpacked archive the data lie: in the folder that was given, or in one folder below it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from nucplan.datasets.finding.files import folders_in, is_clutter
from nucplan.datasets.source import check_folder
from nucplan.errors import NucplanError


def find_root(folder: Path, *patterns: str, kind: Callable[[Path], bool] = Path.is_dir) -> Path:
    """``folder``, or the folder below it, that holds a folder, or a file, which one of the glob ``patterns`` matches.

    Parameters
    ----------
    folder : the source
    patterns : of what the data consist of
    kind : whether that is a folder or a file

    Raises
    ------
    NucplanError
        If ``folder`` does not exist, or none or several folders, neither of them in the other, hold the data.
    """
    check_folder(folder)
    found = list(_roots(folder, patterns, kind))
    if not found:
        raise NucplanError(f"{folder} holds no {' or '.join(patterns)}; give the folder in which they lie.")
    if len(found) > 1:
        raise NucplanError(f"{found[0]} and {found[1]} both hold {' or '.join(patterns)}; give one of them.")
    return found[0]


def _roots(folder: Path, patterns: tuple[str, ...], kind: Callable[[Path], bool]) -> Iterator[Path]:
    """The uppermost folders that hold the data."""
    if any(kind(path) and not is_clutter(path, folder) for pattern in patterns for path in folder.glob(pattern)):
        yield folder
        return
    for below in folders_in(folder):
        yield from _roots(below, patterns, kind)
