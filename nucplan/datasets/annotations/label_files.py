"""Label maps in the ways in which people store them: ids, colours, black and white; and images with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from nucplan.datasets.annotations.class_maps import one_class
from nucplan.datasets.annotations.layers import components
from nucplan.datasets.source import Annotated
from nucplan.errors import NucplanError
from nucplan.images import read_image, read_label_map

# What a mask drawn in black and white holds.
WHITE = 255


def read_ids(path: Path) -> np.ndarray:
    """A label map ``(H, W)`` int32 of one id per nucleus.

    Raises
    ------
    NucplanError
        As `read_label_map`, and if the file holds a binary mask, which would become one nucleus per image.
    """
    labels = read_label_map(path)
    _refuse_mask(labels, path)
    return labels


def read_colours(path: Path) -> np.ndarray:
    """A label map ``(H, W)`` int32 from a picture with a colour per nucleus: R + 256 G + 65536 B, black is background.

    Raises
    ------
    NucplanError
        If the file cannot be read or is not RGB of 8 bits.
    """
    picture = read_image(path)
    if picture.ndim != 3 or picture.dtype != np.uint8:
        raise NucplanError(f"{path} is no RGB picture of 8 bits, so it holds no 24-bit ids; leave labels=rgb out.")
    red, green, blue = (picture[..., channel].astype(np.int32) for channel in range(3))
    return red + 256 * green + 65536 * blue


def read_pieces(path: Path) -> np.ndarray:
    """The 8-connected pieces ``(H, W)`` int32 of a binary mask; lines of background part nuclei that touch.

    Raises
    ------
    NucplanError
        If the file cannot be read or holds several values besides 0.
    """
    mask = read_label_map(path)
    values = np.unique(mask[mask > 0])
    if len(values) > 1:
        raise NucplanError(
            f"{path} holds {len(values)} values besides 0, so it is no binary mask; save it in black and white, or "
            "read it as ids."
        )
    return components(mask)


READERS = {"ids": read_ids, "rgb": read_colours, "binary": read_pieces}


def load_labelled(image: Path, labels: Path, read: Callable[[Path], np.ndarray] = read_ids) -> Annotated:
    """An image and its label map, all instances of class 1.

    Raises
    ------
    NucplanError
        If one of the files is missing, damaged or of another kind.
    """
    return one_class(read_image(image), read(labels))


def _refuse_mask(labels: np.ndarray, path: Path) -> None:
    """Refuse one id in pieces that lie apart."""
    ids = np.unique(labels[labels > 0])
    if len(ids) != 1:
        return
    pieces, _, boxes, _ = cv2.connectedComponentsWithStats((labels > 0).view(np.uint8), connectivity=8)
    left, top, width, height = boxes[1:, : cv2.CC_STAT_AREA].T
    at_edge = (left == 0) | (top == 0) | (left + width == labels.shape[1]) | (top + height == labels.shape[0])
    # The edge of an image can cut one nucleus into pieces, but all of them then touch it.
    if pieces > 2 and (ids[0] == WHITE or not at_edge.all()):
        raise NucplanError(
            f"{path} has one id, {ids[0]}, in {pieces - 1} separate pieces, as a binary mask has; give each nucleus "
            "its own id, or read the masks with the format 'folder' and --set labels=binary."
        )
