"""Aperio ImageScope annotations: regions outlined by vertices, in XML.

``Annotations[@MicronsPerPixel] > Annotation > Attributes/Attribute[@Name]`` (of the layer) and ``Regions/Region >
Vertices/Vertex[@X @Y]``. X is the column and Y the row, in pixels of level 0. Several tools write such files; ids of
regions need not start at 1 and are not used.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from nucplan.datasets.annotations.layers import counted
from nucplan.datasets.annotations.polygons import (
    Drawn,
    Outline,
    Stamp,
    draw,
    rasterise,
    refuse_other_origin,
    shared,
)
from nucplan.errors import NucplanError

CUT_OUT = "nuclei that regions drawn as cut out (NegativeROA) remove"
LONELY = "regions drawn as cut out (NegativeROA) that lie in no outline"
# The element at the root comes first, with all that it says.
HEAD_BYTES = 65_536


@dataclass(frozen=True)
class Region:
    """One outline.

    Attributes
    ----------
    layer : name of the first attribute of its annotation layer, "" where it has none
    vertices : (n, 2) float64 x, y in pixels, any n
    negative : whether it is cut out of the region that it lies in
    """

    layer: str
    vertices: np.ndarray
    negative: bool = False


def read_regions(path: Path) -> list[Region]:
    """The regions of all layers, in the order of the file.

    Raises
    ------
    NucplanError
        If the file is missing, no well-formed XML, declares a document type, or holds no region.
    """
    try:
        regions = [
            Region(_layer_name(layer), _vertices(region), region.get("NegativeROA") == "1")
            for layer in _parse(path).iter("Annotation")
            for region in layer.iterfind("Regions/Region")
        ]
    except NucplanError:
        raise
    except (TypeError, ValueError):
        raise NucplanError(f"{path} has a vertex without numbers for X and Y; export it again.") from None
    if not regions:
        raise NucplanError(
            f"{path} has no region, so that all of its image would count as background; export it again, or remove "
            "it and its image."
        )
    return regions


def draw_regions(regions: Sequence[Region], classes: Sequence[int], shape: tuple[int, int], path: Path) -> Drawn:
    """A label map of ``shape`` (H, W) from regions and the class of each.

    A negative region is cut out of the outline that it lies in alone: what is drawn inside of the hole stays.

    Raises
    ------
    NucplanError
        If all regions lie outside of the image; the message names ``path``.
    """
    outlines = [Outline([r.vertices], k) for r, k in zip(regions, classes, strict=True) if not r.negative]
    found = [rasterise(outline, shape) for outline in outlines]
    stamps = [stamp for stamp in found if isinstance(stamp, Stamp)]
    holes = [rasterise(Outline([region.vertices]), shape) for region in regions if region.negative]
    lonely = _cut(stamps, [hole for hole in holes if isinstance(hole, Stamp)])
    left = [stamp for stamp in stamps if stamp.inside.any()]
    # Those without a pixel are counted by reason when they are drawn.
    pixelless = [outline for outline, stamp in zip(outlines, found, strict=True) if isinstance(stamp, str)]
    drawn = draw([*left, *pixelless], shape)
    refuse_other_origin(drawn, str(path))
    drawn.left_out |= counted([(CUT_OUT, len(stamps) - len(left))])
    drawn.remarks |= counted([(LONELY, lonely)])
    return drawn


def _cut(stamps: Sequence[Stamp], holes: Sequence[Stamp]) -> int:
    """Clear the pixels of each hole in the smallest outline around it; the number of holes without one."""
    around = [_outline_around(hole, stamps) for hole in holes]
    for hole, stamp in zip(holes, around, strict=True):
        if stamp is not None:
            pixels, cut = shared(stamp, hole)
            pixels &= ~cut
    return around.count(None)


def _outline_around(hole: Stamp, stamps: Sequence[Stamp]) -> Stamp | None:
    """The smallest outline, no smaller than the hole, that has most of its pixels: by hand, edges are not exact."""
    area = hole.inside.sum()
    large = [stamp for stamp in stamps if stamp.inside.sum() >= area]
    holding = [stamp for stamp in large if 2 * np.logical_and(*shared(stamp, hole)).sum() > area]
    return min(holding, key=lambda stamp: stamp.inside.sum(), default=None)


def pixel_size(paths: Iterable[Path]) -> tuple[float | None, list[str]]:
    """The median ``MicronsPerPixel`` of annotation files, None where none states it, and a sentence about it."""
    found = [_microns_per_pixel(path) for path in paths]
    known = [mpp for mpp in found if mpp is not None]
    if not known:
        return None, ["Pixel size: no annotation file states it; give it with --mpp."]
    median = round(statistics.median(known), 5)
    without = f"; {len(found) - len(known)} files state none" if len(known) < len(found) else ""
    return median, [
        f"Pixel size: {median:g} microns, the median of {len(known)} annotation files "
        f"({min(known):g} to {max(known):g}{without})."
    ]


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path, ElementTree.XMLParser(target=_Tree(path))).getroot()
    except NucplanError:
        raise
    except OSError as error:
        raise NucplanError(f"{path} cannot be read ({error.strerror}); check the path.") from None
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise NucplanError(f"{path} is no whole XML file ({error}); copy or export it again.") from None


class _Tree(ElementTree.TreeBuilder):
    """Refuses entities before they are expanded: they need a document type, which no annotation has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def doctype(self, *_: object) -> None:
        raise NucplanError(f"{self._path} declares a document type, as no annotation does; export it again.")


class _Root:
    """Keeps the attributes of the element at the root."""

    attributes: dict[str, str] | None = None

    def start(self, _: str, attributes: dict[str, str]) -> None:
        if self.attributes is None:
            self.attributes = attributes

    def doctype(self, *_: object) -> None:
        raise ValueError("a document type")

    def close(self) -> None:
        pass


def _microns_per_pixel(path: Path) -> float | None:
    """What the root says; None also where the file is damaged, which `read_regions` refuses."""
    root = _Root()
    try:
        with open(path, "rb") as handle:
            ElementTree.XMLParser(target=root).feed(handle.read(HEAD_BYTES))
        mpp = float((root.attributes or {})["MicronsPerPixel"])
    except (OSError, ElementTree.ParseError, KeyError, ValueError):
        return None
    return mpp if math.isfinite(mpp) and 0 < mpp < 100 else None


def _layer_name(layer: ElementTree.Element) -> str:
    attribute = layer.find("Attributes/Attribute")
    return "" if attribute is None else attribute.get("Name", "").strip()


def _vertices(region: ElementTree.Element) -> np.ndarray:
    points = [(float(vertex.get("X")), float(vertex.get("Y"))) for vertex in region.iterfind("Vertices/Vertex")]
    return np.array(points, np.float64).reshape(-1, 2)
