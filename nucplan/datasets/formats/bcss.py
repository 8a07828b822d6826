"""BCSS: tissue regions in H&E of breast cancer, a class code per pixel. These are regions and no nuclei.

The instances are the 8-connected pieces of each class. Code 0 (outside of the annotated region) is ignored, and so is
code 7 (exclude), which ``--set exclude=class`` makes a class; code 15 (undetermined) is a class, which ``--classes``
can leave out.

Source: Amgad et al. 2019, Bioinformatics 35(18), doi 10.1093/bioinformatics/btz083; codes from the
``meta/gtruth_codes.tsv`` of the source.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from nucplan.datasets.annotations.layers import components
from nucplan.datasets.finding.pairs import Pair, pair_up
from nucplan.datasets.finding.tcga import hospital, patient
from nucplan.datasets.finding.unpacked import find_root
from nucplan.datasets.raw import Part
from nucplan.datasets.source import Annotated, Case, Format, Option, Source, Track
from nucplan.errors import NucplanError
from nucplan.images import LABEL_SUFFIXES, images_by_stem, read_image, read_label_map

LAYOUT = """SOURCE/images/<TCGA name>.png     RGB (rgbs_colorNormalized/ is understood too)
SOURCE/masks/<TCGA name>.png      a code per pixel: 0 outside_roi, 1 tumor, ... 21 other"""

IMAGES, MASKS = ("images", "rgbs_colorNormalized"), "masks"
CLASSES = (
    "tumor",
    "stroma",
    "lymphocytic_infiltrate",
    "necrosis_or_debris",
    "glandular_secretions",
    "blood",
    "exclude",
    "metaplasia_NOS",
    "fat",
    "plasma_cells",
    "other_immune_infiltrate",
    "mucoid_material",
    "normal_acinus_or_duct",
    "lymphatics",
    "undetermined",
    "nerve",
    "skin_adnexa",
    "blood_vessel",
    "angioinvasion",
    "dcis",
    "other",
)
EXCLUDE = "exclude"
# The second part of a TCGA barcode names the hospital; the paper tests on these.
TEST_HOSPITALS = {"OL", "LL", "E2", "EW", "GM", "S3"}
REGIONS = "These are regions of tissue and no nuclei: connected pieces of one class."


def read(folder: Path, track: Track = iter, test: str = "hospitals", exclude: str = "ignore") -> Source:
    """List the images; patients are the groups.

    Raises
    ------
    NucplanError
        If the folder does not exist or has no ``images`` or ``masks``.
    """
    root = find_root(folder, *IMAGES)
    images = next(root / name for name in IMAGES if (root / name).is_dir())
    if not (root / MASKS).is_dir():
        raise NucplanError(f"{root} has no folder '{MASKS}' beside '{images.name}'; add it.")
    pairs, faults = pair_up(images_by_stem(images), images_by_stem(root / MASKS, LABEL_SUFFIXES), "mask")
    names = CLASSES if exclude == "class" else tuple(name for name in CLASSES if name != EXCLUDE)
    return Source(
        cases=[Case(stem, pair.image, partial(_load, pair, names), _part(stem, test)) for stem, pair in pairs.items()],
        class_names=names,
        groups={stem: patient(stem) for stem in pairs},
        mpp=_pixel_size(pairs),
        licence=FORMAT.licence,
        citation="BCSS, Amgad et al. 2019, doi 10.1093/bioinformatics/btz083",
        faults=tuple(faults),
        remarks=(REGIONS,),
    )


def _part(stem: str, test: str) -> Part:
    return "Ts" if test == "hospitals" and hospital(stem) in TEST_HOSPITALS else "Tr"


def _pixel_size(stems: Iterable[str]) -> float | None:
    sizes = {found[1] if (found := re.search(r"MPP-(\d+\.?\d*)", stem)) else None for stem in stems}
    only = sizes.pop() if len(sizes) == 1 else None
    return None if only is None else float(only)


def _load(pair: Pair, names: tuple[str, ...]) -> Annotated:
    codes = read_label_map(pair.annotation)
    if codes.max(initial=0) > len(CLASSES):
        raise NucplanError(
            f"{pair.annotation} has the code {codes.max()}, but codes are 0 to {len(CLASSES)}; download it again."
        )
    class_of_code = [0, *(names.index(name) + 1 if name in names else 0 for name in CLASSES)]
    classes = np.array(class_of_code, np.uint8)[codes]
    instances, class_of = np.zeros(codes.shape, np.int32), {}
    for class_id in np.unique(classes[classes > 0]).tolist():
        pieces = components(classes == class_id)
        first = len(class_of) + 1
        instances[pieces > 0] = pieces[pieces > 0] + first - 1
        class_of.update(dict.fromkeys(range(first, first + int(pieces.max())), class_id))
    return Annotated(read_image(pair.image), instances, class_of, ignored=classes == 0)


FORMAT = Format(
    "bcss",
    "H&E",
    "BCSS, tissue regions of breast cancer and no nuclei; exclude is ignored, undetermined is a class",
    LAYOUT,
    read,
    classes="20 regions",
    mpp="0.25",
    size="151 images, mixed sizes",
    licence="CC0-1.0",
    documented="https://github.com/PathologyDataScience/BCSS",
    options=(
        Option("test", "the test part: the six hospitals of the paper, or none", "hospitals", ("hospitals", "none")),
        Option("exclude", "what code 7 (exclude) is: an area to ignore, or a class", "ignore", ("ignore", "class")),
    ),
)
