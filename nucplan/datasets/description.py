"""The ``dataset.json`` of a source folder: what its images, label maps and class tables cannot say."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nucplan.datasets.raw import MAX_CLASSES, check_pixel_size
from nucplan.errors import NucplanError
from nucplan.files import read_json


@dataclass(frozen=True)
class Description:
    """What a source folder declares; everything is optional.

    Attributes
    ----------
    class_names : class id to name, sorted by id
    groups : image stem to patient, slide or parent picture; None where no image has one
    mpp : microns per pixel
    """

    class_names: dict[int, str] = field(default_factory=dict)
    groups: dict[str, str] | None = None
    mpp: float | None = None
    licence: str | None = None
    citation: str | None = None


def read_description(path: Path) -> Description:
    """Read and check a ``dataset.json``; without the file nothing is declared.

    Raises
    ------
    NucplanError
        If the file is not JSON or a key does not have its form.
    """
    if not path.is_file():
        return Description()
    content = read_json(path)
    if not isinstance(content, dict):
        raise NucplanError(f'{path} must be one JSON object, such as {{"mpp": 0.25}}; correct it.')
    mpp = content.get("mpp")
    check_pixel_size(mpp, path)
    groups = _names(content, "groups", '{"image_01": "patient_1"}', path)
    return Description(
        class_names=_class_names(_names(content, "classes", '{"1": "tumour"}', path), path),
        groups=groups or None,
        mpp=mpp,
        licence=_text(content, "licence", path),
        citation=_text(content, "source", path),
    )


def _names(content: dict[str, Any], key: str, example: str, path: Path) -> dict[str, str]:
    found = content.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(value, str | int) for value in found.values()):
        raise NucplanError(f"{path}: '{key}' must be an object such as {example}; correct it.")
    return {name: str(value) for name, value in found.items()}


def _class_names(names: dict[str, str], path: Path) -> dict[int, str]:
    for key in names:
        if not key.isdecimal() or not 1 <= int(key) <= MAX_CLASSES:
            raise NucplanError(
                f"{path}: 'classes' has the id '{key}'; number the classes from 1 to {MAX_CLASSES} at most, "
                "background is not one of them."
            )
    return {int(key): names[key] for key in sorted(names, key=int)}


def _text(content: dict[str, Any], key: str, path: Path) -> str | None:
    found = content.get(key)
    if not isinstance(found, str | None):
        raise NucplanError(f"{path}: '{key}' must be a text; correct it.")
    return found
