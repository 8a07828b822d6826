"""MoNuSAC 2020: H&E of four organs, nuclei of four classes outlined in Aperio ImageScope XML.

The class of a layer is the name of its attribute (``Annotation/Attributes/Attribute/@Name``), not that of the layer.
The test part has a fifth, Ambiguous, which becomes an area to ignore. Where an image is there as ``.svs`` and as
``.tif``, the latter is read. Class order as in HoVer-Net.

Two patients are in both official parts, which would let a network be tested on a patient that it knows. Their images
of the training part are left out, so that the test part stays the official one.

Source: Verma et al. 2021, IEEE TMI 40, doi 10.1109/TMI.2021.3085712.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from nucplan.datasets.annotations.aperio import Region, draw_regions, pixel_size, read_regions
from nucplan.datasets.annotations.layers import counted
from nucplan.datasets.annotations.polygons import Outline, covered
from nucplan.datasets.finding.files import files_below
from nucplan.datasets.finding.pairs import Pair, pair_up
from nucplan.datasets.finding.parts import by_part
from nucplan.datasets.finding.tcga import patient
from nucplan.datasets.multiplex.svs import read_svs
from nucplan.datasets.raw import Part
from nucplan.datasets.source import Annotated, Case, Format, Source, Track, check_folder
from nucplan.errors import NucplanError
from nucplan.images import TIFF_SUFFIXES, read_image

LAYOUT = """SOURCE/MoNuSAC_images_and_annotations/<patient>/<image>.svs|tif and <image>.xml
SOURCE/MoNuSAC Testing Data and Annotations/<patient>/<image>.svs|tif and <image>.xml    the test part
One of the two folders alone is a source to train on."""

CLASSES = ("Epithelial", "Lymphocyte", "Macrophage", "Neutrophil")
AMBIGUOUS = "Ambiguous"
IGNORED = "ambiguous regions, now areas to ignore"
SVS = ".svs"

# Part and stem.
Key = tuple[Part, str]


def read(folder: Path, track: Track = iter) -> Source:
    """List the images; of the annotations only the pixel size is read now.

    Raises
    ------
    NucplanError
        If the folder does not exist or holds no XML file.
    """
    check_folder(folder)
    annotations = files_below(folder, [".xml"])
    if not annotations:
        raise NucplanError(f"{folder} holds no XML file; expected is the layout that --list monusac shows.")
    pairs, faults = pair_up(by_part(_images(folder), folder), by_part(annotations, folder))
    kept, leak = _without_test_patients(pairs)
    mpp, remarks = pixel_size(track([pair.annotation for pair in kept.values()]))
    return Source(
        cases=[Case(stem, pair.image, partial(_load, pair), part) for (part, stem), pair in kept.items()],
        class_names=CLASSES,
        groups={stem: _patient(pair) for (_, stem), pair in kept.items()},
        mpp=mpp,
        licence=FORMAT.licence,
        citation="MoNuSAC 2020, Verma et al. 2021, doi 10.1109/TMI.2021.3085712",
        faults=tuple(faults),
        remarks=(*remarks, *leak),
    )


def _images(folder: Path) -> Iterator[Path]:
    """Every image once, as TIFF where there is one."""
    plain = files_below(folder, TIFF_SUFFIXES)
    yield from plain
    known = {path.with_suffix("") for path in plain}
    yield from (path for path in files_below(folder, [SVS]) if path.with_suffix("") not in known)


def _patient(pair: Pair) -> str:
    return patient(pair.image.parent.name if pair.image.stem == patient(pair.image.stem) else pair.image.stem)


def _without_test_patients(pairs: Mapping[Key, Pair]) -> tuple[dict[Key, Pair], list[str]]:
    """The images to use, and a sentence on the training images of patients that the test part has too."""
    tested = {_patient(pair) for (part, _), pair in pairs.items() if part == "Ts"}
    left_out = {key: pair for key, pair in pairs.items() if key[0] == "Tr" and _patient(pair) in tested}
    if not left_out:
        return dict(pairs), []
    patients = ", ".join(sorted({_patient(pair) for pair in left_out.values()}))
    return {key: pair for key, pair in pairs.items() if key not in left_out}, [
        f"Left out of the training part: {len(left_out)} images of patients that the official test part has too "
        f"({patients})."
    ]


def _load(pair: Pair) -> Annotated:
    image = read_svs(pair.image) if pair.image.suffix.lower() == SVS else read_image(pair.image)
    regions = read_regions(pair.annotation)
    classes = [_class(region, pair.annotation) for region in regions]
    nuclei = [(region, k) for region, k in zip(regions, classes, strict=True) if k]
    unclear = [region for region, k in zip(regions, classes, strict=True) if not k]
    drawn = draw_regions([r for r, _ in nuclei], [k for _, k in nuclei], image.shape[:2], pair.annotation)
    ignored = _area(unclear, image.shape[:2]) if unclear else None
    remarks = drawn.remarks | counted([(IGNORED, sum(not region.negative for region in unclear))])
    return Annotated(image, drawn.instances, drawn.class_of, ignored, drawn.left_out, remarks)


def _area(regions: Sequence[Region], shape: tuple[int, int]) -> np.ndarray:
    """Where the regions are, without what is cut out of them."""
    inside, cut_out = (
        covered([Outline([r.vertices]) for r in regions if r.negative == negative], shape) for negative in (False, True)
    )
    return inside & ~cut_out


def _class(region: Region, path: Path) -> int:
    """Class 1 to 4 of a region, 0 where it is ambiguous."""
    numbers = {name.lower(): k for k, name in enumerate((AMBIGUOUS, *CLASSES))}
    if region.layer.lower() not in numbers:
        raise NucplanError(
            f"{path} has a layer with the attribute '{region.layer}', which is none of "
            f"{', '.join((*CLASSES, AMBIGUOUS))}; correct it."
        )
    return numbers[region.layer.lower()]


FORMAT = Format(
    "monusac",
    "H&E",
    "MoNuSAC 2020, outlines of four classes in ImageScope XML",
    LAYOUT,
    read,
    classes="4",
    mpp="0.19 to 0.25, in the files",
    size="209 + 85 images, mixed sizes",
    licence="CC-BY-NC-SA-4.0",
    documented="https://monusac-2020.grand-challenge.org/Data/",
)
