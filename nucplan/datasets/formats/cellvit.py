"""CellViT and CellViT++: a picture and a NumPy file per image, which holds a dictionary of two maps.

Source: Hörst et al. 2024, Medical Image Analysis 94, doi 10.1016/j.media.2024.103143.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from nucplan.datasets.annotations.class_maps import classes_by_pixel, names_by_number
from nucplan.datasets.annotations.pickles import read_objects
from nucplan.datasets.finding.picture_folders import find_pairs
from nucplan.datasets.source import Annotated, Case, Format, Source, Track
from nucplan.errors import NucplanError
from nucplan.images import read_image

LAYOUT = """SOURCE/{train,test}/images/<stem>.png   RGB
SOURCE/{train,test}/labels/<stem>.npy   a dictionary of inst_map and type_map (H, W)
SOURCE/label_map.yaml                   {1: name, 2: name}
Lists of points (labels/<stem>.csv) hold no outlines and cannot be used; splits/ is not needed."""
MAPS = ("inst_map", "type_map")


def read(folder: Path, track: Track = iter, trust: bool = False) -> Source:
    """List the images; those below ``test`` are the test part.

    Raises
    ------
    NucplanError
        If the folder does not exist, holds no images and labels, or ``label_map.yaml`` is missing or malformed.
    """
    pairs, faults = find_pairs(folder, (".npy",))
    names = _class_names(folder / "label_map.yaml")
    return Source(
        cases=[Case(p.name, p.image, partial(_load, p.image, p.annotation, len(names), trust), p.part) for p in pairs],
        class_names=names,
        faults=faults,
    )


def _load(image: Path, labels: Path, classes: int, trust: bool) -> Annotated:
    content = read_objects(labels, trust)
    if not isinstance(content, dict):
        raise NucplanError(f"{labels} holds no dictionary of {' and '.join(MAPS)}; is it of another format?")
    for name in MAPS:
        if not isinstance(content.get(name), np.ndarray):
            keys = ", ".join(str(key) for key in content) or "nothing"
            raise NucplanError(f"{labels} has no array '{name}', only {keys}; export it again.")
    return classes_by_pixel(read_image(image), *(content[name] for name in MAPS), classes, labels)


def _class_names(path: Path) -> tuple[str, ...]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NucplanError(f"{path} is missing; write one that names the classes, such as {{1: tumour}}.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise NucplanError(f"{path} is no readable YAML ({' '.join(str(error).split())}); correct it.") from None
    if not isinstance(content, dict) or not all(type(key) is int and key >= 0 for key in content) or not any(content):
        raise NucplanError(f"{path} must map class numbers from 1 to names, such as {{1: tumour}}; correct it.")
    return names_by_number({number: str(name) for number, name in content.items()})


FORMAT = Format(
    "cellvit",
    "any",
    "training sets of CellViT and CellViT++",
    LAYOUT,
    read,
    documented="https://github.com/TIO-IKIM/CellViT-plus-plus",
    may_hold_pickles=True,
)
