"""StarDist's layout: images and label maps of one name in two folders, perhaps once to train and once to test.

The public example is a fluorescence subset of the Data Science Bowl 2018: Schmidt et al. 2018, MICCAI,
doi 10.1007/978-3-030-00934-2_30.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from nucplan.datasets.annotations.label_files import load_labelled
from nucplan.datasets.finding.case_names import case_name, distinct_names
from nucplan.datasets.finding.pairs import Pair, pair_up
from nucplan.datasets.finding.unpacked import find_root
from nucplan.datasets.raw import Part
from nucplan.datasets.source import Case, Format, Source, Track
from nucplan.errors import NucplanError
from nucplan.images import LABEL_SUFFIXES, images_by_stem

LAYOUT = """SOURCE/images/<stem>.tif           grey or RGB, 8 or 16 bits
SOURCE/masks/<stem>.tif            instance ids, 0 is background
or SOURCE/{train,test}/{images,masks}/<stem>.tif; test becomes the test part"""

IMAGES, LABELS = "images", "masks"
PARTS: dict[str, Part] = {"train": "Tr", "val": "Tr", "test": "Ts"}


def read(folder: Path, track: Track = iter) -> Source:
    """List the images of all parts.

    Raises
    ------
    NucplanError
        If the folder does not exist, or has neither ``images`` nor ``train/images``, or no ``masks`` beside them.
    """
    root = find_root(folder, IMAGES, f"train/{IMAGES}")
    parts = [(root, "Tr")] if (root / IMAGES).is_dir() else [(root / name, part) for name, part in PARTS.items()]
    found: list[tuple[str, str, Pair, Part]] = []
    faults: list[str] = []
    for place, part in parts:
        if not (place / IMAGES).is_dir():
            continue
        if not (place / LABELS).is_dir():
            raise NucplanError(f"{place} has no folder '{LABELS}' beside '{IMAGES}'; add it.")
        images, labels = images_by_stem(place / IMAGES), images_by_stem(place / LABELS, LABEL_SUFFIXES)
        pairs, lonely = pair_up(images, labels, "label map")
        faults.extend(lonely)
        found += [(case_name(stem), place.name, pair, part) for stem, pair in pairs.items()]
    names = distinct_names([(name, place) for name, place, *_ in found])
    return Source(
        cases=[
            Case(name, pair.image, partial(load_labelled, *pair), part)
            for name, (_, _, pair, part) in zip(names, found, strict=True)
        ],
        faults=tuple(faults),
    )


FORMAT = Format(
    "stardist",
    "any",
    "images and masks of one name, as StarDist's examples have them",
    LAYOUT,
    read,
    classes="1",
    size="DSB2018 subset: 447 + 50 images",
    documented="https://github.com/stardist/stardist",
)
