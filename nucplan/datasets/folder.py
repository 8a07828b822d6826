"""The plain format: a folder of images and a folder of label maps, matched by stem."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np

from nucplan.datasets.description import Description, read_description
from nucplan.datasets.source import Annotated, Case, Format, Source, Track, check_folder
from nucplan.datasets.tables import TABLE_SUFFIXES, read_class_table
from nucplan.errors import NucplanError
from nucplan.images import JPEG_SUFFIXES, LABEL_SUFFIXES, images_by_stem, jpeg_refusal, read_image, read_label_map

LAYOUT = """SOURCE/images/<stem>.png|jpg|tif|bmp   grey or RGB, 8 or 16 bits
SOURCE/labels/<stem>.png|tif           instance ids, 0 is background (masks/ is understood too)
SOURCE/classes/<stem>.json|csv         optional: {"instance id": class id or name}, or columns id,class
SOURCE/dataset.json                    optional: groups {stem: group}, classes {"1": name}, mpp, licence, source"""

# What a mask drawn in black and white holds.
WHITE = 255


def read(folder: Path, track: Track = iter) -> Source:
    """List the cases of ``folder``; images and label maps are loaded later, class tables now.

    Raises
    ------
    NucplanError
        If the folder does not exist, ``dataset.json`` is malformed, or images, label maps and class tables do not
        belong together one to one.
    """
    check_folder(folder)
    images, labels = _find_images(folder), _find_label_maps(folder)
    _same_stems(images, labels)
    described = read_description(folder / "dataset.json")
    tables = _class_tables(folder, images, track)
    class_names = _class_names(described, tables, folder)
    return Source(
        cases=[
            Case(stem, path, partial(_load, path, labels[stem], _class_ids(tables, path, class_names)))
            for stem, path in images.items()
        ],
        class_names=class_names,
        groups=described.groups,
        mpp=described.mpp,
        licence=described.licence,
        citation=described.citation,
    )


def _load(image: Path, labels: Path, class_of: dict[int, int] | None) -> Annotated:
    instances = read_label_map(labels)
    _refuse_mask(instances, labels)
    if class_of is None:
        class_of = dict.fromkeys((int(i) for i in np.unique(instances) if i), 1)
    return Annotated(read_image(image), instances, class_of)


def _refuse_mask(labels: np.ndarray, path: Path) -> None:
    """Refuse a binary mask, which would become one nucleus per image: one id in pieces that lie apart."""
    ids = np.unique(labels[labels > 0])
    if len(ids) != 1:
        return
    pieces, _, boxes, _ = cv2.connectedComponentsWithStats((labels > 0).view(np.uint8), connectivity=8)
    left, top, width, height = boxes[1:, : cv2.CC_STAT_AREA].T
    at_edge = (left == 0) | (top == 0) | (left + width == labels.shape[1]) | (top + height == labels.shape[0])
    # The edge of an image can cut one nucleus into pieces, but all of them then touch it.
    if pieces > 2 and (ids[0] == WHITE or not at_edge.all()):
        raise NucplanError(
            f"{path} has one id, {ids[0]}, in {pieces - 1} separate pieces, as a binary mask has; give each nucleus "
            "its own id (label the connected components, or export instance maps)."
        )


def _find_images(folder: Path) -> dict[str, Path]:
    if not (folder / "images").is_dir():
        raise NucplanError(
            f"{folder} has no folder 'images'; expected are images/<stem>.png and labels/<stem>.png (or .tif) in it."
        )
    images = images_by_stem(folder / "images")
    if not images:
        raise NucplanError(f"{folder / 'images'} holds no PNG, JPEG, TIFF or BMP image; put the images there.")
    return images


def _find_label_maps(folder: Path) -> dict[str, Path]:
    named = [folder / name for name in ("labels", "masks") if (folder / name).is_dir()]
    if not named:
        raise NucplanError(f"{folder} has no folder 'labels' (or 'masks') with one label map per image; add it.")
    labels = images_by_stem(named[0], LABEL_SUFFIXES)
    for stem, path in images_by_stem(named[0], JPEG_SUFFIXES).items():
        if stem not in labels:
            raise jpeg_refusal(path)
    return labels


def _same_stems(images: dict[str, Path], labels: dict[str, Path]) -> None:
    for stem, path in images.items():
        if stem not in labels:
            raise NucplanError(f"{path} has no label map of the same stem; add it or remove the image.")
    for stem, path in labels.items():
        if stem not in images:
            raise NucplanError(f"{path} has no image of the same stem; add it or remove the label map.")


def _class_tables(folder: Path, images: dict[str, Path], track: Track) -> dict[str, dict[int, str]]:
    """Class table by image stem; empty where the source has no classes."""
    if not (folder / "classes").is_dir():
        for other in folder.iterdir():
            if other.name.lower() in ("class", "classes") and other.is_dir():
                raise NucplanError(f"{other} would not be read; rename it to 'classes', or move it away to go without.")
        return {}
    files = images_by_stem(folder / "classes", TABLE_SUFFIXES)
    for stem, path in images.items():
        if stem not in files:
            table = folder / "classes" / stem
            raise NucplanError(f"{path} has no class table {table}.json or .csv; add one (it may be empty).")
    return {stem: read_class_table(files[stem]) for stem in track(images)}


def _class_names(described: Description, tables: dict[str, dict[int, str]], folder: Path) -> tuple[str, ...]:
    """Class 1 to K: as described, else the names in the tables by alphabet, else ``class_1`` to the highest id."""
    names = described.class_names
    if not tables and len(names) > 1:
        raise NucplanError(
            f"{folder / 'dataset.json'} names {len(names)} classes, but {folder} has no folder 'classes' that says "
            "which nucleus has which; add a table per image, or take 'classes' out to go without."
        )
    if names:
        return tuple(names.get(i, f"class_{i}") for i in range(1, max(names) + 1))
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
