"""PanopTILs: H&E of breast cancer, regions of 1024 x 1024 with nuclei of seven classes.

The masks hold no instances: channel 0 is the region, channel 1 the class of the nucleus, channel 2 the edges between
nuclei that touch. So outlines come from ``csv/``, and the class of each is the one that most of its pixels have in
channel 1. Without the folder ``csv`` the components of each class in channel 1 without its edges are the nuclei, and
pixels of edges go to the nearest of them; what is farther off than an edge is wide becomes an area to ignore.

Excluded regions and nuclei of the class UnknownOrAmbiguousCell become areas to ignore.

Source: Liu et al. 2024, npj Breast Cancer 10, doi 10.1038/s41523-024-00663-1.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from nucplan.datasets.annotations.layers import components, counted, majority_classes
from nucplan.datasets.annotations.outline_tables import read_outlines
from nucplan.datasets.annotations.polygons import BOXES, UNCLEAR, Drawn, covered, draw, refuse_other_origin
from nucplan.datasets.finding.breast_folds import FOLD_OPTION, GROUP_OPTION, GROUPS, slide_of, slides_of_fold
from nucplan.datasets.finding.files import files_below
from nucplan.datasets.finding.pairs import by_stem, pair_up
from nucplan.datasets.finding.unpacked import find_root
from nucplan.datasets.source import Annotated, Case, Format, Source, Track
from nucplan.errors import NucplanError
from nucplan.images import read_image

LAYOUT = """SOURCE/rgbs/<slide>_xmin..._MPP-0.2500_....png    1024 x 1024 RGB
SOURCE/masks/<same name>.png                    region, class of nucleus, edges
SOURCE/csv/<same name>.csv                      a row per nucleus
SOURCE/../train_test_splits/fold_1_test.csv     optional, for --set fold=1
SOURCE may also be a folder above, where it holds only one folder rgbs."""

CLASSES = (
    "CancerEpithelium", "StromalCellNOS", "ActiveStromalCellNOS", "TILsCell", "ActiveTILsCell", "NormalEpithelium",
    "OtherCell",
)  # fmt: skip
# Codes in channels 0 and 1 of a mask beside the classes, which are 1 to 7.
EXCLUDED, UNKNOWN, BACKGROUND = 0, 8, 9
# Half of the widest edge between two nuclei, in pixels.
EDGE_REACH = 3
FROM_MASK = "nuclei parted by the edges in the mask, as there is no folder csv"
ALL_EDGE = "pieces of nuclei that are nothing but edge, now areas to ignore"


def read(folder: Path, track: Track = iter, group: str = "patient", fold: str = "none") -> Source:
    """List the images.

    Raises
    ------
    NucplanError
        If the folder does not exist, or it lacks ``rgbs``, ``masks`` or the split that is asked for.
    """
    root = find_root(folder, "rgbs")
    masks, tables = root / "masks", root / "csv"
    if not masks.is_dir():
        raise NucplanError(f"{root} has no folder 'masks' beside 'rgbs'; add it.")
    pairs, faults = pair_up(*(by_stem(files_below(where, [".png"])) for where in (root / "rgbs", masks)))
    outlines = dict(by_stem(files_below(tables, [".csv"]))) if tables.is_dir() else None
    tested, cases = slides_of_fold(folder, fold), []
    for stem, pair in pairs.items():
        if outlines is not None and stem not in outlines:
            faults.append(f"{pair.image} has no table {tables / stem}.csv; add it or remove the image.")
            continue
        table = outlines[stem] if outlines is not None else None
        part = "Ts" if slide_of(stem) in tested else "Tr"
        cases.append(Case(stem, pair.image, partial(_load, *pair, table), part))
    return Source(
        cases=cases,
        class_names=CLASSES,
        groups={case.name: GROUPS[group](case.name) for case in cases},
        mpp=0.25,
        licence=FORMAT.licence,
        citation="PanopTILs, Liu et al. 2024, doi 10.1038/s41523-024-00663-1",
        faults=tuple(faults),
    )


def _load(image_path: Path, mask_path: Path, table: Path | None) -> Annotated:
    image, mask = read_image(image_path), _read_mask(mask_path)
    if mask.shape[:2] != image.shape[:2]:
        raise NucplanError(f"{mask_path} and its image differ in size, {mask.shape[:2]} and {image.shape[:2]}.")
    regions, codes, edges = np.moveaxis(mask, 2, 0)
    drawn, ignored = _from_mask(codes, edges) if table is None else _from_table(table, codes.shape)
    ignored |= (regions == EXCLUDED) | (codes == EXCLUDED) | (codes == UNKNOWN)
    class_of, _ = majority_classes(drawn.instances, np.where(codes == BACKGROUND, 0, codes))
    clear = {i: k for i, k in class_of.items() if 1 <= k <= len(CLASSES)}
    unclear = (drawn.instances > 0) & ~np.isin(drawn.instances, list(clear))
    instances = np.where(unclear, 0, drawn.instances)
    left_out = drawn.left_out | counted([(UNCLEAR, len(class_of) - len(clear))])
    return Annotated(image, instances, clear, ignored | unclear, left_out, drawn.remarks)


def _read_mask(path: Path) -> np.ndarray:
    mask = read_image(path)
    if mask.ndim != 3:
        raise NucplanError(f"{path} has one channel instead of three (region, nucleus, edges); download it again.")
    if mask[..., 1].max() > BACKGROUND:
        raise NucplanError(f"{path} has the nucleus code {mask[..., 1].max()}, above {BACKGROUND}; download it again.")
    return mask


def _from_table(path: Path, shape: tuple[int, int]) -> tuple[Drawn, np.ndarray]:
    rows = read_outlines(path)
    boxes = [row.outline() for row in rows if row.is_box]
    drawn = draw([row.outline() for row in rows if not row.is_box], shape)
    ignored = covered(boxes, shape)
    refuse_other_origin(drawn, str(path), others_inside=bool(ignored.any()))
    drawn.left_out |= counted([(BOXES, len(boxes))])
    return drawn, ignored


def _from_mask(codes: np.ndarray, edges: np.ndarray) -> tuple[Drawn, np.ndarray]:
    from skimage.segmentation import expand_labels

    instances, count = np.zeros(codes.shape, np.int32), 0
    nuclear = (codes != EXCLUDED) & (codes != BACKGROUND)
    # Class by class, as nuclei of two classes may touch without an edge.
    for code in np.unique(codes[nuclear]).tolist():
        of_class = codes == code
        parted = components(of_class & (edges == 0))
        grown = np.where(of_class, expand_labels(parted, EDGE_REACH), 0)
        instances[grown > 0] = grown[grown > 0] + count
        count += int(parted.max())
    rest = nuclear & (instances == 0)
    left_out = counted([(ALL_EDGE, int(components(rest).max()))])
    return Drawn(instances, left_out=left_out, remarks=counted([(FROM_MASK, count)])), rest


FORMAT = Format(
    "panoptils",
    "H&E",
    "PanopTILs, breast, most nuclei found by a model",
    LAYOUT,
    read,
    classes="7",
    mpp="0.25",
    size="regions of 1024 x 1024",
    licence="CC0-1.0",
    documented="https://sites.google.com/view/panoptils",
    options=(GROUP_OPTION, FOLD_OPTION),
)
