"""Names of cases, which become those of files."""

from __future__ import annotations

import re
from collections.abc import Sequence


def case_name(text: str) -> str:
    """``text`` as a file name that every shell and system takes: blanks and signs become ``_``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)


def distinct_names(named: Sequence[tuple[str, str]]) -> list[str]:
    """Names of images, each given with the part or folder that it lies in.

    Where a name is there twice, all begin with their folder: of one that does, nobody could tell why it does.
    """
    names = [name for name, _ in named]
    return names if len(set(names)) == len(names) else [f"{folder}_{name}" for name, folder in named]
