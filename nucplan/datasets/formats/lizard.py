"""Lizard: colon tissue of six sources, a PNG and a MATLAB file per image.

The MATLAB file lists the ids of its nuclei and, in the same order, their classes; the order is not that of the ids.

Source: Graham et al. 2021, ICCV Workshops, doi 10.1109/ICCVW54120.2021.00082.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from nucplan.datasets.annotations.class_maps import classes_by_id, label_plane
from nucplan.datasets.annotations.layers import ids_of
from nucplan.datasets.annotations.matlab import read_mat
from nucplan.datasets.finding.files import files_below
from nucplan.datasets.finding.pairs import by_stem, pair_up
from nucplan.datasets.formats.conic import CLASSES
from nucplan.datasets.source import NO_GROUPS_KNOWN, Annotated, Case, Format, Option, Source, Track, check_folder
from nucplan.datasets.tables import read_rows
from nucplan.errors import NucplanError
from nucplan.images import read_image

LAYOUT = """SOURCE/**/<stem>.png   RGB, e.g. lizard_images1/Lizard_Images1/consep_1.png
SOURCE/**/<stem>.mat   inst_map (H, W), id (n, 1), class (n, 1), e.g. Lizard_Labels/Labels/consep_1.mat
SOURCE/**/info.csv     columns Filename, Source, Split; needed for --set split=1, 2 or 3 only"""


def read(folder: Path, track: Track = iter, split: str = "none") -> Source:
    """List the images; pictures and annotations may lie in any folders.

    Raises
    ------
    NucplanError
        If the folder does not exist, lacks pictures or annotations, or a split is asked for that ``info.csv`` lacks.
    """
    check_folder(folder)
    images, labels = files_below(folder, [".png"]), files_below(folder, [".mat"])
    for found, what in ((images, "pictures (.png)"), (labels, "annotations (.mat)")):
        if not found:
            raise NucplanError(f"{folder} holds no {what}; unpack both parts of Lizard into it, images and labels.")
    pairs, faults = pair_up(by_stem(images), by_stem(labels))
    test = set() if split == "none" else _stems_of_split(folder, split)
    return Source(
        cases=[Case(s, p.image, partial(_load, *p), "Ts" if s in test else "Tr") for s, p in pairs.items()],
        class_names=CLASSES,
        mpp=0.5,
        licence=FORMAT.licence,
        citation="Lizard, Graham et al. 2021, doi 10.1109/ICCVW54120.2021.00082",
        faults=tuple(faults),
        remarks=(NO_GROUPS_KNOWN,),
    )


def _load(image: Path, labels: Path) -> Annotated:
    found = read_mat(labels, ("inst_map",), ("id", "class"))
    if missing := {"id", "class"} - found.keys():
        raise NucplanError(f"{labels} has no variable {min(missing)}; is it a file of Lizard?")
    # A single nucleus comes as a matrix of one element.
    ids, classes = (label_plane(np.atleast_2d(found[name]), labels).ravel() for name in ("id", "class"))
    if len(ids) != len(classes) or len(set(ids.tolist())) < len(ids):
        raise NucplanError(
            f"{labels} lists {len(ids)} ids, {len(set(ids.tolist()))} of them different, and {len(classes)} classes; "
            "download it again."
        )
    instances = label_plane(found["inst_map"], labels)
    if unlisted := set(ids_of(instances)) - set(ids.tolist()):
        raise NucplanError(f"{labels} has the nucleus {min(unlisted)} in inst_map, but not in id; download it again.")
    return classes_by_id(read_image(image), instances, dict(zip(ids.tolist(), classes.tolist(), strict=True)))


def _stems_of_split(folder: Path, split: str) -> set[str]:
    path = dict(by_stem(files_below(folder, [".csv"]))).get("info")
    if path is None:
        raise NucplanError(f"{folder} has no info.csv, which split={split} needs; restore it or leave --set split out.")
    rows = read_rows(path, ("Filename", "Split"))
    stems = {Path(row["Filename"]).stem for row in rows if row["Split"].strip() == split}
    if not stems:
        raise NucplanError(f"{path} has no image of the Split {split} in the column Split; restore it.")
    return stems


FORMAT = Format(
    "lizard",
    "H&E",
    "Lizard, colon, with MATLAB labels",
    LAYOUT,
    read,
    classes=", ".join(CLASSES),
    mpp="0.5",
    size="238 images of mixed sizes",
    licence="CC-BY-NC-SA-4.0",
    documented="https://warwick.ac.uk/fac/cross_fac/tia/data/lizard",
    options=(
        Option("split", "the images of this Split in info.csv become the test part", "none", ("1", "2", "3", "none")),
    ),
)
