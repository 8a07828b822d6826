"""Gaussian-weighted overlapping tiles: probability maps of an image of any size in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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


def gaussian_window(tile: int) -> np.ndarray:
    """(tile, tile) float32 weights, 1 in the middle; sigma is an eighth of the tile (nnU-Net, Isensee et al. 2021).

    Corners get 1e-7, which float32 divides by without loss; a larger floor would draw seams along the image border.
    """
    distance = (np.arange(tile) - (tile - 1) / 2) / (tile / 8)
    profile = np.exp(-(distance**2) / 2)
    return np.outer(profile, profile).astype(np.float32)


@torch.inference_mode()
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
    """Class and boundary probabilities of an image.

    Works through the image one row of tiles at a time; beside image and result it holds one band of accumulated
    probabilities.

    Parameters
    ----------
    network
        With ``maps(images)``, in evaluation mode on ``device``.
    image
        (C, H, W) float32, normalised, at the planned scale.
    tile, overlap
        In pixels; the tile is a multiple of what the network needs.
    batch_size
        Tiles per forward pass.
    device
        Mixed precision is used on CUDA.
    mirror
        Average over the four mirrorings.
    progress
        Wraps the rows of tiles, for a progress bar.

    Returns
    -------
    NucleusProbabilities
        ``semantic`` (K + 1, H, W) and ``boundary`` (H, W), the mean over its heads, or None; float16.
    """
    padded = _pad_to(image, tile)
    height, width = padded.shape[1:]
    rows, columns = (tile_starts(side, tile, overlap) for side in (height, width))
    window = torch.from_numpy(gaussian_window(tile))
    result: np.ndarray | None = None
    band = weight = None
    for row, next_row in progress(list(zip(rows, [*rows[1:], height], strict=True))):
        for first in range(0, len(columns), batch_size):
            chosen = columns[first : first + batch_size]
            tiles = np.stack([padded[:, row : row + tile, c : c + tile] for c in chosen])
            probabilities = _mirrored(network, torch.from_numpy(tiles).to(device), mirror).float().cpu()
            if band is None:
                band = torch.zeros(probabilities.shape[1], tile, width)
                weight = torch.zeros(tile, width)
                result = np.empty((probabilities.shape[1], height, width), np.float16)
            for column, tile_probabilities in zip(chosen, probabilities, strict=True):
                band[:, :, column : column + tile] += tile_probabilities * window
                weight[:, column : column + tile] += window
        done = next_row - row
        result[:, row:next_row] = (band[:, :done] / weight[:done]).numpy()
        band, weight = _advance(band, done), _advance(weight, done)
    result = result[:, : image.shape[1], : image.shape[2]]
    return NucleusProbabilities(result[:-1], result[-1]) if has_boundary(network) else NucleusProbabilities(result)


def has_boundary(network: nn.Module) -> bool:
    """Whether a network has boundary heads."""
    return bool(getattr(network, "boundary_strides", ()))


def _mirrored(network: nn.Module, images: Tensor, mirror: bool) -> Tensor:
    mirrors = MIRRORS if mirror else MIRRORS[:1]
    total = torch.zeros((), device=images.device)
    with mixed_precision(images.device):
        for axes in mirrors:
            total = total + torch.flip(_probabilities(network.maps(torch.flip(images, axes))), axes)
    return total / len(mirrors)


def _probabilities(maps: NucleusMaps) -> Tensor:
    """(B, K + 1, H, W) class probabilities, with that of the boundary, where there is one, as a further channel."""
    semantic = maps.semantic.float().softmax(1)
    return torch.cat([semantic, maps.boundary_probability()], dim=1) if maps.boundary else semantic


def _pad_to(image: np.ndarray, tile: int) -> np.ndarray:
    missing = [max(0, tile - side) for side in image.shape[1:]]
    if not any(missing):
        return image
    mode = "reflect" if all(m < side for m, side in zip(missing, image.shape[1:], strict=True)) else "edge"
    return np.pad(image, ((0, 0), *((0, m) for m in missing)), mode=mode)


def _advance(buffer: Tensor, rows: int) -> Tensor:
    return torch.cat([buffer[..., rows:, :], torch.zeros_like(buffer[..., :rows, :])], dim=-2)
