"""Datasets: one reader per public format, registered by name; the raw dataset that they are written to."""

from __future__ import annotations

from importlib import import_module

from nucplan.datasets.source import Format
from nucplan.errors import NucplanError

# One module per format, each with a ``FORMAT``; the order is that of ``nucplan_convert --list``.
MODULES = (
    *("pannuke", "conic", "lizard", "consep", "monuseg", "monusac", "cpm17", "kumar", "tnbc", "nuinsseg", "cryonuseg"),
    *("dsb2018", "nucls", "panoptils", "puma", "tissuenet", "bcss", "crag"),
    *("folder", "cellpose", "stardist", "hovernet", "cellvit", "qupath", "coco", "ome"),
)


def all_formats() -> dict[str, Format]:
    """Every known format by name."""
    formats = (import_module(f"nucplan.datasets.formats.{module}").FORMAT for module in MODULES)
    return {known.name: known for known in formats}


def find_format(name: str) -> Format:
    """Look a format up by name.

    Raises
    ------
    NucplanError
        If there is none; the message lists the choices.
    """
    formats = all_formats()
    if name not in formats:
        raise NucplanError(f"There is no format '{name}'; choose one of {', '.join(sorted(formats))}.")
    return formats[name]
