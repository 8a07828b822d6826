"""The raw dataset as everyone else reads it: an nnU-Net dataset with instance maps beside its labels.

``imagesTr/<case>_0000.png`` (RGB is one file; multiplex is one file per channel), ``labelsTr/<case>.png`` (class per
pixel), ``instancesTr/<case>.tif`` (uint32 ids) and the same with ``Ts`` for an optional test part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.images import read_image, read_label_map
from nucplan.layout import Dataset

Part = Literal["Tr", "Ts"]

# Preprocessed instance ids are stored as int16 next to the class channel.
MAX_INSTANCES = 32_767
# A class map is uint8, and holds background and perhaps ignore as well.
MAX_CLASSES = 254
# From electron microscopy to slides at the lowest magnification.
PIXEL_SIZES = 0.01, 100
INSTANCE_SUFFIX = ".tif"
RGB = 3


@dataclass(frozen=True)
class RawInfo:
    """What ``dataset.json`` says.

    Attributes
    ----------
    class_names : class 1 to K by position, without background and ignore
    channel_names : one name per channel of the image array
    file_ending : of images and label maps, with the dot
    ignore_label : value in the class map that is not to be learned from, or None
    mpp : microns per pixel, or None
    groups : case to patient, slide or parent picture, for the cases of both parts
    absent : case to the markers that were not measured there, whose files hold zeros; cases with all markers are not
        in it
    factors : marker to what its intensities were multiplied by to fit 16 bits; empty where they are as they were
    """

    class_names: tuple[str, ...]
    channel_names: tuple[str, ...]
    file_ending: str
    ignore_label: int | None
    mpp: float | None
    markers: tuple[str, ...] | None
    licence: str | None
    source: str | None
    groups: dict[str, str]
    absent: dict[str, tuple[str, ...]] = field(default_factory=dict)
    factors: dict[str, float] = field(default_factory=dict)

    @property
    def panel(self) -> tuple[str, ...] | None:
        """The names of the channels of multiplex images; None for grey and RGB."""
        return self.markers or (self.channel_names if len(self.channel_names) > RGB else None)

    @property
    def units(self) -> tuple[float, ...] | None:
        """The intensity of one count of each marker; None for grey and RGB."""
        return None if self.panel is None else tuple(self.factors.get(marker, 1.0) for marker in self.panel)


class RawDataset:
    """Read access to one raw dataset; nothing is checked beyond what is read (see `nucplan.datasets.verify`).

    Raises
    ------
    NucplanError
        From every method that meets a missing or damaged file; the message names it.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._files: dict[Part, dict[str, list[Path]]] = {}

    @cached_property
    def info(self) -> RawInfo:
        """The parsed ``dataset.json``."""
        return parse_dataset_json(self.dataset.dataset_json)

    def cases(self, part: Part = "Tr") -> list[str]:
        """The case names of one part, sorted; empty where the part does not exist."""
        return sorted(self._image_files(part))

    def image_paths(self, case: str, part: Part = "Tr") -> list[Path]:
        """The files of one image: one, or one per channel for multiplex data."""
        paths = self._image_files(part).get(case)
        if not paths:
            raise NucplanError(f"{self.dataset.part('images', part)} has no image of the case '{case}'.")
        return paths

    def image_path(self, case: str, part: Part = "Tr") -> Path:
        """The file of an image that is one file, or the first channel's file."""
        return self.image_paths(case, part)[0]

    def classes_path(self, case: str, part: Part = "Tr") -> Path:
        return self.dataset.part("labels", part) / f"{case}{self.info.file_ending}"

    def instances_path(self, case: str, part: Part = "Tr") -> Path:
        return self.dataset.part("instances", part) / f"{case}{INSTANCE_SUFFIX}"

    def image(self, case: str, part: Part = "Tr") -> np.ndarray:
        """``(H, W)`` for one channel, else ``(H, W, C)``; uint8 or uint16 as stored."""
        channels = [read_image(path) for path in self.image_paths(case, part)]
        if len(channels) == 1:
            return channels[0]
        if len({channel.shape for channel in channels}) > 1:
            raise NucplanError(f"{self.image_path(case, part)} and the other channels of its case differ in size.")
        return np.dstack(channels)

    def classes_map(self, case: str, part: Part = "Tr") -> np.ndarray:
        """``(H, W)`` uint8: 0 background, 1 to K classes, `RawInfo.ignore_label` where there is one."""
        path = self.classes_path(case, part)
        labels = read_label_map(path)
        if labels.size and labels.max() > np.iinfo(np.uint8).max:
            raise NucplanError(f"{path} holds the class {labels.max()}; at most 255 are possible.")
        return labels.astype(np.uint8)

    def ignored(self, case: str, part: Part = "Tr") -> np.ndarray | None:
        """Where an image is not annotated, ``(H, W)`` bool; None where the dataset has no ignore label."""
        label = self.info.ignore_label
        return None if label is None else self.classes_map(case, part) == label

    def instances(self, case: str, part: Part = "Tr") -> np.ndarray:
        """``(H, W)`` int32 instance ids, 0 is background; ids may have gaps."""
        return read_label_map(self.instances_path(case, part))

    def _image_files(self, part: Part) -> dict[str, list[Path]]:
        if part not in self._files:
            self._files[part] = self._list_images(part)
        return self._files[part]

    def _list_images(self, part: Part) -> dict[str, list[Path]]:
        folder = self.dataset.part("images", part)
        pattern = re.compile(rf"(?P<case>[^.].*)_\d{{4}}{re.escape(self.info.file_ending)}")
        files: dict[str, list[Path]] = {}
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if match := pattern.fullmatch(path.name):
                files.setdefault(match["case"], []).append(path)
        return files


