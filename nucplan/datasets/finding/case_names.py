"""Names of cases, which become those of files."""

from __future__ import annotations

import re


def case_name(text: str) -> str:
    """``text`` as a file name that every shell and system takes: blanks and signs become ``_``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)
