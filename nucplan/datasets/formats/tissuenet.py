"""TissueNet: multiplex tissue images with a nuclear and a membrane channel, nuclei and whole cells.

Source: Greenwald et al. 2022, Nature Biotechnology 40, doi 10.1038/s41587-021-01094-0.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

from nucplan.datasets.annotations.class_maps import label_plane, one_class
from nucplan.datasets.annotations.npz import Rows, names_in, read_member
from nucplan.datasets.annotations.stacks import row_origin
from nucplan.datasets.finding.files import files_below
from nucplan.datasets.multiplex.intensities import Scale, scale_of
from nucplan.datasets.source import Annotated, Case, Format, Option, Source, Track, check_folder
from nucplan.errors import NucplanError

LAYOUT = """SOURCE/tissuenet_v1.1_{train,val,test}.npz
    X: N x H x W x 2, nuclear and membrane; y: N x H x W x 2, whole cells and nuclei; meta is optional
test becomes the test part, train and val are trained on. The files are read as streams and not unpacked."""
MARKERS = ("nuclear", "membrane")
# The plane of y; some repositories state the opposite, the authors' own evaluation this.
TARGETS = {"whole-cell": 0, "nuclear": 1}
CLASS_NAMES = {"whole-cell": "cell", "nuclear": "nucleus"}
NO_GROUPS = (
    "Which crops come from one field is not stated, and val holds each at two sizes: give --groups if you know more."
)
TWO_PIXEL_SIZES = (
    "Pixel size: 0.5 microns is written for every image, but val holds images of two resolutions and does not say "
    "which is which; leave val out where sizes in microns matter."
)
_SPLIT = re.compile(r"train|val|test")


class Split(NamedTuple):
    """One file: its name in case names, its arrays, and the field that each image is from, if it tells."""

    name: str
    images: Rows
    labels: Rows
    fields: list[str] | None


def read(folder: Path, track: Track = iter, target: str = "nuclear", trust: bool = False) -> Source:
    """List the images; intensities that are no whole numbers of 16 bits are all looked at, for a common factor.

    Raises
    ------
    NucplanError
        If the folder does not exist or has no ``.npz`` file, or an array is missing, damaged or of another form.
    """
    check_folder(folder)
    paths = files_below(folder, [".npz"])
    if not paths:
        raise NucplanError(f"{folder} has no .npz file; unpack the download and give its folder.")
    splits = [_split(path, trust) for path in paths]
    rows = [(split.images, i) for split in splits for i in range(len(split.images))]
    scale = scale_of((images[i] for images, i in track(rows)), {split.images.dtype for split in splits})
    grouped = all(split.fields for split in splits)
    return Source(
        cases=[case for split in splits for case in _cases(split, scale, TARGETS[target])],
        class_names=(CLASS_NAMES[target],),
        # One field may have crops in several files.
        groups={f"{s.name}_{i:05d}": field for s in splits for i, field in enumerate(s.fields)} if grouped else None,
        mpp=0.5,
        licence=FORMAT.licence,
        citation="TissueNet, Greenwald et al. 2022, doi 10.1038/s41587-021-01094-0",
        markers=MARKERS,
        factors=scale.factors,
        remarks=(*scale.remarks(MARKERS), *_remarks(splits, grouped)),
    )


def _remarks(splits: list[Split], grouped: bool) -> list[str]:
    two_sizes = any(split.name == "val" for split in splits)
    return [*([TWO_PIXEL_SIZES] if two_sizes else []), *([] if grouped else [NO_GROUPS])]


def _split(path: Path, trust: bool) -> Split:
    images, labels = Rows(path, "X"), Rows(path, "y")
    for rows, planes in ((images, len(MARKERS)), (labels, len(TARGETS))):
        if len(rows.shape) != 4 or rows.shape[3] != planes:
            raise NucplanError(
                f"{path}: {rows.name} has the shape {rows.shape}, not (images, height, width, {planes})."
            )
    if images.shape[:3] != labels.shape[:3]:
        raise NucplanError(f"{path}: X has the shape {images.shape} and y {labels.shape}; download it again.")
    found = _SPLIT.findall(path.stem)
    return Split(found[-1] if found else path.stem, images, labels, _fields(path, len(images), trust))


def _fields(path: Path, count: int, trust: bool) -> list[str] | None:
    """The column ``filename`` of ``meta``, whose first row names the columns; None without it."""
    if "meta" not in names_in(path):
        return None
    meta = read_member(path, "meta", trust)
    if meta.ndim != 2 or len(meta) != count + 1 or "filename" not in (header := [str(cell) for cell in meta[0]]):
        return None
    return [str(cell) for cell in meta[1:, header.index("filename")]]


def _cases(split: Split, scale: Scale, plane: int) -> list[Case]:
    part = "Ts" if split.name == "test" else "Tr"
    return [
        Case(f"{split.name}_{i:05d}", row_origin(split.images.path, i), partial(_load, split, i, scale, plane), part)
        for i in range(len(split.images))
    ]


def _load(split: Split, index: int, scale: Scale, plane: int) -> Annotated:
    origin = row_origin(split.images.path, index)
    image, remarks = scale.apply(split.images[index], origin)
    return one_class(image, label_plane(split.labels[index][..., plane], origin))._replace(remarks=remarks)


FORMAT = Format(
    "tissuenet",
    "multiplex",
    "TissueNet, 9 organs, 6 imaging platforms, in npz files",
    LAYOUT,
    read,
    classes="1",
    mpp="0.5",
    size="about 2,600 images of 512, 4,200 of 256",
    licence="LicenseRef-DeepCell (modified Apache 2.0, non-commercial academic use only)",
    documented="https://datasets.deepcell.org",
    options=(Option("target", "what to segment: nuclei, or whole cells", "nuclear", ("nuclear", "whole-cell")),),
    may_hold_pickles=True,
)
