"""The complete CellViT: an encoder, skips, three branches and, where the file has one, a head for the tissue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from nucplan.networks.cellvit.decoder import STRIDE, Branch, SharedSkips
from nucplan.networks.cellvit.encoders import build_encoder
from nucplan.networks.cellvit.shape import SAM, CellViTShape

# Virchow was trained at 256 px seen as 252: images are shrunk by as much at most.
LEAST_SCALE = 252 / 256


class CellViTMaps(NamedTuple):
    """Logits of one forward pass.

    Attributes
    ----------
    binary
        (B, 2, H, W): background and nuclei.
    hv
        (B, 2, H, W): horizontal and vertical distance to the nucleus' centre, -1 to 1 from edge to edge; no logits.
    types
        (B, K, H, W): background and classes.
    tissue
        (B, T), or None where the model has no such head.
    tokens
        (B, D, h, w), the deepest map of the encoder, where it was asked for.
    """

    binary: Tensor
    hv: Tensor
    types: Tensor
    tissue: Tensor | None = None
    tokens: Tensor | None = None


class CellViT(SharedSkips):
    """CellViT (Hörst et al. 2024) with the names of its published state dicts.

    The skips, which the published code computes once for every branch, are computed once for all.

    Parameters
    ----------
    shape
        Its sizes.
    mean, std
        Per RGB channel of images in [0, 1], as it was trained.
    """

    def __init__(
        self, shape: CellViTShape, mean: Sequence[float] = (0.5,) * 3, std: Sequence[float] = (0.5,) * 3
    ) -> None:
        super().__init__(shape.channels, 3)
        self.shape = shape
        self.encoder = build_encoder(shape)
        self.nuclei_binary_map_decoder = Branch(shape.channels, shape.binary)
        self.hv_map_decoder = Branch(shape.channels, 2)
        self.nuclei_type_maps_decoder = Branch(shape.channels, shape.classes)
        if shape.kind == SAM and shape.tissues:
            self.classifier_head = nn.Linear(shape.neck, shape.tissues)
        # On the CPU also where the model is built without memory, and filled later.
        self.register_buffer("input_mean", torch.tensor(mean, device="cpu").view(1, 3, 1, 1), persistent=False)
        self.register_buffer("input_std", torch.tensor(std, device="cpu").view(1, 3, 1, 1), persistent=False)

    @property
    def largest_side(self) -> int | None:
        """The longest side of an image in px; None where there is no limit but memory."""
        return self.shape.grid * self.shape.patch if self.shape.kind == SAM else None

    def maps(self, images: Tensor, tokens: bool = False) -> CellViTMaps:
        """(B, 3, H, W) float in [0, 1], of any size, to logits of its size.

        Sides are filled up by reflection to what the encoder takes, and the maps are cut back. A model of patch 14
        sees the image resized by area to whole patches, as in training, and its last features come back bilinearly.

        Raises
        ------
        NucplanError
            If a side is longer than `largest_side`.
        """
        height, width = images.shape[2:]
        padded, seen = zip(*(sides(side, self.shape.patch) for side in (height, width)), strict=True)
        pixels = _padded((images - self.input_mean) / self.input_std, padded)
        if seen != padded:
            pixels = functional.interpolate(pixels, seen, mode="area")
        taps, summary = self.encoder(pixels.contiguous(memory_format=torch.channels_last))
        skips = self.skips(taps, pixels)
        if seen != padded:
            skips[1] = functional.interpolate(skips[1], padded, mode="bilinear")
        branches = self.nuclei_binary_map_decoder, self.hv_map_decoder, self.nuclei_type_maps_decoder
        binary, hv, types = (branch(skips)[..., :height, :width] for branch in branches)
        # The further two channels of a regression loss are no part of the published post-processing.
        return CellViTMaps(binary[:, :2], hv, types, self._tissue(summary), taps[-1] if tokens else None)

    def forward(self, images: Tensor) -> CellViTMaps:
        """See `maps`."""
        return self.maps(images)

    def _tissue(self, summary: Tensor | None) -> Tensor | None:
        if self.shape.kind == SAM:
            return self.classifier_head(summary) if self.shape.tissues else None
        return summary


def sides(side: int, patch: int) -> tuple[int, int]:
    """A side of an image in px after padding, and as the encoder sees it: a multiple of ``patch``.

    The two differ for patches that are not the decoder's stride, and there by less than in training (252 of 256 px).
    """
    whole = side // patch * patch
    if patch != STRIDE and whole >= LEAST_SCALE * side:
        return side, whole
    whole = -(-side // patch) * patch
    return whole, whole


def _padded(images: Tensor, size: Sequence[int]) -> Tensor:
    bottom, right = (after - before for before, after in zip(images.shape[2:], size, strict=True))
    if not (bottom or right):
        return images
    # Reflection needs more pixels than it adds.
    mode = "reflect" if bottom < images.shape[2] and right < images.shape[3] else "replicate"
    return functional.pad(images, (0, right, 0, bottom), mode=mode)
