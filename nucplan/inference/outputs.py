"""What a prediction leaves on disk for one image: table, outlines, pictures, and last the label map."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nucplan.explanation import BoundaryExplanation, SplitTable
from nucplan.files import atomic_path
from nucplan.images import write_image, write_label_map
from nucplan.inference.boundary_picture import draw_boundary_picture
from nucplan.inference.geojson import write_geojson
from nucplan.inference.overlay import draw_overlay, shown_planes
from nucplan.instances import Instances, NucleusTable

SPLITS = "_splits.csv"
EXPLANATION_SUFFIXES = ("_boundary.png", SPLITS)
SUFFIXES = (".tif", ".csv", ".geojson", ".geojson.gz", "_overlay.png", *EXPLANATION_SUFFIXES)


def write_outputs(
    folder: str | os.PathLike,
    stem: str,
    image: np.ndarray,
    instances: Instances,
    class_names: Sequence[str],
    mpp: float | None = None,
    geojson_gz: bool = False,
    overlay: bool = True,
    explanation: BoundaryExplanation | None = None,
    markers: Sequence[str] | None = None,
) -> None:
    """Write ``<stem>.csv``, ``<stem>.geojson``, ``<stem>_overlay.png`` and, when all is well, ``<stem>.tif``.

    An explanation adds ``<stem>_boundary.png`` and ``<stem>_splits.csv``.

    Each file is whole or absent, and files of an earlier run go first: where the label map exists, the others do too
    and belong to it.

    Parameters
    ----------
    folder : path
        Made when missing.
    stem : str
    image : (H, W) or (H, W, C)
    instances : Instances
    class_names : sequence of str
        Names of the classes 1..K.
    mpp : float, optional
        Microns per pixel; adds the columns in microns.
    geojson_gz : bool
        Compress the outlines (``<stem>.geojson.gz``).
    overlay : bool
        Draw the picture.
    explanation : BoundaryExplanation, optional
        Why these nuclei were parted, in pixels of the image.
    markers : sequence of str, optional
        Of the channels of a multiplex image, of which the pictures show some.
    """
    folder = Path(folder)
    remove_outputs(folder, stem)
    write_table(folder / f"{stem}.csv", instances.table, class_names, mpp)
    write_geojson(folder / f"{stem}.geojson{'.gz' if geojson_gz else ''}", instances, class_names, mpp)
    if markers is not None:
        planes = shown_planes(image, markers)
        image, markers = image[..., planes], [markers[i] for i in planes]
    if overlay:
        write_image(folder / f"{stem}_overlay.png", draw_overlay(image, instances, class_names, markers))
    if explanation is not None:
        write_image(folder / f"{stem}_boundary.png", draw_boundary_picture(image, instances, class_names, explanation))
        write_splits(folder / f"{stem}{SPLITS}", explanation.decisions.table)
    write_label_map(folder / f"{stem}.tif", instances.labels)


def remove_outputs(folder: str | os.PathLike, stem: str) -> None:
    """Remove all files of an image; the label map goes first, so that what is left never looks complete."""
    for suffix in SUFFIXES:
        # Beside a label map of that name, a table of splits is the table of another image.
        if suffix != SPLITS or not is_complete(folder, splits_stem(stem)):
            (Path(folder) / f"{stem}{suffix}").unlink(missing_ok=True)


def is_complete(folder: str | os.PathLike, stem: str) -> bool:
    """Whether all files of an image were written: its label map comes last."""
    return (Path(folder) / f"{stem}.tif").is_file()


def splits_stem(stem: str) -> str:
    """The image whose table would have the name of this one's table of splits."""
    return f"{stem}{SPLITS.removesuffix('.csv')}"


def is_explained(folder: str | os.PathLike, stem: str) -> bool:
    """Whether the files of an explanation lie beside those of an image."""
    return all((Path(folder) / f"{stem}{suffix}").is_file() for suffix in EXPLANATION_SUFFIXES)


def write_table(
    path: str | os.PathLike, table: NucleusTable, class_names: Sequence[str], mpp: float | None = None
) -> None:
    """Write one row per nucleus.

    Centroids have (0, 0) at the centre of the first pixel; boxes are half open. ``probability`` is that of the class
    of the nucleus, the mean over its pixels as the network gives it (`NucleusTable.probability`): with one class, too,
    it tells sure nuclei from doubtful ones. An ensemble adds ``confidence``, how far its networks agree.
    """
    lengths = {
        "centroid_x": table.centroid[:, 1],
        "centroid_y": table.centroid[:, 0],
        "area": table.area,
        "box_x0": table.bounding_box[:, 1],
        "box_y0": table.bounding_box[:, 0],
        "box_x1": table.bounding_box[:, 3],
        "box_y1": table.bounding_box[:, 2],
    }
    columns = {f"{name}_px": values for name, values in lengths.items()}
    if mpp is not None:
        columns |= {f"{name}_um": values * mpp for name, values in lengths.items() if name != "area"}
        columns["area_um2"] = table.area * mpp**2
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["id", "class", *_shares(table), *columns])
        writer.writerows(_rows(table, class_names, list(columns.values())))


def _rows(table: NucleusTable, class_names: Sequence[str], columns: list[np.ndarray]) -> Iterator[tuple]:
    names = [class_names[k - 1] for k in table.class_id.tolist()]
    shares = [[f"{share:.4f}" for share in column.tolist()] for column in _shares(table).values()]
    values = [np.round(column, 3).tolist() for column in columns]
    yield from zip(table.id.tolist(), names, *shares, *values, strict=True)


def _shares(table: NucleusTable) -> dict[str, np.ndarray]:
    """Columns from 0 to 1, by name."""
    confidence = {} if table.confidence is None else {"confidence": table.confidence}
    return {"probability": table.probability, **confidence}


def write_splits(path: str | os.PathLike, table: SplitTable) -> None:
    """Write one row per pair of touching basins, in the order in which they were decided.

    ``ratio`` is ``pass_height / lower_peak`` on the landscape of the decoder; above ``neck`` the two are joined, and
    ``nucleus_a`` is ``nucleus_b``. A nucleus that was dropped as too small is 0. The pass has (0, 0) at the centre of
    the first pixel.
    """
    columns = {
        "nucleus_a": table.nuclei[:, 0],
        "nucleus_b": table.nuclei[:, 1],
        "x_px": np.round(table.position[:, 1], 2),
        "y_px": np.round(table.position[:, 0], 2),
        "pass_height": _four_digits(table.pass_height),
        "lower_peak": _four_digits(table.lower_peak),
        "ratio": _four_digits(table.ratio),
        "neck": np.full(len(table), table.neck),
        "decision": table.decision,
    }
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))


def _four_digits(values: np.ndarray) -> np.ndarray:
    return np.round(values.astype(np.float64), 4)
