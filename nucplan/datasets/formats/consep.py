"""CoNSeP: colorectal adenocarcinoma, a PNG and a MATLAB file per image, seven classes.

Source: Graham et al. 2019, Medical Image Analysis 58, doi 10.1016/j.media.2019.101563.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from nucplan.datasets.annotations.class_maps import classes_by_id, classes_by_pixel, label_plane
from nucplan.datasets.annotations.layers import ids_of
from nucplan.datasets.annotations.matlab import read_mat
from nucplan.datasets.annotations.pickles import map_array
from nucplan.datasets.finding.picture_folders import NamedPair, find_pairs
from nucplan.datasets.source import NO_GROUPS_KNOWN, Annotated, Case, Format, Source, Track
from nucplan.errors import NucplanError
from nucplan.images import read_image

LAYOUT = """SOURCE/{Train,Test}/Images/<stem>.png   RGB or RGBA
SOURCE/{Train,Test}/Labels/<stem>.mat   inst_map and type_map (H, W), or inst_type in the order of the ids
                                        in the release before March 2020 <stem>.npy: H x W x 2, ids and classes
Copies cut into tiles (instance_map and class_labels) are not understood: readers of them disagree on the classes."""
CLASSES = (
    "other",
    "inflammatory",
    "healthy epithelial",
    "malignant epithelial",
    "fibroblast",
    "muscle",
    "endothelial",
)
# The four classes of the paper, for --classes.
PAPER = (
    "miscellaneous=other,inflammatory,epithelial=healthy epithelial+malignant epithelial,"
    "spindle=fibroblast+muscle+endothelial"
)


def read(folder: Path, track: Track = iter) -> Source:
    """List the images; a folder Test or a stem that begins with ``test_`` is the official test part.

    Raises
    ------
    NucplanError
        If the folder does not exist or holds no Images and Labels.
    """
    pairs, faults = find_pairs(folder, (".mat", ".npy"))
    return Source(
        cases=[Case(p.name, p.image, partial(_load, p.image, p.annotation), _part(p)) for p in pairs],
        class_names=CLASSES,
        mpp=0.25,
        licence=FORMAT.licence,
        citation="CoNSeP, Graham et al. 2019, doi 10.1016/j.media.2019.101563",
        faults=faults,
        remarks=(
            NO_GROUPS_KNOWN,
            f"The paper merges the classes to four: --classes '{PAPER}'.",
        ),
    )


def _part(pair: NamedPair) -> str:
    return "Ts" if pair.image.stem.startswith("test_") else pair.part


def _load(image_path: Path, labels: Path) -> Annotated:
    image = read_image(image_path)
    if labels.suffix.lower() == ".npy":
        annotation = np.array(map_array(labels))
        if annotation.ndim != 3 or annotation.shape[2] != 2:
            raise NucplanError(f"{labels} has the shape {annotation.shape}, not (height, width, 2); restore it.")
        return classes_by_pixel(image, annotation[..., 0], annotation[..., 1], len(CLASSES), labels)
    found = read_mat(labels, ("inst_map",), ("type_map", "inst_type"))
    if "type_map" in found:
        return classes_by_pixel(image, found["inst_map"], found["type_map"], len(CLASSES), labels)
    if "inst_type" not in found:
        raise NucplanError(f"{labels} has neither type_map nor inst_type; is it a file of CoNSeP?")
    instances = label_plane(found["inst_map"], labels)
    ids, types = ids_of(instances), label_plane(np.atleast_2d(found["inst_type"]), labels).ravel().tolist()
    if len(ids) != len(types):
        raise NucplanError(f"{labels} has {len(types)} classes in inst_type for {len(ids)} nuclei; download it again.")
    return classes_by_id(image, instances, dict(zip(ids, types, strict=True)))


FORMAT = Format(
    "consep",
    "H&E",
    "CoNSeP, colon, with MATLAB labels",
    LAYOUT,
    read,
    classes=", ".join(CLASSES),
    mpp="0.25",
    size="27 + 14 images of 1000 x 1000",
    licence="none stated; research only as far as known",
    documented="https://warwick.ac.uk/fac/cross_fac/tia/data/hovernet",
)
