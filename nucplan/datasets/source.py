"""What a reader of a public format yields: cases that load themselves; checking and writing are shared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nucplan.datasets.raw import Part
from nucplan.errors import NucplanError

Track = Callable[[Iterable[Any]], Iterable[Any]]


class Annotated(NamedTuple):
    """One image with its annotation, as loaded.

    Attributes
    ----------
    image : (H, W) or (H, W, 3) RGB, uint8 or uint16
    instances : (H, W) int32, ids from 1 in any order, with or without gaps
    class_of : instance id to class, 1 to K
    """

    image: np.ndarray
    instances: np.ndarray
    class_of: dict[int, int]


@dataclass(frozen=True)
class Case:
    """One image of a source.

    Attributes
    ----------
    name : unique, also the file stem in the raw dataset
    origin : the file or folder that error messages name
    load : reads image and annotation
    part : "Ts" where the source has an official test part
    """

    name: str
    origin: Path
    load: Callable[[], Annotated]
    part: Part = "Tr"


@dataclass(frozen=True)
class Source:
    """A public or plain dataset, found and listed but not yet loaded.

    Attributes
    ----------
    groups : case name to patient, slide or parent picture, for every case; None makes each image a group of its own
    mpp : microns per pixel
    """

    cases: list[Case]
    class_names: tuple[str, ...] = ("nucleus",)
    groups: dict[str, str] | None = None
    mpp: float | None = None
    licence: str | None = None
    citation: str | None = None


@dataclass(frozen=True)
class Format:
    """A registered format: what `nucplan_convert --list` prints, and the reader.

    ``read(folder, track)`` wraps what it opens before the cases are loaded in ``track``, for a progress bar.
    """

    name: str
    modality: str
    description: str
    layout: str
    read: Callable[[Path, Track], Source]


def check_folder(folder: Path) -> None:
    """Refuse a source that is not there.

    Raises
    ------
    NucplanError
        If ``folder`` does not exist or is a file.
    """
    if not folder.exists():
        raise NucplanError(f"The folder {folder} does not exist; check the path.")
    if not folder.is_dir():
        raise NucplanError(f"{folder} is not a folder; unpack it, or give the folder that holds the data.")
