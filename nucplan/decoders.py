"""Encoded pictures to pixels: OpenCV for PNG, JPEG and BMP, Pillow for palettes, tifffile for TIFF.

What the decoders print about damaged files is kept from the terminal: the refusal that follows says it.
"""

from __future__ import annotations

import io
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

from nucplan.errors import NucplanError

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR_TYPE, _PNG_PALETTE = 25, 3
_BMP_BITS = slice(28, 30)
_STDERR = 2
_silencing = threading.Lock()


def decode_picture(content: bytes) -> np.ndarray | None:
    """``(H, W)`` or ``(H, W, 3 or 4)`` RGB(A) of a PNG, JPEG or BMP, palettes as colours; None if it is damaged."""
    try:
        with silent_decoders():
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if pixels is None or pixels.ndim == 2:
        return pixels
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


def has_palette(content: bytes) -> bool:
    """Whether a PNG or BMP holds indices into a table of colours, by its header."""
    if content.startswith(_PNG_SIGNATURE):
        return content[_PNG_COLOUR_TYPE : _PNG_COLOUR_TYPE + 1] == bytes([_PNG_PALETTE])
    return content.startswith(b"BM") and int.from_bytes(content[_BMP_BITS], "little") <= 8


def decode_palette_indices(content: bytes) -> np.ndarray | None:
    """``(H, W)`` uint8 indices of a picture with a palette, not its colours; None if it is damaged."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def decode_tiff(path: Path, colours: bool) -> np.ndarray | None:
    """``(H, W)`` or ``(H, W, S)`` samples of the one page of a TIFF; None if it is damaged.

    Raises
    ------
    NucplanError
        If it has several pages or channels that are no RGB samples, or if ``colours`` are asked for and it holds
        CMYK or a palette.
    """
    # tifffile meets damaged files with whatever its struct and codec calls raise.
    try:
        with silent_decoders(), tifffile.TiffFile(path) as file:
            series = file.series[0]
            pixels, photometric = series.asarray(), series.keyframe.photometric.name
            copies = sum(other.shape == series.shape for other in file.series)
    except Exception:
        return None
    axes = "".join(axis for axis, n in zip(series.axes, pixels.shape, strict=True) if n != 1 or axis in "YX")
    pixels = pixels.reshape([n for axis, n in zip(series.axes, pixels.shape, strict=True) if n != 1 or axis in "YX"])
    if axes not in ("YX", "YXS", "SYX") or copies > 1:
        raise NucplanError(
            f"{path} is a stack of several pages or channels (shape {pixels.shape}); save one plane, grey or RGB, "
            "per file."
        )
    if colours and photometric in ("PALETTE", "SEPARATED"):
        raise NucplanError(f"{path} holds a palette or CMYK; save it as grey or RGB.")
    return np.moveaxis(pixels, 0, -1) if axes == "SYX" else pixels


@contextmanager
def silent_decoders() -> Iterator[None]:
    """Nothing on standard error: libpng and OpenCV write to the descriptor itself, past Python."""
    logger = logging.getLogger("tifffile")
    with _silencing:
        try:
            kept, level = os.dup(_STDERR), logger.level
        except OSError:
            # Standard error is closed, so nothing can be seen anyway.
            yield
            return
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), _STDERR)
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)
            os.dup2(kept, _STDERR)
            os.close(kept)
