"""CRAG: glands in H&E of colorectal adenocarcinoma. These are glands and no nuclei.

Source: Graham et al. 2019, Medical Image Analysis 52, doi 10.1016/j.media.2018.12.001.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from nucplan.datasets.annotations.label_files import load_labelled
from nucplan.datasets.finding.pairs import pair_up
from nucplan.datasets.finding.unpacked import find_root
from nucplan.datasets.raw import Part
from nucplan.datasets.source import NO_GROUPS_KNOWN, Case, Format, Source, Track
from nucplan.errors import NucplanError
from nucplan.images import LABEL_SUFFIXES, images_by_stem, read_label_map

LAYOUT = """SOURCE/{train,valid}/Images/<stem>.png              RGB; valid (or test) becomes the test part
SOURCE/{train,valid}/Annotation/<stem>.png          gland ids (Annotations/ is understood too)"""

IMAGES, LABELS = "Images", ("Annotation", "Annotations")


def read(folder: Path, track: Track = iter) -> Source:
    """List the images; with both ``valid`` and ``test``, only ``test`` is the test part.

    Raises
    ------
    NucplanError
        If the folder does not exist, has no ``train/Images``, or a part lacks its annotation.
    """
    root = find_root(folder, f"train/{IMAGES}")
    cases: list[Case] = []
    faults: list[str] = []
    for place, part in _parts(root):
        images, labels = images_by_stem(place / IMAGES), images_by_stem(_label_folder(place), LABEL_SUFFIXES)
        pairs, lonely = pair_up(images, labels, "label map")
        faults.extend(lonely)
        # One gland may lie in pieces, so that one id in pieces is no sign of a binary mask here.
        cases.extend(
            Case(stem, pair.image, partial(load_labelled, *pair, read_label_map), part) for stem, pair in pairs.items()
        )
    return Source(
        cases=cases,
        class_names=("gland",),
        citation="CRAG, Graham et al. 2019, doi 10.1016/j.media.2018.12.001",
        faults=tuple(faults),
        remarks=(NO_GROUPS_KNOWN,),
    )


def _parts(root: Path) -> list[tuple[Path, Part]]:
    places = [root / name for name in ("train", "valid", "test") if (root / name / IMAGES).is_dir()]
    return [(place, "Ts" if place == places[-1] and len(places) > 1 else "Tr") for place in places]


def _label_folder(place: Path) -> Path:
    for name in LABELS:
        if (place / name).is_dir():
            return place / name
    raise NucplanError(f"{place} has no folder '{LABELS[0]}' beside '{IMAGES}'; unpack it again.")


FORMAT = Format(
    "crag",
    "H&E",
    "CRAG, glands of colorectal tissue (no nuclei)",
    LAYOUT,
    read,
    classes="1 (gland)",
    mpp="20x, not stated",
    size="213 images, about 1512x1516",
    licence="none found",
    documented="https://doi.org/10.1016/j.media.2018.12.001",
)
