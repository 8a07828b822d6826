"""CryoNuSeg: H&E of frozen sections, 10 organs, annotated three times.

Source: Mahbod et al. 2021, Computers in Biology and Medicine 132, doi 10.1016/j.compbiomed.2021.104349.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from nucplan.datasets.annotations.label_files import load_labelled
from nucplan.datasets.finding.case_names import case_name
from nucplan.datasets.finding.pairs import pair_up
from nucplan.datasets.finding.unpacked import find_root
from nucplan.datasets.source import NO_GROUPS_KNOWN, Case, Format, Option, Source, Track
from nucplan.errors import NucplanError
from nucplan.images import images_by_stem

LAYOUT = """SOURCE/tissue images/<stem>.tif                                          RGB
SOURCE/Annotator 1 (biologist)/label masks modify/<stem>.tif             instance ids; two more annotations in
SOURCE/Annotator 1 (biologist second round of manual marks up)/<same>/   and
SOURCE/Annotator 2 (bioinformatician)/<same>/label masks modify/"""

IMAGES, LABELS = "tissue images", "label masks modify"
ANNOTATORS = {
    "biologist": "Annotator 1 (biologist)",
    "biologist-again": "Annotator 1 (biologist second round of manual marks up)",
    "bioinformatician": "Annotator 2 (bioinformatician)",
}


def read(folder: Path, track: Track = iter, annotator: str = "biologist") -> Source:
    """List the images with the annotation of one of `ANNOTATORS`.

    Raises
    ------
    NucplanError
        If the folder does not exist, or has no ``tissue images`` or not that annotation.
    """
    root = find_root(folder, IMAGES)
    labels = images_by_stem(_label_folder(root, ANNOTATORS[annotator]))
    pairs, faults = pair_up(images_by_stem(root / IMAGES), labels, "label map")
    return Source(
        cases=[Case(case_name(stem), pair.image, partial(load_labelled, *pair)) for stem, pair in pairs.items()],
        licence=FORMAT.licence,
        citation="CryoNuSeg, Mahbod et al. 2021, doi 10.1016/j.compbiomed.2021.104349",
        faults=tuple(faults),
        remarks=(NO_GROUPS_KNOWN,),
    )


def _label_folder(root: Path, name: str) -> Path:
    # The archive repeats the names of two of the three folders inside them.
    for folder in (root / name / LABELS, root / name / name / LABELS):
        if folder.is_dir():
            return folder
    raise NucplanError(f"{root / name} has no folder '{LABELS}'; unpack it again, or choose another annotator.")


FORMAT = Format(
    "cryonuseg",
    "H&E, frozen sections",
    "CryoNuSeg, 10 human organs",
    LAYOUT,
    read,
    classes="1",
    mpp="40x, not stated",
    size="30 images, 512x512",
    licence="CC-BY-NC-SA-4.0",
    documented="https://github.com/masih4/CryoNuSeg",
    options=(Option("annotator", "whose outlines to learn from", "biologist", tuple(ANNOTATORS)),),
)
