"""From a source to a raw dataset: checked case by case, written as it is read, all files or none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nucplan.datasets.annotations.layers import areas_of, counted
from nucplan.datasets.checks import check_class_names, check_source, checked, renumbered
from nucplan.datasets.class_selection import ClassSelection, select_classes
from nucplan.datasets.image_format import ImageFormat
from nucplan.datasets.raw import INSTANCE_SUFFIX, Part
from nucplan.datasets.record import LOST_CHANNEL, NUCLEI, WITHOUT_NUCLEUS, ImageRecord, NucleusTable, Record
from nucplan.datasets.reservation import refuse_taken
from nucplan.datasets.source import Annotated, Case, Source, Track
from nucplan.datasets.split import choose_test_groups
from nucplan.datasets.tiling import Tiling
from nucplan.errors import NucplanError
from nucplan.files import atomic_path, naming_full_disk, write_json
from nucplan.images import noted_lost_channels, write_image, write_label_map
from nucplan.layout import Dataset
from nucplan.wording import number_of


@dataclass(frozen=True)
class Wishes:
    """What the user wants of a conversion beyond the source itself.

    Attributes
    ----------
    test_fraction : whole groups for about this share of the images become the test part
    tiling : how to cut large fields, or None
    classes : see `nucplan.datasets.class_selection.select_classes`
    skip_bad : list what is refused instead of stopping at the first
    """

    test_fraction: float | None = None
    tiling: Tiling | None = None
    classes: str | None = None
    skip_bad: bool = False


@dataclass
class Conversion:
    """What was written: counts for the user.

    A nucleus that tiles cut counts once per tile in ``nuclei_per_class``.
    """

    dataset: Dataset
    record: Record
    images: Counter[Part] = field(default_factory=Counter)
    groups: dict[str, str] = field(default_factory=dict)
    absent: dict[str, list[str]] = field(default_factory=dict)
    nuclei_per_class: Counter[str] = field(default_factory=Counter)


def with_groups(source: Source, groups: dict[str, str], origin: Path) -> Source:
    """``source`` with the groups of a table that ``origin`` names; images that are only there are a remark.

    Raises
    ------
    NucplanError
        If an image has no group.
    """
    for case in source.cases:
        if case.name not in groups:
            raise NucplanError(f"{origin} has no group for the image {case.name}; add it.")
    unknown = groups.keys() - {case.name for case in source.cases}
    more = (
        f"{origin} names {number_of(len(unknown), 'images')} that the source lacks, first {min(unknown, default='')}."
    )
    return replace(source, groups=groups, remarks=(*source.remarks, *([more] if unknown else [])))


def write_raw(
    source: Source,
    dataset: Dataset,
    wishes: Wishes | None = None,
    track: Track = iter,
    record: Record | None = None,
) -> Conversion:
    """Check and write a raw dataset; ``track`` may wrap the cases in a progress bar.

    One case is in memory at a time. Instances are renumbered 1 to N in the order of their ids, so that ids of any
    size fit what follows. ``record`` says where the source came from; what was counted is added to it and written
    beside the dataset.

    Raises
    ------
    NucplanError
        If anything in the source is refused, or its id was taken meanwhile; nothing is left behind then.
    OSError
        If the disk is full; it names the folder of the dataset.
    """
    wishes = wishes or Wishes()
    if source.faults and not wishes.skip_bad:
        raise NucplanError(source.faults[0])
    check_source(source)
    selection = select_classes(wishes.classes, source.class_names)
    check_class_names(selection.names)
    groups = _groups(source)
    parts = _parts(source.cases, groups, wishes.test_fraction)
    _refuse_groups_on_both_sides(groups, parts)
    done = Conversion(dataset, record or Record("", "", {}))
    done.record.skipped.extend(source.faults)
    done.record.notes.extend(source.remarks)
    with naming_full_disk(dataset.raw), atomic_path(dataset.raw) as staging:
        staging.mkdir(parents=True)
        with open(staging / NUCLEI, "w", newline="", encoding="utf-8") as handle:
            writer = _Writer(staging, selection, NucleusTable(handle), done)
            for case in track(source.cases):
                try:
                    writer.add(case, source, wishes.tiling, parts[case.name], groups[case.name])
                except NucplanError as error:
                    if not wishes.skip_bad:
                        raise
                    done.record.skipped.append(str(error))
                    done.record.skipped_images.append(case.name)
        _refuse_what_teaches_nothing(done)
        write_json(staging / "dataset.json", _dataset_json(source, selection, done, writer))
        done.record.write(staging)
        refuse_taken(dataset)
    return done


def _refuse_what_teaches_nothing(done: Conversion) -> None:
    if not done.images["Tr"]:
        fault = f"the first fault: {done.record.skipped[0]}" if done.record.skipped else "all are of the test part."
        raise NucplanError(f"No image of the source can be trained on; {fault}")
    if not done.nuclei_per_class:
        raise NucplanError("No image of the source has a nucleus; check its annotations, and --classes if it is given.")


class _Writer:
    """Writes the cases of one dataset, and remembers what ``dataset.json`` must say of all of them."""

    def __init__(self, folder: Path, selection: ClassSelection, table: NucleusTable, done: Conversion) -> None:
        self.folder, self.selection, self.table, self.done = folder, selection, table, done
        self.image_format: ImageFormat | None = None
        self.first: Case | None = None
        self.ignores = False

    def add(self, case: Case, source: Source, tiling: Tiling | None, part: Part, group: str) -> None:
        """Load, check and write one image of the source, in tiles where they are wanted.

        All tiles are checked before the first is written, so that a refused image leaves nothing.
        """
        with noted_lost_channels() as losing:
            annotated = self.selection.apply(checked(case, source))
        tiles = [(name, *renumbered(tile, case)) for name, tile in _tiles(case.name, annotated, tiling)]
        for name, *_ in tiles:
            if name in self.done.groups:
                raise NucplanError(f"{case.origin} gives a second case of the name '{name}'; rename the image.")
        self._same_format(case, ImageFormat.of(annotated.image, source.markers))
        whole = areas_of(annotated.instances)
        remarks = counted([(WITHOUT_NUCLEUS, int(not annotated.class_of)), (LOST_CHANNEL, int(bool(losing)))])
        image = ImageRecord(len(annotated.class_of), dict(annotated.left_out), {**annotated.remarks, **remarks})
        for name, tile, source_ids in tiles:
            self._write(name, part, tile)
            names = [self.selection.names[tile.class_of[i] - 1] for i in range(1, len(source_ids) + 1)]
            self.table.add(name, case.name, tile.instances, source_ids, names, whole)
            image.cases.append(name)
            self.done.images[part] += 1
            self.done.groups[name] = group
            if case.absent:
                self.done.absent[name] = list(case.absent)
            self.done.nuclei_per_class.update(names)
        self.done.record.images[case.name] = image

    def _same_format(self, case: Case, found: ImageFormat) -> None:
        if self.image_format is None:
            self.image_format, self.first = found, case
        if found != self.image_format:
            raise NucplanError(
                f"{case.origin} is {found}, but {self.first.origin} is {self.image_format}; convert all images to one "
                "of them, or make two datasets."
            )

    def _write(self, name: str, part: Part, tile: Annotated) -> None:
        class_of = np.zeros(len(tile.class_of) + 1, np.uint8)
        class_of[list(tile.class_of)] = list(tile.class_of.values())
        labels = class_of[tile.instances]
        if tile.ignored is not None and tile.ignored.any():
            labels[tile.ignored] = len(self.selection.names) + 1
            self.ignores = True
        ending = self.image_format.file_ending
        planes = np.moveaxis(tile.image, 2, 0) if self.image_format.markers else [tile.image]
        for channel, plane in enumerate(planes):
            write_image(self.folder / f"images{part}" / f"{name}_{channel:04d}{ending}", plane)
        write_image(self.folder / f"labels{part}" / f"{name}{ending}", labels)
        write_label_map(self.folder / f"instances{part}" / f"{name}{INSTANCE_SUFFIX}", tile.instances)


def _tiles(name: str, annotated: Annotated, tiling: Tiling | None) -> Iterator[tuple[str, Annotated]]:
    return iter([(name, annotated)]) if tiling is None else tiling.cut(name, annotated)


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


def _refuse_groups_on_both_sides(groups: dict[str, str], parts: dict[str, Part]) -> None:
    of_training = {groups[name]: name for name, part in parts.items() if part == "Tr"}
    for name, part in parts.items():
        if part == "Ts" and groups[name] in of_training:
            raise NucplanError(
                f"The group '{groups[name]}' is on both sides: {of_training[groups[name]]} is to train on and {name} "
                "to test on; correct the groups, or leave one of them out."
            )


def _dataset_json(source: Source, selection: ClassSelection, done: Conversion, writer: _Writer) -> dict[str, Any]:
    labels = {"background": 0} | {name: i for i, name in enumerate(selection.names, start=1)}
    if writer.ignores:
        labels["ignore"] = len(labels)
    panels = {"absent": done.absent} if done.absent else {}
    factors = {"factors": dict(zip(source.markers, source.factors, strict=True))} if source.factors else {}
    return {
        "channel_names": writer.image_format.channel_names,
        "labels": labels,
        "numTraining": done.images["Tr"],
        "file_ending": writer.image_format.file_ending,
        "overwrite_image_reader_writer": "NaturalImage2DIO",
        "nuclei": {
            "mpp": source.mpp,
            "markers": None if source.markers is None else list(source.markers),
            "licence": source.licence,
            "source": source.citation,
            "groups": done.groups,
            **panels,
            **factors,
        },
    }
