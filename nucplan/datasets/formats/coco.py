"""COCO: images, and one JSON file or several with polygons or run-length codes.

Several polygons of one annotation are one object. Annotations with ``iscrowd`` and those with nothing but a box
become areas to ignore. Ids of images, categories and annotations are arbitrary; a file without categories whose
annotations are all of one is of the class "nucleus". Coordinates of polygons run along the edges of pixels: (0, 0) is
the upper left corner of the first.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from nucplan.datasets.annotations.coco_shapes import shape_of
from nucplan.datasets.annotations.layers import counted
from nucplan.datasets.annotations.polygons import BOXES, Outline, Stamp, covered, draw, refuse_other_origin
from nucplan.datasets.description import read_description
from nucplan.datasets.finding.case_names import distinct_names
from nucplan.datasets.finding.files import files_below
from nucplan.datasets.finding.parts import part_of, says_test
from nucplan.datasets.source import Annotated, Case, Format, Source, Track, check_folder
from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.images import IMAGE_SUFFIXES, read_image

LAYOUT = """SOURCE/annotations.json     or annotations/*.json, or one JSON file beside the images of each part
SOURCE/images/<file_name>   or beside the JSON file, or anywhere below SOURCE where the name is unique
SOURCE/dataset.json         optional: groups {image stem: group}, mpp, licence, source
Files in or below a folder with "test" in its name, or with such a name, are the test part."""

DESCRIPTION = "dataset.json"
NUCLEUS = "nucleus"
CROWDS = "crowds, now areas to ignore"


def read(folder: Path, track: Track = iter) -> Source:
    """Read all JSON files, and find the images.

    Raises
    ------
    NucplanError
        If the folder does not exist, or holds no COCO file or a damaged one.
    """
    check_folder(folder)
    files = [_File(path) for path in track(files_below(folder, [".json"])) if path.name != DESCRIPTION]
    files = [file for file in files if file.is_coco]
    if not files:
        raise NucplanError(f"{folder} holds no JSON file with 'images' and 'annotations'; check its path and format.")
    class_of, class_names, unused = _classes(files)
    images, cases, faults = _Images(folder), [], []
    for file in files:
        by_image, lost = file.annotations_by_image(class_of)
        faults += lost
        for record in file.images:
            path = images.find(str(record.get("file_name")), file.path)
            if isinstance(path, str):
                faults.append(path)
                continue
            load = partial(_load, path, file.path, _size(record), by_image.get(record.get("id"), "[]"))
            cases.append(Case(path.stem, path, load, _part(file.path, folder)))
    described = read_description(folder / DESCRIPTION)
    names = distinct_names([(case.name, _place(case.origin, folder)) for case in cases])
    groups = described.groups and {
        name: described.groups[case.name]
        for name, case in zip(names, cases, strict=True)
        if case.name in described.groups
    }
    return Source(
        cases=[replace(case, name=name) for name, case in zip(names, cases, strict=True)],
        class_names=class_names,
        groups=groups,
        mpp=described.mpp,
        licence=described.licence,
        citation=described.citation,
        faults=tuple(faults),
        remarks=(f"Categories without an annotation are no classes: {', '.join(unused)}.",) if unused else (),
    )


class _File:
    """One JSON file.

    Raises
    ------
    NucplanError
        If it is damaged, or lists what it should not.
    """

    def __init__(self, path: Path) -> None:
        content = read_json(path, "export it again")
        self.path = path
        self.is_coco = isinstance(content, dict) and {"images", "annotations"} <= content.keys()
        found = [content.get(key, []) if self.is_coco else [] for key in ("images", "annotations", "categories")]
        if not all(isinstance(part, list) and all(isinstance(item, dict) for item in part) for part in found):
            raise NucplanError(f"{path}: images, annotations and categories must be lists of objects; export it again.")
        self.images, self._annotations, categories = found
        self.categories = {_id(category, "id", path): str(category.get("name")) for category in categories}
        self.used = {_id(annotation, "category_id", path) for annotation in self._annotations}
        if len(self.used) == 1 and not self.categories:
            # Where all is of one class, some tools leave out categories, or category_id as well.
            self.categories = dict.fromkeys(self.used, NUCLEUS)
        elif self.used == {None} and len(self.categories) == 1:
            self.categories = dict.fromkeys(self.used, *self.categories.values())

    def annotations_by_image(self, class_of: dict[str, int]) -> tuple[dict[Any, str], list[str]]:
        """Annotations as JSON text, which takes a tenth of the memory, with their class; faults. Empties the file."""
        known, by_image, faults = {_id(image, "id", self.path) for image in self.images}, defaultdict(list), []
        for annotation in self._annotations:
            image, category = _id(annotation, "image_id", self.path), annotation.get("category_id")
            if image not in known or category not in self.categories:
                lacking = f"category {category}" if image in known else f"image {image}"
                which = f"{self.path}: annotation {annotation.get('id')}"
                faults.append(f"{which} is of {lacking}, which the file lacks; export it again.")
            else:
                by_image[image].append({**annotation, "class": class_of[self.categories[category]]})
        self._annotations = []
        return {image: json.dumps(found) for image, found in by_image.items()}, faults


def _id(item: dict[str, Any], key: str, path: Path) -> int | str | None:
    if not isinstance(item.get(key), int | str | None):
        raise NucplanError(f"{path} has the {key} {item[key]!r}; ids are numbers or texts, export it again.")
    return item.get(key)


class _Images:
    """Finds the pictures that COCO files name, and none outside of the source."""

    def __init__(self, folder: Path) -> None:
        self._paths = set(files_below(folder, IMAGE_SUFFIXES))
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(self._paths):
            self._by_name[path.name].append(path)

    def find(self, file_name: str, json_path: Path) -> Path | str:
        """The picture, or a sentence on what is wrong."""
        bases = [base / sub for base in (json_path.parent, json_path.parent.parent) for sub in ("", "images")]
        if near := next((base / file_name for base in bases if base / file_name in self._paths), None):
            return near
        named = self._by_name[PurePosixPath(file_name.replace("\\", "/")).name]
        if len(named) == 1:
            return named[0]
        count = f"{len(named)} pictures" if named else "no picture"
        return f"{json_path} names the image {file_name}, but there is {count} of that name; restore or rename it."


def _classes(files: list[_File]) -> tuple[dict[str, int], tuple[str, ...], list[str]]:
    """Class by name of its category, the names in the order of the files, and names that no annotation uses."""
    names = list(dict.fromkeys(name for file in files for name in file.categories.values()))
    used = {name for file in files for i, name in file.categories.items() if i in file.used}
    kept = [name for name in names if name in used] or names or [NUCLEUS]
    return {name: k for k, name in enumerate(kept, start=1)}, tuple(kept), [n for n in names if n not in kept]


def _place(path: Path, folder: Path) -> str:
    return "_".join(path.parent.relative_to(folder).parts)


def _part(path: Path, folder: Path) -> str:
    return "Ts" if says_test(path.stem) else part_of(path, folder)


def _size(record: dict[str, Any]) -> tuple[float, float] | None:
    """Height and width of an image as the file has them; None where it does not state them, or as 0."""
    sides = record.get("height"), record.get("width")
    return sides if all(isinstance(side, int | float) and side > 0 for side in sides) else None


def _load(image_path: Path, json_path: Path, size: tuple[float, float] | None, text: str) -> Annotated:
    image, nuclei, crowds, boxes = read_image(image_path), [], [], []
    if size and size != image.shape[:2]:
        raise NucplanError(
            f"{json_path} says {image_path.name} is {size[0]} x {size[1]} pixels, the picture is {image.shape[0]} x "
            f"{image.shape[1]}; export one of them again."
        )
    for annotation in json.loads(text):
        where = f"{json_path}: annotation {annotation.get('id')} of {image_path.name}"
        shape = shape_of(annotation, image.shape[:2], where)
        kind = crowds if annotation.get("iscrowd") else nuclei if annotation.get("segmentation") else boxes
        kind.append(shape)
    drawn = draw(nuclei, image.shape[:2])
    refuse_other_origin(drawn, f"{json_path}, {image_path.name}")
    unsure: list[Outline | Stamp] = [*crowds, *boxes]
    return Annotated(
        image,
        drawn.instances,
        drawn.class_of,
        covered(unsure, image.shape[:2]) if unsure else None,
        drawn.left_out | counted([(BOXES, len(boxes))]),
        drawn.remarks | counted([(CROWDS, len(crowds))]),
    )


FORMAT = Format(
    "coco",
    "any",
    "COCO JSON with polygons or run-length codes",
    LAYOUT,
    read,
    documented="https://cocodataset.org/#format-data",
)
