"""CoNIC challenge 2022: overlapping patches of the Lizard images, all in two arrays.

Source: Graham et al. 2024, Medical Image Analysis 92, doi 10.1016/j.media.2023.103047.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from nucplan.datasets.annotations.class_maps import classes_by_pixel
from nucplan.datasets.annotations.stacks import eight_bit, read_row, row_origin, stack_shape
from nucplan.datasets.finding.unpacked import find_root
from nucplan.datasets.source import Annotated, Case, Format, Source, Track
from nucplan.datasets.tables import read_rows
from nucplan.errors import NucplanError

LAYOUT = """SOURCE/images.npy       N x 256 x 256 x 3, uint8
SOURCE/labels.npy       N x 256 x 256 x 2, ids and class numbers
SOURCE/patch_info.csv   one column patch_info, e.g. consep_1-0000: the source image before the last "-" is the group
counts.csv is not needed."""
CLASSES = ("neutrophil", "epithelial", "lymphocyte", "plasma", "eosinophil", "connective")


def read(folder: Path, track: Track = iter) -> Source:
    """List the patches; all patches of one source image are one group.

    Raises
    ------
    NucplanError
        If a file is missing or damaged, several folders hold some, or the three do not hold the same number of
        patches.
    """
    folder = find_root(folder, "images.npy", kind=Path.is_file)
    images, labels = folder / "images.npy", folder / "labels.npy"
    shape, of_labels = stack_shape(images, (3,)), stack_shape(labels, (2,))
    if shape != of_labels:
        raise NucplanError(f"{images} holds patches {shape} and {labels} {of_labels}; download them again.")
    names = _patch_names(folder / "patch_info.csv")
    if len(names) != shape[0]:
        raise NucplanError(f"{folder / 'patch_info.csv'} names {len(names)} patches of {shape[0]}; download it again.")
    return Source(
        cases=[Case(name, row_origin(images, i), partial(_load, images, labels, i)) for i, name in enumerate(names)],
        class_names=CLASSES,
        groups={name: name.rpartition("-")[0] or name for name in names},
        mpp=0.5,
        licence=FORMAT.licence,
        citation="CoNIC, Graham et al. 2024, doi 10.1016/j.media.2023.103047",
    )


def _load(images: Path, labels: Path, index: int) -> Annotated:
    image = eight_bit(read_row(images, index), row_origin(images, index))
    annotation = read_row(labels, index)
    return classes_by_pixel(image, annotation[..., 0], annotation[..., 1], len(CLASSES), row_origin(labels, index))


def _patch_names(path: Path) -> list[str]:
    if not path.is_file():
        raise NucplanError(f"{path} is missing; restore it, as patches of one image overlap and must stay together.")
    return [row["patch_info"].strip() for row in read_rows(path, ["patch_info"])]


FORMAT = Format(
    "conic",
    "H&E",
    "CoNIC challenge, colon, patches in npy files",
    LAYOUT,
    read,
    classes=", ".join(CLASSES),
    mpp="0.5",
    size="4,981 patches of 256 x 256",
    licence="CC-BY-NC-SA-4.0",
    documented="https://conic-challenge.grand-challenge.org",
)
