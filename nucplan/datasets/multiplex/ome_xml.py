"""What the XML in an OME-TIFF says of channels and pixel size.

Source: OME data model 2016-06, https://docs.openmicroscopy.org/ome-model/
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from nucplan.errors import NucplanError

MICRONS = {"pm": 1e-6, "Å": 1e-4, "nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}
DEFAULT_UNIT = "µm"
# How far the two sides of a pixel may differ, as a share of the longer one.
SQUARE = 0.01


class Described(NamedTuple):
    """Names of the channels, None unless all are named; microns per pixel, None where no length is given."""

    names: tuple[str, ...] | None
    mpp: float | None


def read_ome_xml(text: str, path: Path) -> Described:
    """Read the first image of an OME-XML document; ``path`` is for messages.

    Raises
    ------
    NucplanError
        If the XML is damaged, or pixels are not square.
    """
    try:
        pixels = ElementTree.fromstring(text).find("{*}Image/{*}Pixels")
    except ElementTree.ParseError as error:
        raise NucplanError(f"{path} has damaged OME-XML ({error}); export it again.") from None
    if pixels is None:
        return Described(None, None)
    names = tuple(channel.get("Name", "") for channel in pixels.findall("{*}Channel"))
    width, height = (_microns(pixels, axis) for axis in "XY")
    if width and height and abs(width - height) > SQUARE * max(width, height):
        raise NucplanError(f"{path} has pixels of {width:g} x {height:g} um, which are not square; resample it.")
    return Described(names if names and all(names) else None, width or height)


def _microns(pixels: ElementTree.Element, axis: str) -> float | None:
    try:
        size = float(pixels.get(f"PhysicalSize{axis}", ""))
    except ValueError:
        return None
    factor = MICRONS.get(pixels.get(f"PhysicalSize{axis}Unit", DEFAULT_UNIT))
    return size * factor if factor and size > 0 else None
