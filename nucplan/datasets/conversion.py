"""From a source to a raw dataset: every check that formats share, then all files or none."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nucplan.datasets.raw import INSTANCE_SUFFIX, MAX_CLASSES, MAX_INSTANCES, Part, check_pixel_size
from nucplan.datasets.source import Annotated, Case, Source, Track
from nucplan.datasets.split import choose_test_groups
from nucplan.errors import NucplanError
from nucplan.files import atomic_path, write_json
from nucplan.images import checked_label_map, write_image, write_label_map
from nucplan.layout import Dataset, Roots, dataset_folder_name, known_datasets

RESERVED_NAMES = {"background", "ignore"}


class ImageFormat(NamedTuple):
    """What all images of one dataset share."""

    channels: int
    bits: int

    @classmethod
    def of(cls, image: np.ndarray) -> ImageFormat:
        return cls(1 if image.ndim == 2 else image.shape[2], image.dtype.itemsize * 8)

    @property
    def file_ending(self) -> str:
        # The PNG reader behind nnU-Net cuts 16-bit RGB down to 8 bits.
        return ".tif" if self == (3, 16) else ".png"

    @property
    def channel_names(self) -> dict[str, str]:
        return {"0": "grey"} if self.channels == 1 else {"0": "R", "1": "G", "2": "B"}

    def __str__(self) -> str:
        return f"{'grey' if self.channels == 1 else 'RGB'} with {self.bits} bits"


@dataclass
class Conversion:
    """What was written: counts for the user."""

    dataset: Dataset
    images: Counter[Part] = field(default_factory=Counter)
    groups: dict[str, str] = field(default_factory=dict)
    nuclei_per_class: Counter[str] = field(default_factory=Counter)


def new_dataset(roots: Roots, dataset_id: int, name: str) -> Dataset:
    """The dataset to write, if its id is free.

    Raises
    ------
    NucplanError
        If the id or the name is not allowed, or the id is taken in any of the three roots.
    """
    dataset = Dataset(roots, dataset_folder_name(dataset_id, name))
    for other in known_datasets(roots):
        if other.id == dataset_id:
            raise NucplanError(
                f"The dataset id {dataset_id} is taken by {other.folder_name} under {roots.raw.parent}; "
                "choose another id or remove that dataset."
            )
    return dataset


def with_groups(source: Source, groups: dict[str, str], origin: Path) -> Source:
    """``source`` with the groups of a table that ``origin`` names.

    Raises
    ------
    NucplanError
        If an image has no group.
    """
    for case in source.cases:
        if case.name not in groups:
            raise NucplanError(f"{origin} has no group for the image {case.name}; add it.")
    return replace(source, groups=groups)


def write_raw(
    source: Source,
    dataset: Dataset,
    test_fraction: float | None = None,
    track: Track = iter,
) -> Conversion:
    """Check and write a raw dataset; ``track`` may wrap the cases in a progress bar.

    Instances are renumbered 1 to N in the order of their ids, so that ids of any size fit what follows.

    Raises
    ------
    NucplanError
        If anything in the source is refused; nothing is left behind then.
    """
    if not source.cases:
        raise NucplanError("The source holds no image; check its path and format.")
    _check_class_names(source.class_names)
    check_pixel_size(source.mpp, "the source")
    groups = _groups(source)
    parts = _parts(source.cases, groups, test_fraction)
    done = Conversion(dataset, groups=groups)
    image_format: ImageFormat | None = None
    with atomic_path(dataset.raw) as staging:
        for case in track(source.cases):
            annotated = checked(case, len(source.class_names))
            image_format = _same_format(image_format, case, annotated.image, source.cases[0])
            _write_case(staging, case.name, parts[case.name], annotated, image_format.file_ending)
            done.images[parts[case.name]] += 1
            done.nuclei_per_class.update(source.class_names[k - 1] for k in annotated.class_of.values())
        write_json(staging / "dataset.json", _dataset_json(source, done, image_format))
    return done


def checked(case: Case, classes: int) -> Annotated:
    """Load a case, refuse what cannot be trained on, and renumber its instances 1 to N.

    Raises
    ------
    NucplanError
        If sizes differ, ids are not whole and positive, there are too many instances, or instances and classes do
        not belong together one to one.
    """
    image, instances, class_of = case.load()
    instances = checked_label_map(instances, case.origin)
    if instances.shape != image.shape[:2]:
        raise NucplanError(
            f"{case.origin} is {_size(image)} pixels and its label map {_size(instances)}; export one of them again."
        )
    ids = np.unique(np.append(instances, 0))[1:]
    if len(ids) > MAX_INSTANCES:
        raise NucplanError(
            f"{case.origin} has {len(ids)} instances, more than {MAX_INSTANCES}; cut image and label map into tiles."
        )
    _check_classes(case, set(ids.tolist()), class_of, classes)
    renumbered = np.searchsorted(ids, instances, side="right").astype(np.int32)
    return Annotated(image, renumbered, {new: class_of[old] for new, old in enumerate(ids.tolist(), start=1)})


def _check_classes(case: Case, ids: set[int], class_of: dict[int, int], classes: int) -> None:
    if without := ids - class_of.keys():
        raise NucplanError(f"{case.origin}: instance {min(without)} has no class; add it to the class table.")
    if unknown := class_of.keys() - ids:
        raise NucplanError(
            f"{case.origin}: the class table names instance {min(unknown)}, which the label map lacks; remove it."
        )
    for instance, class_id in class_of.items():
        if not 1 <= class_id <= classes:
            raise NucplanError(
                f"{case.origin}: instance {instance} has class {class_id}, not 1 to {classes}; correct it."
            )


def _check_class_names(names: tuple[str, ...]) -> None:
    if len(set(names)) < len(names) or RESERVED_NAMES & set(names) or not 1 <= len(names) <= MAX_CLASSES:
        raise NucplanError(
            f"The class names {', '.join(names)} cannot be used: 1 to {MAX_CLASSES} different names, none of them "
            "'background' or 'ignore'; rename them."
        )


def _groups(source: Source) -> dict[str, str]:
    if source.groups is None:
        return {case.name: case.name for case in source.cases}
    for case in source.cases:
        if case.name not in source.groups:
            raise NucplanError(
                f"{case.origin} has no entry under 'groups' in the dataset.json of the source; add its group, "
                "or give all groups with --groups."
            )
    return {case.name: source.groups[case.name] for case in source.cases}


def _parts(cases: list[Case], groups: dict[str, str], test_fraction: float | None) -> dict[str, Part]:
    if test_fraction is None:
        return {case.name: case.part for case in cases}
    if any(case.part == "Ts" for case in cases):
        raise NucplanError("The source brings its own test part; leave --test-split out.")
    test = choose_test_groups([groups[case.name] for case in cases], test_fraction)
    return {case.name: "Ts" if groups[case.name] in test else "Tr" for case in cases}


def _same_format(expected: ImageFormat | None, case: Case, image: np.ndarray, first: Case) -> ImageFormat:
    found = ImageFormat.of(image)
    if expected not in (None, found):
        raise NucplanError(
            f"{case.origin} is {found}, but {first.origin} is {expected}; convert all images to one of them, "
            "or make two datasets."
        )
    return found


def _write_case(folder: Path, name: str, part: Part, annotated: Annotated, file_ending: str) -> None:
    class_of = np.zeros(len(annotated.class_of) + 1, np.uint8)
    class_of[list(annotated.class_of)] = list(annotated.class_of.values())
    write_image(folder / f"images{part}" / f"{name}_0000{file_ending}", annotated.image)
    write_image(folder / f"labels{part}" / f"{name}{file_ending}", class_of[annotated.instances])
    write_label_map(folder / f"instances{part}" / f"{name}{INSTANCE_SUFFIX}", annotated.instances)


def _dataset_json(source: Source, done: Conversion, image_format: ImageFormat) -> dict[str, Any]:
    return {
        "channel_names": image_format.channel_names,
        "labels": {"background": 0} | {name: i for i, name in enumerate(source.class_names, start=1)},
        "numTraining": done.images["Tr"],
        "file_ending": image_format.file_ending,
        "overwrite_image_reader_writer": "NaturalImage2DIO",
        "nuclei": {
            "mpp": source.mpp,
            "markers": None,
            "licence": source.licence,
            "source": source.citation,
            "groups": done.groups,
        },
    }


def _size(array: np.ndarray) -> str:
    return f"{array.shape[0]} x {array.shape[1]}"
