"""Pictures and label maps on disk: read with validation, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import cv2
import numpy as np
import tifffile

from nucplan.decoders import decode_palette_indices, decode_picture, decode_tiff, has_palette
from nucplan.errors import NucplanError
from nucplan.files import atomic_path

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
TIFF_SUFFIXES = (".tif", ".tiff")
JPEG_SUFFIXES = (".jpg", ".jpeg")
_losing_a_channel: ContextVar[set[Path] | None] = ContextVar("losing_a_channel", default=None)


def images_by_stem(folder: str | os.PathLike, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> dict[str, Path]:
    """The picture files of ``folder`` by stem, sorted by stem; hidden files and other suffixes are left out.

    Raises
    ------
    NucplanError
        If the folder is missing, or two files have one stem.
    """
    folder = Path(folder)
    if not folder.exists():
        raise NucplanError(f"{folder} does not exist; check the path.")
    if not folder.is_dir():
        raise NucplanError(f"{folder} is not a folder; give a folder of {', '.join(suffixes)} files.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith(".") or not path.is_file():
            continue
        if path.stem in found:
            raise NucplanError(f"{path} and {found[path.stem].name} have the same stem; rename or remove one of them.")
        found[path.stem] = path
    return dict(sorted(found.items()))


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read a PNG, JPEG, TIFF or BMP picture; an alpha channel is dropped.

    Returns
    -------
    np.ndarray
        ``(H, W)`` grey or ``(H, W, 3)`` RGB, uint8 or uint16 as stored.

    Raises
    ------
    NucplanError
        If the file is missing, damaged, of another format, a stack, neither grey nor RGB, or neither 8 nor 16 bits
        deep.
    """
    path = Path(path)
    content = _read_bytes(path, IMAGE_SUFFIXES)
    is_tiff = path.suffix.lower() in TIFF_SUFFIXES
    pixels = decode_tiff(path, colours=True) if is_tiff else decode_picture(content)
    image = _grey_or_rgb(pixels, path)
    lost = _losing_a_channel.get()
    if lost is not None and pixels.ndim == 3 and pixels.shape[2] in (2, 4) and np.ptp(pixels[..., -1]):
        lost.add(path)
    if image.dtype not in (np.uint8, np.uint16):
        raise NucplanError(f"{path} holds {image.dtype} pixels; save it with 8 or 16 bits per channel.")
    return np.ascontiguousarray(image)


@contextmanager
def noted_lost_channels() -> Iterator[set[Path]]:
    """The pictures that `read_image` reads within the block and drops a channel of that is not the same everywhere."""
    token = _losing_a_channel.set(set())
    try:
        yield _losing_a_channel.get()
    finally:
        _losing_a_channel.reset(token)


def read_label_map(path: str | os.PathLike) -> np.ndarray:
    """Read an instance label map from a PNG, TIFF or BMP file; of a palette the indices are the ids.

    Returns
    -------
    np.ndarray
        ``(H, W)`` int32 ids as stored, 0 is background. Floats that are whole numbers are accepted.

    Raises
    ------
    NucplanError
        If the file is missing, damaged, a JPEG, a stack or coloured, or an id is negative, fractional or beyond int32.
    """
    path = Path(path)
    if path.suffix.lower() in JPEG_SUFFIXES:
        raise jpeg_refusal(path)
    content = _read_bytes(path, LABEL_SUFFIXES)
    if path.suffix.lower() in TIFF_SUFFIXES:
        labels = decode_tiff(path, colours=False)
    else:
        labels = decode_palette_indices(content) if has_palette(content) else decode_picture(content)
    labels = _grey_or_rgb(labels, path)
    if labels.ndim == 3:
        if (labels != labels[..., :1]).any():
            raise NucplanError(f"{path} is a colour picture; a label map has one channel that holds the instance ids.")
        labels = labels[..., 0]
    return checked_label_map(labels, path)


def jpeg_refusal(path: Path) -> NucplanError:
    """What to raise where a JPEG stands for a label map."""
    return NucplanError(f"{path} is a JPEG, whose compression changes ids; save label maps as PNG or TIFF.")


def checked_label_map(labels: np.ndarray, source: str | os.PathLike) -> np.ndarray:
    """``labels`` ``(H, W)`` as int32, or a refusal that names ``source``; see `read_label_map`."""
    if labels.dtype.kind not in "biuf":
        raise NucplanError(f"{source} holds {labels.dtype} values; a label map holds integer ids.")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise NucplanError(f"{source} holds values that are no numbers (NaN or Inf); save it as integers.")
    if labels.dtype.kind == "f" and not (labels == np.rint(labels)).all():
        raise NucplanError(f"{source} holds fractional ids; save the label map as integers, one id per nucleus.")
    if labels.size and labels.min() < 0:
        raise NucplanError(f"{source} holds negative ids; use 0 for background and 1, 2, ... for nuclei.")
    if labels.size and labels.max() > np.iinfo(np.int32).max:
        raise NucplanError(f"{source} holds ids above {np.iinfo(np.int32).max}; renumber them from 1.")
    return np.ascontiguousarray(labels, dtype=np.int32)


def write_image(path: str | os.PathLike, image: np.ndarray) -> None:
    """Write ``(H, W)`` or ``(H, W, 3)`` RGB, uint8 or uint16, as PNG or zlib TIFF, by the suffix of ``path``."""
    path = Path(path)
    with atomic_path(path) as temporary:
        if path.suffix.lower() in TIFF_SUFFIXES:
            photometric = "rgb" if image.ndim == 3 else "minisblack"
            tifffile.imwrite(temporary, image, compression="zlib", photometric=photometric)
        else:
            stored = image[..., ::-1] if image.ndim == 3 else image
            temporary.write_bytes(cv2.imencode(path.suffix, np.ascontiguousarray(stored))[1].tobytes())


def write_label_map(path: str | os.PathLike, labels: np.ndarray) -> None:
    """Write ``(H, W)`` instance ids as a zlib-compressed uint32 TIFF."""
    with atomic_path(path) as temporary:
        tifffile.imwrite(temporary, np.asarray(labels).astype(np.uint32), compression="zlib")


def _read_bytes(path: Path, suffixes: tuple[str, ...]) -> bytes:
    if path.suffix.lower() not in suffixes:
        raise NucplanError(f"{path} is none of {', '.join(suffixes)}; save it as one of these formats.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise NucplanError(f"{path} cannot be read ({error.strerror}); check the path.") from None


def _grey_or_rgb(pixels: np.ndarray | None, path: Path) -> np.ndarray:
    """``(H, W)`` or ``(H, W, 3)`` from ``(H, W)`` or ``(H, W, S)`` as decoded; alpha is dropped."""
    if pixels is None or not pixels.size:
        raise NucplanError(f"{path} is damaged or cut short; copy or export it again.")
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] > 4:
        raise NucplanError(f"{path} has {pixels.shape[2]} channels; save one plane, grey or RGB, per file.")
    return pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
