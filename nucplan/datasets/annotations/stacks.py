"""Many images in one ``.npy`` file, N x H x W x planes: checked at once, read one at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nucplan.datasets.annotations.pickles import map_array
from nucplan.errors import NucplanError


def stack_shape(path: Path, planes: tuple[int, ...]) -> tuple[int, int, int]:
    """Images, height and width of a stack; only the header is read.

    Raises
    ------
    NucplanError
        If the file is missing, cut short, not of numbers, or its last axis is none of ``planes``.
    """
    stack = map_array(path)
    if stack.ndim != 4 or stack.shape[3] not in planes or stack.dtype.kind not in "biuf":
        wanted = " or ".join(str(n) for n in planes)
        raise NucplanError(
            f"{path} holds {stack.dtype} of shape {stack.shape}, not numbers of shape (images, height, width, "
            f"{wanted}); is it of another format?"
        )
    return stack.shape[:3]


def read_row(path: Path, index: int) -> np.ndarray:
    """One image of a stack, ``(H, W, planes)`` as stored.

    The file is mapped anew for each image: what was read through a map counts as memory until it is closed.
    """
    return np.array(map_array(path)[index])


def row_origin(path: Path, index: int) -> Path:
    """What messages name: the file and the position in it."""
    return Path(f"{path}[{index}]")


def eight_bit(image: np.ndarray, origin: object) -> np.ndarray:
    """``image`` as uint8, where all of it is whole numbers from 0 to 255 of any type.

    Raises
    ------
    NucplanError
        If it is not.
    """
    if image.dtype == np.uint8:
        return image
    with np.errstate(invalid="ignore"):
        pixels = image.astype(np.uint8)
    if (pixels != image).any():
        raise NucplanError(
            f"{origin} holds intensities that are no whole numbers from 0 to 255; save the images as uint8."
        )
    return pixels
