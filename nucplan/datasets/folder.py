"""The plain format: a folder of images and a folder of label maps, matched by stem."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nucplan.datasets.source import Annotated, Case, Format, Source
from nucplan.datasets.tables import TABLE_SUFFIXES, read_class_table
from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.images import LABEL_SUFFIXES, images_by_stem, read_image, read_label_map

LAYOUT = """SOURCE/images/<stem>.png|jpg|tif|bmp   grey or RGB, 8 or 16 bits
SOURCE/labels/<stem>.png|tif           instance ids, 0 is background (masks/ is understood too)
SOURCE/classes/<stem>.json|csv         optional: {"instance id": class id or name}, or columns id,class
SOURCE/dataset.json                    optional: groups {stem: group}, classes {"1": name}, mpp, licence, source"""


def read(folder: Path) -> Source:
    """List the cases of ``folder``; images and label maps are loaded later, class tables now.

    Raises
    ------
    NucplanError
        If images, label maps, class tables and groups do not belong together one to one.
    """
    images, labels = _find_images(folder), images_by_stem(_label_folder(folder), LABEL_SUFFIXES)
    _same_stems(images, labels)
    described = read_json(folder / "dataset.json") if (folder / "dataset.json").is_file() else {}
    tables = _class_tables(folder / "classes", images)
    class_names = _class_names(described.get("classes"), tables)
    groups = _groups(described.get("groups"), images, folder)
    return Source(
        cases=[
            Case(
                stem, path, partial(_load, path, labels[stem], _class_ids(tables, path, class_names)), groups.get(stem)
            )
            for stem, path in images.items()
        ],
        class_names=class_names,
        mpp=described.get("mpp"),
        licence=described.get("licence"),
        citation=described.get("source"),
    )


def _load(image: Path, labels: Path, class_of: dict[int, int] | None) -> Annotated:
    instances = read_label_map(labels)
    if class_of is None:
        class_of = dict.fromkeys((int(i) for i in np.unique(instances) if i), 1)
    return Annotated(read_image(image), instances, class_of)


def _find_images(folder: Path) -> dict[str, Path]:
    if not (folder / "images").is_dir():
        raise NucplanError(
            f"{folder} has no folder 'images'; expected are images/<stem>.png and labels/<stem>.png (or .tif) in it."
        )
    images = images_by_stem(folder / "images")
    if not images:
        raise NucplanError(f"{folder / 'images'} holds no PNG, JPEG, TIFF or BMP image; put the images there.")
    return images


def _label_folder(folder: Path) -> Path:
    for name in ("labels", "masks"):
        if (folder / name).is_dir():
            return folder / name
    raise NucplanError(f"{folder} has no folder 'labels' (or 'masks') with one label map per image; add it.")


def _same_stems(images: dict[str, Path], labels: dict[str, Path]) -> None:
    for stem, path in images.items():
        if stem not in labels:
            raise NucplanError(f"{path} has no label map of the same stem; add it or remove the image.")
    for stem, path in labels.items():
        if stem not in images:
            raise NucplanError(f"{path} has no image of the same stem; add it or remove the label map.")


def _groups(groups: dict[str, Any] | None, images: dict[str, Path], folder: Path) -> dict[str, str]:
    if groups is None:
        return {}
    for stem, path in images.items():
        if stem not in groups:
            raise NucplanError(f"{path} has no entry under 'groups' in {folder / 'dataset.json'}; add its group.")
    return {stem: str(group) for stem, group in groups.items()}


def _class_tables(folder: Path, images: dict[str, Path]) -> dict[str, dict[int, str]]:
    """Class table by image stem; empty where the source has no classes."""
    if not folder.is_dir():
        return {}
    files = images_by_stem(folder, TABLE_SUFFIXES)
    for stem, path in images.items():
        if stem not in files:
            raise NucplanError(f"{path} has no class table {folder / stem}.json or .csv; add one (it may be empty).")
    return {stem: read_class_table(files[stem]) for stem in images}


def _class_names(described: dict[str, str] | None, tables: dict[str, dict[int, str]]) -> tuple[str, ...]:
    """Class 1 to K: as described, else the names in the tables by alphabet, else ``class_1`` to the highest id."""
    if not tables:
        return ("nucleus",)
    if described:
        by_id = {int(key): str(name) for key, name in described.items()}
        return tuple(by_id.get(i, f"class_{i}") for i in range(1, max(by_id) + 1))
    used = {label for table in tables.values() for label in table.values()}
    if used and all(label.isdecimal() for label in used):
        return tuple(f"class_{i}" for i in range(1, max(map(int, used)) + 1))
    return tuple(sorted(used)) or ("nucleus",)


def _class_ids(tables: dict[str, dict[int, str]], image: Path, class_names: tuple[str, ...]) -> dict[int, int] | None:
    """Instance id to class id of one image; None where the source has no classes."""
    if not tables:
        return None
    numbered = list(enumerate(class_names, start=1))
    ids = {name: i for i, name in numbered} | {str(i): i for i, _ in numbered}
    table = tables[image.stem]
    for instance, label in table.items():
        if label not in ids:
            raise NucplanError(
                f"{image}: its class table gives instance {instance} the class '{label}', which is none of "
                f"1 to {len(class_names)} ({', '.join(class_names)}); correct it."
            )
    return {instance: ids[label] for instance, label in table.items()}


FORMAT = Format("folder", "any", "images and label maps in two folders, matched by stem", LAYOUT, read)
