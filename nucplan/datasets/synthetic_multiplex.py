"""Synthetic multiplex images: sparse counts of markers in the nuclei, on the membranes or around the nuclei of cells.

Shapes, densities and the mix of cells are those of `nucplan.datasets.synthetic_shapes`. As in mass spectrometry
imaging (MIBI), most pixels of most markers are 0 and the 99th percentile of a marker is a few counts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile

from nucplan.datasets.synthetic_shapes import EPITHELIAL, FIBROBLAST, LYMPHOCYTE, Placed, place_nuclei
from nucplan.files import atomic_path
from nucplan.images import write_label_map

ALL = (LYMPHOCYTE, FIBROBLAST, EPITHELIAL)
# Signed distance to the outline of the nucleus, px, positive inside.
NUCLEUS, MEMBRANE, CYTOPLASM = (0.0, np.inf), (-3.5, -0.5), (-6.0, 0.0)
BACKGROUND = 0.05  # counts per pixel
MPP = 0.5


class Stained(NamedTuple):
    """Where a marker is, in which kinds of cells, in which share of these, and how many counts a pixel then has."""

    place: tuple[float, float]
    kinds: tuple[int, ...]
    share: float
    counts: float


MARKERS = {
    "DAPI": Stained(NUCLEUS, ALL, 1.0, 12.0),
    "Histone H3": Stained(NUCLEUS, ALL, 1.0, 6.0),
    "CD45": Stained(MEMBRANE, (LYMPHOCYTE,), 1.0, 3.0),
    "CD3": Stained(MEMBRANE, (LYMPHOCYTE,), 0.6, 3.0),
    "CD8": Stained(MEMBRANE, (LYMPHOCYTE,), 0.3, 2.0),
    "CD20": Stained(MEMBRANE, (LYMPHOCYTE,), 0.3, 3.0),
    "FoxP3": Stained(NUCLEUS, (LYMPHOCYTE,), 0.15, 1.5),
    "Ki-67": Stained(NUCLEUS, ALL, 0.2, 3.0),
    "PanCK": Stained(CYTOPLASM, (EPITHELIAL,), 1.0, 4.0),
    "Vimentin": Stained(CYTOPLASM, (FIBROBLAST, LYMPHOCYTE), 0.7, 3.0),
    "aSMA": Stained(CYTOPLASM, (FIBROBLAST,), 0.5, 3.0),
    "CD31": Stained(MEMBRANE, (FIBROBLAST,), 0.4, 2.0),
}
IMMUNE = ("DAPI", "CD45", "CD3", "CD8", "CD20", "FoxP3", "Ki-67", "PanCK")
STROMA = ("DAPI", "Histone H3", "CD45", "PanCK", "Vimentin", "aSMA", "CD31")


def make_multiplex(
    rng: np.random.Generator, size: int = 256, markers: Sequence[str] = tuple(MARKERS)
) -> tuple[np.ndarray, np.ndarray, dict[int, int]]:
    """Draw one image.

    Parameters
    ----------
    rng : source of all randomness
    size : height and width in pixels
    markers : names of `MARKERS`, the planes in their order

    Returns
    -------
    image : (C, size, size) uint16 counts
    instances : (size, size) int32, ids 1..N of the nuclei
    classes : instance id to class, 1 to 3 as in `nucplan.datasets.synthetic.CLASS_NAMES`
    """
    placed, instances = place_nuclei(rng, size, rng.uniform(0, np.pi))
    image = np.stack([rng.poisson(_rates(rng, size, placed, MARKERS[name])) for name in markers])
    return image.astype(np.uint16), instances, {i: one.nucleus.class_id for i, one in enumerate(placed, start=1)}


def write_multiplex(
    folder: str | os.PathLike,
    images: int,
    size: int = 256,
    seed: int = 0,
    panels: Sequence[Sequence[str]] = (IMMUNE, STROMA),
) -> None:
    """Write a source for ``nucplan_convert ome``: OME-TIFFs with named planes, and masks.

    The images have the panels in turn, the planes of each in an order of its own. Image n depends on ``seed`` and n
    alone.
    """
    for index in range(images):
        rng = np.random.default_rng([seed, index])
        markers = [str(name) for name in rng.permutation(panels[index % len(panels)])]
        image, instances, _ = make_multiplex(rng, size, markers)
        write_ome(Path(folder) / "images" / f"field_{index:03d}.ome.tif", image, markers)
        write_label_map(Path(folder) / "masks" / f"field_{index:03d}.tif", instances)


def write_ome(path: Path, image: np.ndarray, markers: Sequence[str], mpp: float = MPP) -> None:
    """Write planes (C, H, W) as an OME-TIFF that names them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"axes": "CYX", "Channel": {"Name": list(markers)}, "PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
    with atomic_path(path) as temporary:
        tifffile.imwrite(temporary, image, ome=True, photometric="minisblack", metadata=metadata)


def _rates(rng: np.random.Generator, size: int, placed: Sequence[Placed], stained: Stained) -> np.ndarray:
    """Expected counts (size, size) of one marker."""
    rates = np.full((size, size), BACKGROUND)
    nearest, farthest = stained.place
    for one in placed:
        if one.nucleus.class_id in stained.kinds and rng.random() < stained.share:
            there = (one.distance > nearest) & (one.distance <= farthest)
            rates[one.window][there] = stained.counts * np.exp(rng.normal(0, 0.4))
    return rates
