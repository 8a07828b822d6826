"""NuCLS: H&E of breast cancer, fields of view with nuclei that are outlined or only boxed.

Only outlines (``polyline``) are nuclei here. Boxes (``rectangle``) say that there is a nucleus but not which pixels
it has, so they become areas to ignore, and so do nuclei without a clear class. Outlines come from ``csv/``: the masks
do not tell boxes from outlines, and their ids wrap in 8 bits. Of the masks only the code 0, outside of the annotated
field, is used, as an area to ignore; they may be a pixel larger or smaller than the image.

Rectified classes have the prefix ``correction_`` in the raw column, which is taken off.

Source: Amgad et al. 2022, GigaScience 11, doi 10.1093/gigascience/giac037.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from nucplan.datasets.annotations.layers import counted
from nucplan.datasets.annotations.outline_tables import Row, read_outlines
from nucplan.datasets.annotations.polygons import BOXES, UNCLEAR, covered, draw, refuse_other_origin
from nucplan.datasets.finding.breast_folds import FOLD_OPTION, GROUP_OPTION, GROUPS, slide_of, slides_of_fold
from nucplan.datasets.finding.files import files_below
from nucplan.datasets.finding.pairs import Pair, by_stem, pair_up
from nucplan.datasets.finding.unpacked import find_root
from nucplan.datasets.source import Annotated, Case, Format, Option, Source, Track
from nucplan.errors import NucplanError
from nucplan.images import read_image

LAYOUT = """SOURCE/rgb/<slide>_id-..._left-..._top-....png    the field of view
SOURCE/csv/<same name>.csv                       a row per nucleus
SOURCE/mask/<same name>.png                      optional: where the field was annotated
SOURCE/train_test_splits/fold_1_test.csv         optional, for --set fold=1"""

RAW = (
    "tumor", "fibroblast", "lymphocyte", "plasma_cell", "macrophage", "mitotic_figure", "vascular_endothelium",
    "myoepithelium", "apoptotic_body", "neutrophil", "ductal_epithelium", "eosinophil",
)  # fmt: skip
MAIN = (
    "tumor_nonMitotic", "tumor_mitotic", "nonTILnonMQ_stromal", "macrophage", "lymphocyte", "plasma_cell",
    "other_nucleus",
)  # fmt: skip
SUPER = ("tumor_any", "nonTIL_stromal", "sTIL", "other_nucleus")
CLASSES = {"raw": RAW, "main": MAIN, "super": SUPER}
NO_CLASS = {"", "unlabeled", "ambiguous"}
FIELD, LOCATIONS = "fov", "all_fov_locations"
CORRECTED = "correction_"
OUTSIDE_CODE = 0
SLACK = 1


def read(folder: Path, track: Track = iter, level: str = "main", group: str = "patient", fold: str = "none") -> Source:
    """List the images.

    Raises
    ------
    NucplanError
        If the folder does not exist, or it lacks ``rgb``, ``csv`` or the split that is asked for.
    """
    root = find_root(folder, "rgb")
    tables = files_below(find_root(root, "csv") / "csv", [".csv"])
    outlined = [path for path in tables if path.stem.lower() != LOCATIONS]
    pairs, faults = pair_up(by_stem(files_below(root / "rgb", [".png"])), by_stem(outlined))
    masks = dict(by_stem(files_below(root / "mask", [".png"])))
    tested = slides_of_fold(folder, fold)
    cases = [
        Case(stem, pair.image, partial(_load, pair, masks.get(stem), level), "Ts" if slide_of(stem) in tested else "Tr")
        for stem, pair in pairs.items()
    ]
    bare = sum(case.name not in masks for case in cases)
    return Source(
        cases=cases,
        class_names=CLASSES[level],
        groups={case.name: GROUPS[group](case.name) for case in cases},
        mpp=0.2,
        licence=FORMAT.licence,
        citation="NuCLS, Amgad et al. 2022, doi 10.1093/gigascience/giac037",
        faults=tuple(faults),
        remarks=(f"{bare} images have no mask file and count as annotated up to their edges.",) if bare else (),
    )


def _load(pair: Pair, mask: Path | None, level: str) -> Annotated:
    image = read_image(pair.image)
    rows = [row for row in read_outlines(pair.annotation, [f"{level}_classification"]) if _label(row, level) != FIELD]
    classes = [_class(row, level, pair.annotation) for row in rows]
    boxes = [row.outline() for row in rows if row.is_box]
    outlined = [(row, k) for row, k in zip(rows, classes, strict=True) if not row.is_box]
    unclear = [row.outline() for row, k in outlined if not k]
    drawn = draw([row.outline(k) for row, k in outlined if k], image.shape[:2])
    ignored = covered([*boxes, *unclear], image.shape[:2])
    refuse_other_origin(drawn, str(pair.annotation), others_inside=bool(ignored.any()))
    if mask is not None:
        ignored |= _outside(mask, image.shape[:2])
    left_out = drawn.left_out | counted([(BOXES, len(boxes)), (UNCLEAR, len(unclear))])
    return Annotated(image, drawn.instances, drawn.class_of, ignored, left_out, drawn.remarks)


def _label(row: Row, level: str) -> str:
    return (row.cells[f"{level}_classification"] or "").strip().removeprefix(CORRECTED)


def _class(row: Row, level: str, path: Path) -> int:
    """Class 1 to K of a row, 0 where it has no clear one."""
    label = _label(row, level)
    if label.lower() in NO_CLASS:
        return 0
    if label not in CLASSES[level]:
        raise NucplanError(
            f"{path} has the {level} class '{label}', which is none of {', '.join(CLASSES[level])}; correct it."
        )
    return CLASSES[level].index(label) + 1


def _outside(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Where the mask has the code 0, outside of the annotated field, and where it does not reach."""
    codes = read_image(path)
    if codes.ndim != 3 or any(abs(a - b) > SLACK for a, b in zip(codes.shape[:2], shape, strict=True)):
        raise NucplanError(
            f"{path} has the shape {codes.shape}, which is not that of its image, {shape}, with 3 channels; download "
            "it again."
        )
    outside = np.ones(shape, bool)
    part = codes[: shape[0], : shape[1], 0]
    outside[: part.shape[0], : part.shape[1]] = part == OUTSIDE_CODE
    return outside


FORMAT = Format(
    "nucls",
    "H&E",
    "NuCLS, breast; outlined nuclei are used, boxes are ignored areas",
    LAYOUT,
    read,
    classes="12, 7 or 4, see level",
    mpp="0.2",
    size="1,744 fields of 300 to 450 pixels (corrected single-rater set)",
    licence="CC0-1.0",
    documented="https://sites.google.com/view/nucls/data-format",
    options=(
        Option("level", "which of the three sets of classes", "main", tuple(CLASSES)),
        GROUP_OPTION,
        FOLD_OPTION,
    ),
)