def parse_dataset_json(path: Path) -> RawInfo:
    """Read and check ``dataset.json``.

    Raises
    ------
    NucplanError
        If a key is missing or has a form that nucplan does not work with.
    """
    content = read_json(path)
    _check_objects({"the file": content}, path)
    missing = [key for key in ("channel_names", "labels", "numTraining", "file_ending") if key not in content]
    if missing:
        raise NucplanError(f"{path} lacks {', '.join(missing)}; make the dataset anew with nucplan_convert.")
    nuclei, channels = content.get("nuclei") or {}, content["channel_names"]
    _check_objects({"channel_names": channels, "labels": content["labels"], "nuclei": nuclei}, path)
    groups = nuclei.get("groups") or {}
    absent, factors = nuclei.get("absent") or {}, nuclei.get("factors") or {}
    _check_objects({"nuclei.groups": groups, "nuclei.absent": absent, "nuclei.factors": factors}, path)
    check_pixel_size(nuclei.get("mpp"), path)
    class_names, ignore_label = parse_labels(content["labels"], path)
    return RawInfo(
        class_names=class_names,
        channel_names=tuple(str(channels[key]) for key in sorted(channels, key=int)),
        file_ending=str(content["file_ending"]),
        ignore_label=ignore_label,
        mpp=nuclei.get("mpp"),
        markers=tuple(nuclei["markers"]) if nuclei.get("markers") else None,
        licence=nuclei.get("licence"),
        source=nuclei.get("source"),
        groups={case: str(group) for case, group in groups.items()},
        absent={case: tuple(markers) for case, markers in absent.items()},
        factors=factors,
    )


def check_pixel_size(mpp: Any, origin: str | Path) -> None:
    """Refuse what is neither None nor a plausible number of microns; ``origin`` says where it stands."""
    is_number = isinstance(mpp, int | float) and not isinstance(mpp, bool)
    lowest, highest = PIXEL_SIZES
    if mpp is not None and not (is_number and lowest <= mpp <= highest):
        raise NucplanError(
            f"The pixel size {mpp!r} of {origin} is not a number of microns from {lowest} to {highest}; 40x slides "
            "have about 0.25."
        )


def _check_objects(parts: dict[str, Any], path: Path) -> None:
    for name, part in parts.items():
        if not isinstance(part, dict):
            raise NucplanError(f"{path}: {name} must be a JSON object; make the dataset anew with nucplan_convert.")


def parse_labels(labels: dict[str, Any], path: Path) -> tuple[tuple[str, ...], int | None]:
    """Names of class 1 to K and the ignore label, if any, from ``labels`` of the ``dataset.json`` at ``path``.

    Raises
    ------
    NucplanError
        If the numbers have gaps, background is not 0, or the ignore label is not the highest.
    """
    named = {name: value for name, value in labels.items() if name not in ("background", "ignore")}
    values = sorted(v for v in labels.values() if isinstance(v, int))
    if labels.get("background") != 0 or not named or values != list(range(len(labels))):
        raise NucplanError(f"{path}: labels must be background 0, then one number per class, 1, 2, ... without gaps.")
    ignore = labels.get("ignore")
    if ignore is not None and ignore != values[-1]:
        raise NucplanError(f"{path}: the ignore label must be the highest one.")
    return tuple(sorted(named, key=named.__getitem__)), ignore
