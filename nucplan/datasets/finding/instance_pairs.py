"""Sets without classes that the authors of HoVer-Net repacked: a picture and a map of ids, as MATLAB or NumPy file."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from nucplan.datasets.annotations.class_maps import label_plane, one_class
from nucplan.datasets.annotations.matlab import read_mat
from nucplan.datasets.annotations.pickles import map_array
from nucplan.datasets.finding.picture_folders import find_pairs
from nucplan.datasets.source import Annotated, Case, Source
from nucplan.images import read_image


def read_instance_pairs(folder: Path, citation: str, licence: str | None = None, mpp: float | None = None) -> Source:
    """List the pairs below ``folder``; what lies below a folder ``test...`` is the test part.

    Raises
    ------
    NucplanError
        If the folder does not exist or holds no Images and Labels.
    """
    pairs, faults = find_pairs(folder, (".mat", ".npy"))
    return Source(
        cases=[Case(p.name, p.image, partial(_load, p.image, p.labels), p.part) for p in pairs],
        mpp=mpp,
        licence=licence,
        citation=citation,
        faults=faults,
    )


def _load(image: Path, labels: Path) -> Annotated:
    is_npy = labels.suffix.lower() == ".npy"
    instances = map_array(labels) if is_npy else read_mat(labels, ("inst_map", "instance_map"))["inst_map"]
    return one_class(read_image(image), label_plane(instances, labels))
