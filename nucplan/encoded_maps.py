"""Encoder maps of whole images: their shapes, and how they are computed tile by tile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nucplan.inference.tiles import tile_starts
from nucplan.networks.nucleus_net import NucleusNet
from nucplan.precision import mixed_precision
from nucplan.symmetries import SYMMETRIES, Symmetry

HEADER_BYTES = 128  # of an .npy file
TILES_PER_PASS = 4


@dataclass(frozen=True)
class MapLayout:
    """Shapes of the stored maps, and where each lies in its case's file.

    Attributes
    ----------
    channels
        D of the maps.
    tap_strides
        Stride of each map.
    patch
        Side in px of training patches and of the tiles that the maps are computed on.
    """

    channels: int
    tap_strides: tuple[int, ...]
    patch: int

    @property
    def stride(self) -> int:
        """The grid that patches start on."""
        return max(self.tap_strides)

    def padded(self, shape: tuple[int, int]) -> tuple[int, int]:
        """An image's shape (H, W) after it was filled up at the bottom and the right."""
        height, width = (max(self.patch, -(-side // self.stride) * self.stride) for side in shape)
        return height, width

    def maps(self, shape: tuple[int, int]) -> list[tuple[int, int, int]]:
        """Shapes (h, w, D) of the maps of one image of shape (H, W)."""
        height, width = self.padded(shape)
        return [(height // stride, width // stride, self.channels) for stride in self.tap_strides]

    def values(self, shape: tuple[int, int]) -> int:
        """Numbers in the maps of an image in one symmetry; all symmetries have as many."""
        return sum(h * w * d for h, w, d in self.maps(shape))

    def bytes(self, shapes: Sequence[tuple[int, int]]) -> int:
        """Size of the files of images of these shapes (H, W), eight symmetries each."""
        per_value = len(SYMMETRIES) * np.dtype(np.float16).itemsize
        return sum(HEADER_BYTES + per_value * self.values(shape) for shape in shapes)

    def tiles(self, shape: tuple[int, int]) -> int:
        """How many tiles the encoder sees of an image in one symmetry."""
        height, width = (len(list(cores(side, self))) for side in self.padded(shape))
        return height * width

    def views(self, values: np.ndarray, shape: tuple[int, int], symmetry: Symmetry) -> list[np.ndarray]:
        """The maps (h, w, D) of one symmetry in the values of a case, as views."""
        first = SYMMETRIES.index(symmetry) * self.values(shape)
        views = []
        for one in self.maps(symmetry.shape(shape)):
            views.append(values[first : first + int(np.prod(one))].reshape(one))
            first += int(np.prod(one))
        return views


def padded_image(image: np.ndarray, layout: MapLayout) -> np.ndarray:
    """The image (C, H, W) filled up at the bottom and the right, by reflection where it is large enough for that."""
    missing = [wanted - side for wanted, side in zip(layout.padded(image.shape[1:]), image.shape[1:], strict=True)]
    mode = "reflect" if all(m < side for m, side in zip(missing, image.shape[1:], strict=True)) else "edge"
    return np.pad(image, ((0, 0), *((0, m) for m in missing)), mode=mode)


def encode(
    network: NucleusNet, image: np.ndarray, layout: MapLayout, device: torch.device, out: Sequence[np.ndarray]
) -> None:
    """Write the maps of an image (C, H, W) float32 into ``out``, (h, w, D) float16 each.

    The encoder sees tiles of the size of a patch, as it would in training; they overlap by a quarter, and each gives
    the places that are nearer to its middle than to that of its neighbour.
    """
    padded = padded_image(image, layout)
    rows, columns = (list(cores(side, layout)) for side in padded.shape[1:])
    places = [(row, column) for row in rows for column in columns]
    for first in range(0, len(places), TILES_PER_PASS):
        chosen = places[first : first + TILES_PER_PASS]
        tiles = np.stack([padded[:, r : r + layout.patch, c : c + layout.patch] for (r, _), (c, _) in chosen])
        with mixed_precision(device):
            maps = network.encoder_maps(torch.from_numpy(tiles).to(device))
        for target, found, stride in zip(out, maps, layout.tap_strides, strict=True):
            for (row, column), tile in zip(chosen, found.permute(0, 2, 3, 1), strict=True):
                _write_core(target, tile, row, column, stride)


def cores(length: int, layout: MapLayout) -> Iterator[tuple[int, slice]]:
    """Start of every tile along an axis and the pixels that are taken from it, in multiples of the stride."""
    stride, tokens = layout.stride, layout.patch // layout.stride
    starts = tile_starts(length // stride, tokens, tokens // 4)
    borders = [0, *((b + a + tokens) // 2 for a, b in zip(starts, starts[1:], strict=False)), length // stride]
    for start, low, high in zip(starts, borders, borders[1:], strict=False):
        yield start * stride, slice(low * stride, high * stride)


def _write_core(
    target: np.ndarray, tile: Tensor, row: tuple[int, slice], column: tuple[int, slice], stride: int
) -> None:
    into, out_of = [], []
    for start, core in (row, column):
        into.append(slice(core.start // stride, core.stop // stride))
        out_of.append(slice((core.start - start) // stride, (core.stop - start) // stride))
    target[tuple(into)] = tile[tuple(out_of)].to(torch.float16).cpu().numpy()
