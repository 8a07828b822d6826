"""TNBC: H&E of triple-negative breast cancer, a folder of pictures and one of binary masks per patient.

Source: Naylor et al. 2018, IEEE TMI 38(2), doi 10.1109/TMI.2018.2865709; Zenodo record 2579118.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from nucplan.datasets.annotations.label_files import load_labelled, read_pieces
from nucplan.datasets.annotations.layers import counted, ids_of
from nucplan.datasets.finding.files import folders_in
from nucplan.datasets.finding.pairs import Pair, pair_up
from nucplan.datasets.finding.unpacked import find_root
from nucplan.datasets.source import Annotated, Case, Format, Source, Track
from nucplan.images import LABEL_SUFFIXES, images_by_stem

LAYOUT = """SOURCE/Slide_01/01_1.png      RGB or RGBA; one folder per patient
SOURCE/GT_01/01_1.png         binary; a line of background parts nuclei that touch"""

IMAGES, MASKS = "Slide_", "GT_"
# At 40x, 3 pixels are 0.2 square microns: what a line left over, and no nucleus.
SMALLEST = 4
REMAINS = f"components of fewer than {SMALLEST} pixels, remains of a line and no nuclei"


def read(folder: Path, track: Track = iter) -> Source:
    """List the images; patients are the groups.

    Raises
    ------
    NucplanError
        If the folder does not exist or has no folder ``Slide_*``.
    """
    root = find_root(folder, f"{IMAGES}*")
    cases, faults, groups = [], [], {}
    for patient in _patients(root):
        pictures = (_pictures(root / f"{kind}{patient}") for kind in (IMAGES, MASKS))
        pairs, lonely = pair_up(*pictures, "mask")
        faults.extend(lonely)
        for stem, pair in pairs.items():
            cases.append(Case(stem, pair.image, partial(_load, pair)))
            groups[stem] = patient
    return Source(
        cases=cases,
        groups=groups,
        licence=FORMAT.licence,
        citation="TNBC, Naylor et al. 2018, doi 10.1109/TMI.2018.2865709",
        faults=tuple(faults),
    )


def _patients(root: Path) -> list[str]:
    """What follows ``Slide_`` or ``GT_`` in the names of folders: a folder may lack its other half."""
    names = [f.name for f in folders_in(root)]
    return sorted({n.removeprefix(p) for n in names for p in (IMAGES, MASKS) if n.startswith(p)})


def _pictures(folder: Path) -> dict[str, Path]:
    return images_by_stem(folder, LABEL_SUFFIXES) if folder.is_dir() else {}


def _load(pair: Pair) -> Annotated:
    found = load_labelled(*pair, read_pieces)
    areas = np.bincount(found.instances.ravel())
    small = np.flatnonzero(areas < SMALLEST)
    instances = np.where(np.isin(found.instances, small), 0, found.instances)
    kept = ids_of(instances)
    left_out = counted([(REMAINS, len(found.class_of) - len(kept))])
    return found._replace(instances=instances, class_of=dict.fromkeys(kept, 1), left_out=left_out)


FORMAT = Format(
    "tnbc",
    "H&E",
    "triple-negative breast cancer (Naylor et al.)",
    LAYOUT,
    read,
    classes="1",
    mpp="40x, not stated",
    size="50 images, 512x512 (v1.1: 68)",
    licence="CC-BY-4.0",
    documented="https://zenodo.org/records/2579118",
)
