"""The plain format: a folder of images and a folder of label maps, matched by stem."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from nucplan.datasets.annotations.label_files import READERS, load_labelled
from nucplan.datasets.description import Description, read_description
from nucplan.datasets.finding.files import folders_in
from nucplan.datasets.finding.pairs import Pair, pair_up
from nucplan.datasets.source import Annotated, Case, Format, Option, Source, Track, check_folder
from nucplan.datasets.tables import TABLE_SUFFIXES, read_class_table
from nucplan.errors import NucplanError
from nucplan.images import JPEG_SUFFIXES, LABEL_SUFFIXES, images_by_stem, jpeg_refusal

LAYOUT = """SOURCE/images/<stem>.png|jpg|tif|bmp   grey or RGB, 8 or 16 bits
SOURCE/labels/<stem>.png|tif|bmp       instance ids, 0 is background (masks/ is understood too)
SOURCE/classes/<stem>.json|csv         optional: {"instance id": class id or name}, or columns id,class
SOURCE/dataset.json                    optional: groups {stem: group}, classes {"1": name}, mpp, licence, source"""

LABELS = Option(
    "labels",
    "ids: an id per nucleus; rgb: a colour per nucleus, the id is R + 256 G + 65536 B; binary: black and white, the "
    "8-connected pieces are the nuclei",
    "ids",
    tuple(READERS),
)


def read(folder: Path, track: Track = iter, labels: str = LABELS.default) -> Source:
    """List the cases of ``folder``; images and label maps are loaded later, class tables now.

    Raises
    ------
    NucplanError
        If the folder does not exist, lacks images or label maps, ``dataset.json`` is malformed or its classes cannot
        be told, or there are class tables for ``labels`` that are binary.
    """
    check_folder(folder)
    pairs, faults = pair_up(_find_images(folder), _find_label_maps(folder), "label map")
    described = read_description(folder / "dataset.json")
    tables, more_faults = _class_tables(folder, pairs, track)
    if tables is not None and labels == "binary":
        raise NucplanError(f"{folder / 'classes'} names ids, which binary masks do not have; leave labels=binary out.")
    class_names = _class_names(described, tables, folder)
    return Source(
        cases=[
            Case(stem, pair.image, partial(_load, pair, labels, None if tables is None else tables[stem], class_names))
            for stem, pair in pairs.items()
            if tables is None or stem in tables
        ],
        class_names=class_names,
        groups=described.groups,
        mpp=described.mpp,
        licence=described.licence,
        citation=described.citation,
        faults=(*faults, *more_faults),
    )


def _load(pair: Pair, labels: str, table: dict[int, str] | None, class_names: tuple[str, ...]) -> Annotated:
    found = load_labelled(*pair, READERS[labels])
    return found if table is None else found._replace(class_of=_class_ids(table, pair.image, class_names))


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


def _class_tables(
    folder: Path, pairs: dict[str, Pair], track: Track
) -> tuple[dict[str, dict[int, str]] | None, list[str]]:
    """Class table by image stem, None where the source has no classes; and what is wrong with single tables."""
    if not (folder / "classes").is_dir():
        for other in folders_in(folder):
            if other.name.lower() in ("class", "classes"):
                raise NucplanError(f"{other} would not be read; rename it to 'classes', or move it away to go without.")
        return None, []
    files = images_by_stem(folder / "classes", TABLE_SUFFIXES)
    tables, faults = {}, []
    for stem in track(pairs):
        try:
            if stem not in files:
                table = folder / "classes" / stem
                raise NucplanError(
                    f"{pairs[stem].image} has no class table {table}.json or .csv; add one (it may be empty)."
                )
            tables[stem] = read_class_table(files[stem])
        except NucplanError as error:
            faults.append(str(error))
    return tables, faults


def _class_names(described: Description, tables: dict[str, dict[int, str]] | None, folder: Path) -> tuple[str, ...]:
    """Class 1 to K: as described, else the names in the tables by alphabet, else ``class_1`` to the highest id."""
    names = described.class_names
    if tables is None and len(names) > 1:
        raise NucplanError(
            f"{folder / 'dataset.json'} names {len(names)} classes, but {folder} has no folder 'classes' that says "
            "which nucleus has which; add a table per image, or take 'classes' out to go without."
        )
    if names:
        return tuple(names.get(i, f"class_{i}") for i in range(1, max(names) + 1))
    used = {label for table in (tables or {}).values() for label in table.values()}
    if used and all(label.isdecimal() for label in used):
        return tuple(f"class_{i}" for i in range(1, max(map(int, used)) + 1))
    return tuple(sorted(used)) or ("nucleus",)


def _class_ids(table: dict[int, str], image: Path, class_names: tuple[str, ...]) -> dict[int, int]:
    """Instance id to class id of one image."""
    numbered = list(enumerate(class_names, start=1))
    ids = {name: i for i, name in numbered} | {str(i): i for i, _ in numbered}
    for instance, label in table.items():
        if label not in ids:
            raise NucplanError(
                f"{image}: its class table gives instance {instance} the class '{label}', which is none of "
                f"1 to {len(class_names)} ({', '.join(class_names)}); correct it."
            )
    return {instance: ids[label] for instance, label in table.items()}


FORMAT = Format(
    "folder",
    "any",
    "images and label maps in two folders, matched by stem",
    LAYOUT,
    read,
    documented="docs/datasets.md",
    options=(LABELS,),
)
