"""What a reader of a public format yields: cases that load themselves; checking and writing are shared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from nucplan.datasets.raw import Part
from nucplan.errors import NucplanError

Track = Callable[[Iterable[Any]], Iterable[Any]]
NONE: Mapping[str, int] = MappingProxyType({})


class Annotated(NamedTuple):
    """One image with its annotation, as loaded.

    Attributes
    ----------
    image : (H, W) or (H, W, 3) RGB or (H, W, C) with one plane per marker of the source, uint8 or uint16
    instances : (H, W) int32, ids from 1 in any order, with or without gaps
    class_of : instance id to class, 1 to K, of exactly the ids in ``instances``
    ignored : (H, W) bool, where nothing is known; a nucleus there stays a nucleus. None where all is annotated
    left_out : nuclei of the source that are not in ``instances``, by reason ("outlines of fewer than 3 points")
    remarks : whatever else should be counted and told ("pixels claimed by two nuclei")
    """

    image: np.ndarray
    instances: np.ndarray
    class_of: dict[int, int]
    ignored: np.ndarray | None = None
    left_out: Mapping[str, int] = NONE
    remarks: Mapping[str, int] = NONE


@dataclass(frozen=True)
class Case:
    """One image of a source.

    Attributes
    ----------
    name : unique, also the file stem in the raw dataset
    origin : the file or folder that error messages name
    load : reads image and annotation; raises NucplanError that names the file
    part : "Ts" where the source has an official test part
    absent : markers of the source that were not measured in this image, whose planes are 0
    """

    name: str
    origin: Path
    load: Callable[[], Annotated]
    part: Part = "Tr"
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A public or plain dataset, found and listed but not yet loaded.

    Attributes
    ----------
    groups : case name to patient, slide or parent picture, for every case; None makes each image a group of its own
    mpp : microns per pixel
    markers : name of each plane of multiplex images, which are written as a file per plane; None for grey and RGB
    factors : what the intensities of each marker were multiplied by to fit 16 bits; None where they are as they were
    faults : what is wrong with images that could not be listed as cases, a sentence each
    remarks : sentences that the user should read
    """

    cases: list[Case]
    class_names: tuple[str, ...] = ("nucleus",)
    groups: dict[str, str] | None = None
    mpp: float | None = None
    licence: str | None = None
    citation: str | None = None
    markers: tuple[str, ...] | None = None
    factors: tuple[float, ...] | None = None
    faults: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


# The remark of sources that have no groups because nobody published them.
NO_GROUPS_KNOWN = (
    "Each image is a group of its own: the source does not say which of them come from one patient or slide."
)


@dataclass(frozen=True)
class Option:
    """A choice that one format has and others have not, given as ``--set name=value``.

    ``values`` may be empty: then any text goes, or any path where ``path``.
    """

    name: str
    help: str
    default: str
    values: tuple[str, ...] = ()
    path: bool = False


@dataclass(frozen=True)
class Format:
    """A registered format: what `nucplan_convert --list` prints, and the reader.

    ``read(folder, track, **options)`` wraps what it opens before the cases are loaded in ``track``, for a progress
    bar; it gets a text for each of ``options``, and ``trust`` (bool) where ``may_hold_pickles``.

    Attributes
    ----------
    classes, mpp, size : as a person would say them; "" where each source has its own
    licence : SPDX identifier where there is one; "" where each source has its own
    documented : where the layout is described
    """

    name: str
    modality: str
    description: str
    layout: str
    read: Callable[..., Source]
    classes: str = ""
    mpp: str = ""
    size: str = ""
    licence: str = ""
    documented: str = ""
    options: tuple[Option, ...] = ()
    may_hold_pickles: bool = False


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
