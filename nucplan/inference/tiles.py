"""Gaussian-weighted overlapping tiles: probability maps of an image of any size in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nucplan.instances import NucleusProbabilities
from nucplan.networks.nucleus_net import NucleusMaps
from nucplan.precision import mixed_precision

MIRRORS = ((), (2,), (3,), (2, 3))


def tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """Starts of the fewest evenly spread tiles that cover ``length`` with at least ``overlap`` pixels in common."""
    if length <= tile:
        return [0]
    count = int(np.ceil((length - tile) / (tile - overlap))) + 1
    return [int(start) for start in np.linspace(0, length - tile, count).round()]


def tile_side(length: int, largest: int, overlap: int, multiple: int) -> int:
    """The side of the fewest tiles of at most ``largest`` pixels that cover ``length``, no larger than they need be.

    A multiple of ``multiple``, of which ``largest`` is one; it may exceed the length.
    """
    count = max(1, -(-(length - overlap) // (largest - overlap)))
    needed = -(-(length + (count - 1) * overlap) // count)
    return min(largest, -(-needed // multiple) * multiple)


def gaussian_window(height: int, width: int | None = None) -> np.ndarray:
    """(height, width) float32 weights, 1 in the middle, square by default; sigma is an eighth of each side (nnU-Net).

    Corners get 1e-7, which float32 divides by without loss; a larger floor would draw seams along the image border.
    See Isensee et al. 2021.
    """
    return np.outer(_profile(height), _profile(width or height)).astype(np.float32)


def _profile(side: int) -> np.ndarray:
    distance = (np.arange(side) - (side - 1) / 2) / (side / 8)
    return np.exp(-(distance**2) / 2)


def predict_probabilities(
    network: nn.Module,
    image: np.ndarray,
    tile: int,
    overlap: int,
    batch_size: int,
    device: torch.device,
    mirror: bool = False,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> NucleusProbabilities:
    """Class and boundary probabilities of an image, by `blended_maps`.

    Parameters
    ----------
    network
        With ``maps(images)``, in evaluation mode on ``device``.
    image
        (C, H, W) float32, normalised, at the planned scale.
    tile
        Side of the square tiles in pixels; a multiple of what the network needs.
    mirror
        Average over the four mirrorings.
    overlap, batch_size, device, progress
        See `blended_maps`.

    Returns
    -------
    NucleusProbabilities
        ``semantic`` (K + 1, H, W) and ``boundary`` (H, W), the mean over its heads, or None; float16.
    """

    def plain(images: Tensor) -> Tensor:
        return _probabilities(network.maps(images))

    forward = partial(mirrored, plain) if mirror else plain
    result = blended_maps(forward, image, (tile, tile), overlap, batch_size, device, progress)
    return NucleusProbabilities(result[:-1], result[-1]) if has_boundary(network) else NucleusProbabilities(result)


@torch.inference_mode()
def blended_maps(
    forward: Callable[[Tensor], Tensor],
    image: np.ndarray,
    tile: tuple[int, int],
    overlap: int,
    batch_size: int,
    device: torch.device,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> np.ndarray:
    """Any maps of an image, computed in overlapping tiles that the Gaussian window blends.

    Works through the image one row of tiles at a time; beside image and result it holds one band of accumulated maps.

    Parameters
    ----------
    forward
        From tiles (B, C, *tile) on ``device``, of the type of ``image``, to their maps (B, M, *tile).
    image
        (C, H, W), of a type that torch knows.
    tile, overlap
        Height and width, and what neighbours have in common, in pixels. A smaller image is continued by its mirror
        image.
    batch_size
        Tiles per forward pass.
    device
        Mixed precision is used there as in training (`nucplan.precision`).
    progress
        Wraps the rows of tiles, for a progress bar.

    Returns
    -------
    (M, H, W) float16
    """
    padded = _pad_to(image, tile)
    height, width = padded.shape[1:]
    rows, columns = (tile_starts(side, part, overlap) for side, part in zip((height, width), tile, strict=True))
    window = torch.from_numpy(gaussian_window(*tile))
    result: np.ndarray | None = None
    band = weight = None
    for row, next_row in progress(list(zip(rows, [*rows[1:], height], strict=True))):
        for first in range(0, len(columns), batch_size):
            chosen = columns[first : first + batch_size]
            tiles = np.stack([padded[:, row : row + tile[0], c : c + tile[1]] for c in chosen])
            with mixed_precision(device):
                maps = forward(torch.from_numpy(tiles).to(device)).float().cpu()
            if band is None:
                band = torch.zeros(maps.shape[1], tile[0], width)
                weight = torch.zeros(tile[0], width)
                result = np.empty((maps.shape[1], height, width), np.float16)
            for column, maps_of_tile in zip(chosen, maps, strict=True):
                band[:, :, column : column + tile[1]] += maps_of_tile * window
                weight[:, column : column + tile[1]] += window
        done = next_row - row
        result[:, row:next_row] = (band[:, :done] / weight[:done]).numpy()
        band, weight = _advance(band, done), _advance(weight, done)
    return result[:, : image.shape[1], : image.shape[2]]


def mirrored(
    forward: Callable[[Tensor], Tensor], images: Tensor, turned: Mapping[int, int] = MappingProxyType({})
) -> Tensor:
    """Mean of the maps of the four mirrorings of some tiles, each turned back.

    Parameters
    ----------
    forward
        From images (B, C, H, W) to maps (B, M, H, W).
    images
        (B, C, H, W).
    turned
        From an axis (2 or 3) to the map that points along it and changes its sign with the axis.
    """
    total = torch.zeros((), device=images.device)
    for axes in MIRRORS:
        maps = torch.flip(forward(torch.flip(images, axes)), axes)
        for axis in turned.keys() & axes:
            maps[:, turned[axis]].neg_()
        total = total + maps
    return total / len(MIRRORS)


def has_boundary(network: nn.Module) -> bool:
    """Whether a network has boundary heads."""
    return bool(getattr(network, "boundary_strides", ()))


def _probabilities(maps: NucleusMaps) -> Tensor:
    """(B, K + 1, H, W) class probabilities, with that of the boundary, where there is one, as a further channel."""
    semantic = maps.semantic.float().softmax(1)
    return torch.cat([semantic, maps.boundary_probability()], dim=1) if maps.boundary else semantic


def _pad_to(image: np.ndarray, tile: tuple[int, int]) -> np.ndarray:
    missing = [max(0, part - side) for side, part in zip(image.shape[1:], tile, strict=True)]
    if not any(missing):
        return image
    mode = "reflect" if all(m < side for m, side in zip(missing, image.shape[1:], strict=True)) else "edge"
    return np.pad(image, ((0, 0), *((0, m) for m in missing)), mode=mode)


def _advance(buffer: Tensor, rows: int) -> Tensor:
    return torch.cat([buffer[..., rows:, :], torch.zeros_like(buffer[..., :rows, :])], dim=-2)
