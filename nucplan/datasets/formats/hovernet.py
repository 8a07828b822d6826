"""What HoVer-Net writes: predictions as MATLAB or JSON files, training patches as NumPy files.

Source: Graham et al. 2019, Medical Image Analysis 58, doi 10.1016/j.media.2019.101563.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from nucplan.datasets.annotations import hovernet_files
from nucplan.datasets.annotations.class_maps import names_by_number
from nucplan.datasets.finding.files import files_below
from nucplan.datasets.finding.pairs import Pair, pair_up
from nucplan.datasets.source import Annotated, Case, Format, Option, Source, Track, check_folder
from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.images import images_by_stem

LAYOUT = """predictions: SOURCE/mat/<stem>.mat     inst_map (H, W), inst_type, inst_uid; goes before json
             SOURCE/json/<stem>.json   {"nuc": {"1": {"contour": [[x, y], ...], "type": 1}}}
             SOURCE/images/<stem>.png, or the folder of the pictures as --set images=FOLDER
patches:     SOURCE/**/<stem>_000.npy  H x W x 4 or 5: RGB, ids, classes; patches of one stem are one group
SOURCE/type_info.json                  optional: {"1": ["name", [r, g, b]]}
Nuclei of class 0 become ignore areas, as HoVer-Net could not name them."""
_PATCH = re.compile(r"(.+)_\d{3,}")


class Kind(NamedTuple):
    """One of the three forms: how a file is loaded, and the highest class in it, 0 if it has none."""

    load: Callable[[Path, Path, int], Annotated]
    highest_class: Callable[[Path], int]


KINDS = {
    ".mat": Kind(hovernet_files.load_mat, hovernet_files.highest_class_of_mat),
    ".json": Kind(hovernet_files.load_json, hovernet_files.highest_class_of_json),
    ".npy": Kind(hovernet_files.load_patch, hovernet_files.highest_class_of_patch),
}


def read(folder: Path, track: Track = iter, images: str = "") -> Source:
    """List predictions or patches; without ``type_info.json`` all are looked at for the highest class.

    Raises
    ------
    NucplanError
        If the folder does not exist, holds none of the three forms, the pictures are missing, or ``type_info.json``
        is malformed.
    """
    check_folder(folder)
    pairs, faults, groups = _predictions(folder, images) or _patches(folder)
    names, damaged = _class_names(folder / "type_info.json", pairs, track)
    return Source(
        cases=[
            Case(name, image, partial(KINDS[labels.suffix.lower()].load, image, labels, len(names)))
            for name, (image, labels) in pairs.items()
            if name not in damaged
        ],
        class_names=names or ("nucleus",),
        groups=groups,
        faults=(*faults, *damaged.values()),
    )


Listing = tuple[dict[str, Pair], list[str], dict[str, str] | None]


def _predictions(folder: Path, images: str) -> Listing | None:
    """Picture and annotation by stem, what is missing, and no groups; None where there are no predictions."""
    suffix = next((kind for kind in ("mat", "json") if (folder / kind).is_dir()), None)
    if suffix is None:
        return None
    pictures = Path(images) if images else folder / "images"
    if not pictures.is_dir():
        raise NucplanError(f"{pictures} is no folder; give that of the predicted pictures as --set images=FOLDER.")
    pairs, faults = pair_up(images_by_stem(pictures), images_by_stem(folder / suffix, (f".{suffix}",)), "prediction")
    return pairs, faults, None


def _patches(folder: Path) -> Listing:
    paths = files_below(folder, [".npy"])
    if not paths:
        raise NucplanError(
            f"{folder} has no folder mat or json and no .npy patches; see nucplan_convert --list hovernet."
        )
    # Training and validation patches of some sets have the same names.
    clash = len({path.stem for path in paths}) < len(paths)
    names = ["_".join(p.relative_to(folder).with_suffix("").parts) if clash else p.stem for p in paths]
    groups = {name: match[1] if (match := _PATCH.fullmatch(name)) else name for name in names}
    return {name: Pair(path, path) for name, path in zip(names, paths, strict=True)}, [], groups


def _class_names(table: Path, pairs: dict[str, Pair], track: Track) -> tuple[tuple[str, ...], dict[str, str]]:
    """Class 1 to K, none where nothing has a class; and, if all files were looked at, what is wrong with which."""
    if table.is_file():
        return _names_of_types(table), {}
    highest, damaged = 0, {}
    for name, (_, labels) in track(pairs.items()):
        try:
            highest = max(highest, KINDS[labels.suffix.lower()].highest_class(labels))
        except NucplanError as error:
            damaged[name] = str(error)
    return tuple(f"class_{i}" for i in range(1, highest + 1)), damaged


def _names_of_types(path: Path) -> tuple[str, ...]:
    content = read_json(path, "correct it or remove it to convert with numbers as names")
    entries = content.items() if isinstance(content, dict) else [("", None)]
    names = {int(key): value[0] for key, value in entries if key.isdecimal() and isinstance(value, list) and value}
    if len(names) < len(entries) or not any(names):
        raise NucplanError(f'{path} must be an object such as {{"1": ["name", [255, 0, 0]]}}; correct it.')
    return names_by_number({number: str(name) for number, name in names.items()})


FORMAT = Format(
    "hovernet",
    "H&E",
    "predictions and training patches of HoVer-Net",
    LAYOUT,
    read,
    documented="https://github.com/vqdang/hover_net",
    options=(Option("images", "folder of the pictures that were predicted; SOURCE/images if left out", "", path=True),),
)
