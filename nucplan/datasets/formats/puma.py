"""PUMA: H&E of melanoma, nuclei of ten classes in GeoJSON.

There is no official order of the classes: here it is that of the list ``CLASSES``, and names lose their prefix
``nuclei_``. Track 1 of the challenge is ``--classes tumor,til=lymphocyte+plasma_cell,other=*``. Coordinates are
pixels of the region and are used as they are; images are RGBA, one of them ends in ``.tiff``. Tissue outlines and the
larger context images are not read.

Source: Schuiveling et al. 2025, GigaScience 14, doi 10.1093/gigascience/giaf011.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from nucplan.datasets.annotations.geojson import Feature, read_features
from nucplan.datasets.annotations.layers import counted
from nucplan.datasets.annotations.polygons import NO_AREA, Outline, draw, refuse_other_origin
from nucplan.datasets.finding.files import files_below
from nucplan.datasets.finding.pairs import Pair, by_stem, pair_up
from nucplan.datasets.source import Annotated, Case, Format, Source, Track, check_folder
from nucplan.errors import NucplanError
from nucplan.images import TIFF_SUFFIXES, read_image

LAYOUT = """SOURCE/01_training_dataset_tif_ROIs/<stem>.tif|tiff                       1024 x 1024 RGBA
SOURCE/01_training_dataset_geojson_nuclei/<stem>_nuclei.geojson
where <stem> is training_set_primary_roi_001, ..."""

CLASSES = (
    "tumor", "lymphocyte", "plasma_cell", "histiocyte", "melanophage", "neutrophil", "stroma", "epithelium",
    "endothelium", "apoptosis",
)  # fmt: skip
PREFIX, NUCLEI, CONTEXT = "nuclei_", "_nuclei.geojson", "_context"


def read(folder: Path, track: Track = iter) -> Source:
    """List the images.

    Raises
    ------
    NucplanError
        If the folder does not exist or holds no ``*_nuclei.geojson``.
    """
    check_folder(folder)
    annotations = [(path.name[: -len(NUCLEI)], path) for path in files_below(folder, [NUCLEI])]
    if not annotations:
        raise NucplanError(f"{folder} holds no file *{NUCLEI}; expected is the layout that --list puma shows.")
    images = [path for path in files_below(folder, TIFF_SUFFIXES) if not path.stem.endswith(CONTEXT)]
    pairs, faults = pair_up(by_stem(images), annotations)
    return Source(
        cases=[Case(stem, pair.image, partial(_load, pair)) for stem, pair in pairs.items()],
        class_names=CLASSES,
        licence=FORMAT.licence,
        citation="PUMA, Schuiveling et al. 2025, doi 10.1093/gigascience/giaf011",
        faults=tuple(faults),
        remarks=("Pixel size: the files do not state it; give it with --mpp. Patients are not stated either.",),
    )


def _load(pair: Pair) -> Annotated:
    image, features = read_image(pair.image), read_features(pair.annotation)
    outlines = [Outline(f.rings, _class(f, pair.annotation)) for f in features if f.rings]
    drawn = draw(outlines, image.shape[:2])
    refuse_other_origin(drawn, str(pair.annotation))
    left_out = drawn.left_out | counted([(NO_AREA, len(features) - len(outlines))])
    return Annotated(image, drawn.instances, drawn.class_of, left_out=left_out, remarks=drawn.remarks)


def _class(feature: Feature, path: Path) -> int:
    name = feature.class_name.lower().removeprefix(PREFIX)
    if name not in CLASSES:
        raise NucplanError(
            f"{path} has the class '{feature.class_name}', which is none of {', '.join(CLASSES)}, each with the "
            f"prefix {PREFIX}; correct it."
        )
    return CLASSES.index(name) + 1


FORMAT = Format(
    "puma",
    "H&E",
    "PUMA, melanoma, nuclei in GeoJSON",
    LAYOUT,
    read,
    classes="10",
    mpp="40x, not stated in the files",
    size="205 regions of 1024 x 1024",
    licence="CC0-1.0",
    documented="https://puma.grand-challenge.org/dataset/",
)
