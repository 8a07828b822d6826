"""Datasets: one reader per public format, registered by name; the raw dataset that they are written to."""

from __future__ import annotations

from nucplan.datasets import dsb2018, folder
from nucplan.datasets.source import Format
from nucplan.errors import NucplanError

FORMATS: dict[str, Format] = {module.FORMAT.name: module.FORMAT for module in (dsb2018, folder)}


def find_format(name: str) -> Format:
    """Look a format up by name.

    Raises
    ------
    NucplanError
        If there is none; the message lists the choices.
    """
    if name not in FORMATS:
        raise NucplanError(f"There is no format '{name}'; choose one of {', '.join(sorted(FORMATS))}.")
    return FORMATS[name]
