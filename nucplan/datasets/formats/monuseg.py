"""MoNuSeg 2018: H&E of several organs, nuclei outlined in Aperio ImageScope XML, without classes.

Coordinates reach a few pixels over the edges and are cut there; a few regions have fewer than 3 vertices and are
counted. One XML file states no pixel size. Folders of repacked copies (``tissue_image``, ``annotations``, ``images``,
``labels``) are understood as well, as images and annotations are found by suffix and matched by stem.

Source: Kumar et al. 2020, IEEE TMI 39, doi 10.1109/TMI.2019.2947628.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from nucplan.datasets.annotations.aperio import draw_regions, pixel_size, read_regions
from nucplan.datasets.finding.files import files_below
from nucplan.datasets.finding.pairs import Pair, pair_up
from nucplan.datasets.finding.parts import by_part
from nucplan.datasets.finding.tcga import patient
from nucplan.datasets.formats.monusac import CLASSES as MONUSAC_LAYERS
from nucplan.datasets.source import Annotated, Case, Format, Source, Track, check_folder
from nucplan.errors import NucplanError
from nucplan.images import read_image

LAYOUT = """SOURCE/MoNuSeg 2018 Training Data/Tissue Images/<slide>.tif     1000 x 1000 RGB
SOURCE/MoNuSeg 2018 Training Data/Annotations/<slide>.xml
SOURCE/MoNuSegTestData/<slide>.tif and <slide>.xml              the test part
One of the two folders alone is a source to train on."""

IMAGES = (".tif", ".tiff", ".png")


def read(folder: Path, track: Track = iter) -> Source:
    """List the images; of the annotations only the pixel size is read now.

    Raises
    ------
    NucplanError
        If the folder does not exist or holds no XML file.
    """
    check_folder(folder)
    images, annotations = files_below(folder, IMAGES), files_below(folder, [".xml"])
    if not annotations:
        raise NucplanError(f"{folder} holds no XML file; expected is the layout that --list monuseg shows.")
    pairs, faults = pair_up(by_part(images, folder), by_part(annotations, folder))
    mpp, remarks = pixel_size(track([pair.annotation for pair in pairs.values()]))
    return Source(
        cases=[Case(stem, pair.image, partial(_load, pair), part) for (part, stem), pair in pairs.items()],
        groups={stem: patient(stem) for _, stem in pairs},
        mpp=mpp,
        licence=FORMAT.licence,
        citation="MoNuSeg, Kumar et al. 2020, doi 10.1109/TMI.2019.2947628",
        faults=tuple(faults),
        remarks=tuple(remarks),
    )


def _load(pair: Pair) -> Annotated:
    image, regions = read_image(pair.image), read_regions(pair.annotation)
    if layers := {region.layer for region in regions} & set(MONUSAC_LAYERS):
        raise NucplanError(
            f"{pair.annotation} holds the class {min(layers)}, as MoNuSAC does; convert it with the format 'monusac'."
        )
    drawn = draw_regions(regions, [1] * len(regions), image.shape[:2], pair.annotation)
    return Annotated(image, drawn.instances, drawn.class_of, left_out=drawn.left_out, remarks=drawn.remarks)


FORMAT = Format(
    "monuseg",
    "H&E",
    "MoNuSeg 2018, outlines in ImageScope XML",
    LAYOUT,
    read,
    classes="1",
    mpp="0.25, in the files",
    size="37 + 14 images of 1000 x 1000",
    licence="CC-BY-NC-SA-4.0",
    documented="https://monuseg.grand-challenge.org/Data/",
)
