"""What made the predictions of a folder: one file, ``prediction.json``, with an entry per image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nucplan.files import file_hash, read_json, write_json

FILE_NAME = "prediction.json"


def prediction_entry(files: Sequence[Path], settings: dict[str, Any]) -> dict[str, Any]:
    """The entry of an image: the SHA-256 of its file or of each, and ``settings``, plain values as JSON has them."""
    hashes = [file_hash(path) for path in files]
    return {"image": hashes[0] if len(hashes) == 1 else hashes, **settings}


def read_entries(folder: Path) -> dict[str, dict[str, Any]]:
    """The entries of a prediction folder by stem; empty where there is no record.

    Raises
    ------
    NucplanError
        If the record is not JSON.
    """
    path = folder / FILE_NAME
    content = read_json(path) if path.is_file() else {}
    return content.get("images", {}) if isinstance(content, dict) else {}


def write_entry(folder: Path, stem: str, entry: dict[str, Any]) -> None:
    """Add or replace one entry. The record is read anew, as another process may predict into the same folder."""
    write_json(folder / FILE_NAME, {"images": read_entries(folder) | {stem: entry}})
