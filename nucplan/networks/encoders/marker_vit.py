"""VirTues as an encoder of the network: any panel of markers in, summary tokens of four depths out."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional

from nucplan.errors import NucplanError
from nucplan.networks.encoders.base import Encoder
from nucplan.networks.encoders.marker_transformer import SPATIAL_KINDS, MarkerTransformer
from nucplan.networks.encoders.timm_vit import checked_taps
from nucplan.networks.encoders.virtues_keys import (
    TABLE,
    encoder_prefix,
    encoder_tensors,
    own_names,
    rotary_blocks,
    sources,
    unused,
)

# What the encoder was trained on: 1 um per pixel, tiles of 128 px.
TRAINED_MPP, TRAINED_SIDE = 1.0, 128
# From here on a token of 8 um is nearer to 8 px of the image than to 16.
COARSE_MPP = 0.75
BLUR = (math.exp(-0.5), 1.0, math.exp(-0.5))


class MarkerViT(Encoder):
    """VirTues' encoder at 1 um per pixel, next to a decoder at the resolution of the image.

    Images come as ``markers.py`` of the planner normalises them (clipped, log1p, z-score over the cohort). A channel
    that is 0 everywhere in an image is absent there and takes no part. Images are resized to 1 um per pixel, blurred
    (3 x 3, sigma 1) and, where they are smaller than 128 x 128 there, continued by reflection. Maps are summary tokens
    of four blocks, before the final norm, brought to the decoder's grid.

    Parameters
    ----------
    name
        For messages.
    in_channels
        Not used: channels are counted by their ``markers``, whatever a stem makes of them elsewhere.
    depth
        The number of blocks, if fewer than those of ``pattern``.
    frozen
        No gradients and always in evaluation mode.
    layer_scale
        Not a part of this encoder; False.
    taps
        Four block indices, ascending, repeats allowed; None for a quarter, half, ... of the depth.
    markers
        The UniProt accession of each channel; None for a channel that the encoder does not see.
    mpp
        Microns per pixel of the images.
    dim, feedforward, heads, pattern, rope, marker_dim, patch, final_norm
        Of `MarkerTransformer`; ``rope`` None is all blocks that look along space.

    Raises
    ------
    NucplanError
        If ``markers`` name none, or an argument of `MarkerTransformer` is wrong.
    """

    takes_panels = True

    def __init__(
        self,
        name: str,
        in_channels: int,
        depth: int | None = None,
        frozen: bool = False,
        layer_scale: bool = False,
        taps: Sequence[int] | None = None,
        *,
        markers: Sequence[str | None] | None = None,
        mpp: float = TRAINED_MPP,
        dim: int = 512,
        feedforward: int = 1024,
        heads: int = 8,
        pattern: str = "hv" * 8,
        rope: Collection[int] | None = None,
        marker_dim: int = 640,
        patch: int = 8,
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        self.markers = _checked_markers(name, markers)
        self.mpp, self.channels = mpp, dim
        pattern = pattern[:depth]
        blocks = [k for k, kind in enumerate(pattern) if kind in SPATIAL_KINDS if rope is None or k in rope]
        self.pattern = pattern
        self.vit = MarkerTransformer(dim, feedforward, heads, pattern, blocks, marker_dim, patch, final_norm)
        self.taps = checked_taps(name, len(pattern), taps)
        self.tap_strides = (8 if mpp >= COARSE_MPP else 16,) * 4
        self.register_buffer("seen", torch.tensor([k for k, m in enumerate(self.markers) if m]), persistent=False)
        # Not zeros: a table that was never filled must not pass for one.
        self.register_buffer("table", torch.full((len(self.seen), marker_dim), torch.nan))
        blur = torch.tensor(BLUR) / sum(BLUR)
        self.register_buffer("blur", torch.outer(blur, blur)[None, None], persistent=False)
        if frozen:
            self.freeze()

    @property
    def body(self) -> nn.Module:
        return self.vit

    def fill_table(self, embeddings: Mapping[str, Tensor]) -> None:
        """Take the (E,) embedding of each marker that the encoder sees, by its accession.

        Raises
        ------
        NucplanError
            If one is missing or has another length.
        """
        for row, marker in enumerate(filter(None, self.markers)):
            if marker not in embeddings or embeddings[marker].shape != self.table[row].shape:
                raise NucplanError(
                    f"The marker embeddings have no vector of {self.table.shape[1]} numbers for {marker}; plan anew."
                )
            self.table[row] = embeddings[marker]

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, C, H, W) float, H and W multiples of the stride, to four maps (B, D, H/stride, W/stride)."""
        grid = [side // self.stride for side in images.shape[2:]]
        present = _present(images[:, self.seen])
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            pixels, share = self._at_trained_scale(images[:, self.seen])
            maps = self._by_panel(pixels, present)
            return [_on_grid(found, grid, share) for found in maps]

    def _by_panel(self, images: Tensor, present: Tensor | None) -> list[Tensor]:
        """Tapped maps; images with the same markers go together, and no absent one costs anything."""
        numbers = [block + 1 for block in self.taps]
        if present is None or bool(present.all()):
            return list(self.vit(images, self.table, blocks=numbers).intermediate)
        panels, panel_of = present.unique(dim=0, return_inverse=True)
        found: list[list[Tensor]] = []
        for number, panel in enumerate(panels):
            group = images[panel_of == number][:, panel]
            found.append(list(self.vit(group, self.table[panel], blocks=numbers).intermediate))
        order = panel_of.argsort(stable=True).argsort()
        return [torch.cat(parts)[order] for parts in zip(*found, strict=True)]

    def _at_trained_scale(self, images: Tensor) -> tuple[Tensor, tuple[float, float]]:
        """Images at 1 um per pixel, blurred and padded, and the share of each side that is image."""
        sides = [max(1, round(side * self.mpp / TRAINED_MPP)) for side in images.shape[2:]]
        if sides != list(images.shape[2:]):
            images = functional.interpolate(images, sides, mode="bilinear", antialias=True)
        images = self._blurred(images)
        patch = self.vit.patch
        padded = [patch * math.ceil(max(side, TRAINED_SIDE) / patch) for side in sides]
        for axis in (2, 3):
            images = _continued(images, axis, padded[axis - 2])
        return images, (sides[0] / padded[0], sides[1] / padded[1])

    def _blurred(self, images: Tensor) -> Tensor:
        single = images.flatten(0, 1)[:, None]
        if len(single) == 0:
            return images
        blurred = functional.conv2d(functional.pad(single, (1, 1, 1, 1), mode="replicate"), self.blur.to(single.dtype))
        return blurred.reshape(images.shape)

    def converted(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of any dialect (`virtues_keys`).

        Raises
        ------
        NucplanError
            As `encoder_tensors`, and if other blocks have positions than in this network.
        """
        found = {k for k in rotary_blocks(tensors) if self.pattern[k : k + 1] != "v"}
        if self.vit.rope != found:
            differing = ", ".join(map(str, sorted(self.vit.rope ^ found)))
            raise NucplanError(
                f"The weights and the network do not have positions in the same blocks ({differing} differ); plan anew "
                "with these weights."
            )
        return {name: tensor for name, tensor in encoder_tensors(tensors).items() if not unused(name)}

    def sources(self, tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        return sources(tensors, names)

    def prefix(self, tensors: Mapping[str, Tensor]) -> str:
        return encoder_prefix(tensors).removesuffix("encoder.")

    def consulted(self, tensors: Mapping[str, Tensor]) -> set[str]:
        return {own for name, own in own_names(tensors).items() if TABLE.fullmatch(name)}

    def dispensable(self, name: str) -> bool:
        return unused(name)


def _checked_markers(name: str, markers: Sequence[str | None] | None) -> list[str | None]:
    if not any(markers or ()):
        raise NucplanError(
            f"The encoder '{name}' needs to know the markers of the channels; choose it when planning: "
            "nucplan_plan_and_preprocess DATASET --encoder virtues --weights FILE --marker-embeddings PATH."
        )
    return list(markers)


def _present(images: Tensor) -> Tensor | None:
    """(B, C) bool, which channels hold anything; None for tensors without data, of which only the cost is asked."""
    return None if isinstance(images, FakeTensor) or images.is_meta else images.ne(0).flatten(2).any(2)


def _continued(images: Tensor, axis: int, side: int) -> Tensor:
    """Reflected at the end of an axis until it has ``side`` px, several times where the image is small."""
    length = images.shape[axis]
    if length == side:
        return images
    period = max(1, 2 * length - 2)
    index = torch.arange(side, device=images.device) % period
    return images.index_select(axis, torch.where(index < length, index, period - index))


def _on_grid(maps: Tensor, grid: Sequence[int], share: tuple[float, float]) -> Tensor:
    """Bilinear samples (B, D, *grid) of the part of ``maps`` that is image: its first ``share`` of each side."""
    if share == (1.0, 1.0) and list(maps.shape[2:]) == list(grid):
        return maps
    # Centres of the cells, from -1 to 1 over the whole map; in float32, as coordinates in half precision are coarse.
    rows, columns = (
        (2 * torch.arange(n, device=maps.device) + 1) / n * part - 1 for n, part in zip(grid, share, strict=True)
    )
    places = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).expand(len(maps), -1, -1, -1)
    return functional.grid_sample(maps.float(), places, mode="bilinear", padding_mode="border", align_corners=False)
