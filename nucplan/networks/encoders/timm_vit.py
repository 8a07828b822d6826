"""Any timm Vision Transformer as an encoder, by its timm name."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from nucplan.errors import NucplanError
from nucplan.networks.encoders.base import BlockwiseEncoder, Tokens
from nucplan.networks.encoders.dialects import dialect_of, without_class_position
from nucplan.networks.encoders.positions import dino_positions

STRIDES = {8: 8, 14: 16, 16: 16}


def default_taps(blocks: int) -> list[int]:
    """Indices of the blocks at a quarter, half, three quarters and the end of the depth (CellViT, Hörst et al. 2024).

    A ViT of fewer than four blocks repeats some.
    """
    return [max(1, round(blocks * k / 4)) - 1 for k in (1, 2, 3, 4)]


class TimmViT(BlockwiseEncoder):
    """A timm ViT tapped at four depths.

    Taps are the raw outputs of blocks, without the final norm and without class or register tokens. A ViT of patch 14
    sees its input resized by 14/16, so that its tokens lie on the grid of stride 16 that the decoder expects.

    Parameters
    ----------
    name
        A timm model name, for example ``vit_tiny_patch16_224``.
    in_channels
        Channels of the image. A grey image is shown to a pretrained encoder three times.
    depth
        Number of blocks, if other than the model's own (training from scratch only).
    frozen
        No gradients and always in evaluation mode.
    layer_scale
        Whether blocks scale their residuals (LayerScale); pretrained weights say so.
    taps
        Four block indices, ascending, repeats allowed; None for `default_taps`.
    pretrained
        Whether it starts from weights for RGB; a frozen one does anyway.
    positions
        How the position table serves images of other sizes: ``resample`` (bicubic with antialiasing, as timm does), or
        ``dino`` (`nucplan.networks.encoders.positions.dino_positions`), as CellViT-256 was trained. CellViT-Virchow
        was trained on images resized by area to 252 of 256 px; as a start it sees 224 of 256 px like any patch 14.
    options
        Further arguments of timm's ``VisionTransformer`` as plain values: ``reg_tokens``, ``img_size``, ``mlp_ratio``
        ...; ``mlp_layer`` by name (``swiglu_packed``), ``norm_eps`` for the epsilon of its norms.

    Raises
    ------
    NucplanError
        If timm has no such ViT, its patch is not 8, 14 or 16, a frozen one is asked for 2 or more than 3 channels, or
        ``taps`` are not four of its blocks in ascending order.
    """

    def __init__(
        self,
        name: str,
        in_channels: int,
        depth: int | None = None,
        frozen: bool = False,
        layer_scale: bool = False,
        taps: Sequence[int] | None = None,
        pretrained: bool = False,
        positions: Literal["resample", "dino"] = "resample",
        **options: Any,
    ) -> None:
        super().__init__()
        channels, self.repeat_grey = shown_channels(name, in_channels, frozen or pretrained)
        self.positions = positions
        self.vit = _create(name, channels, depth, layer_scale, options)
        self.patch = self.vit.patch_embed.patch_size[0]
        if self.patch not in STRIDES:
            raise NucplanError(f"The encoder '{name}' has patch {self.patch}; nucplan takes patch 8, 14 or 16.")
        self.tap_strides = (STRIDES[self.patch],) * 4
        self.channels = self.vit.embed_dim
        self.taps = checked_taps(name, len(self.vit.blocks), taps)
        if frozen:
            self.freeze()

    @property
    def body(self) -> nn.Module:
        return self.vit

    def embed(self, images: Tensor) -> Tokens:
        images, vit = self._as_pretrained(images), self.vit
        grid = vit.patch_embed.dynamic_feat_size(images.shape[2:])
        patches = vit.patch_embed(images)
        # The steps of timm's own forward pass; it has no public name for the one that adds positions and prefix.
        placed = self._placed_by_dino(patches) if self.positions == "dino" else vit._pos_embed(patches)
        return self._tokens(vit.norm_pre(vit.patch_drop(placed)), grid)

    def _placed_by_dino(self, patches: Tensor) -> Tensor:
        """(B, h, w, D) to (B, 1 + h * w, D): the class token and the patches, with their positions."""
        sequence = torch.cat([self.vit.cls_token.expand(len(patches), -1, -1), patches.flatten(1, 2)], 1)
        return sequence + dino_positions(self.vit.pos_embed, *patches.shape[1:3])

    def run_blocks(self, tokens: Tokens, first: int, last: int) -> Tokens:
        sequence = torch.cat([tokens.prefix, tokens.patches.flatten(1, 2)], 1)
        for block in self.vit.blocks[first:last]:
            sequence = block(sequence)
        return self._tokens(sequence, tokens.patches.shape[1:3])

    def _tokens(self, sequence: Tensor, grid: Sequence[int]) -> Tokens:
        """(B, P + h * w, D) as prefix and patches."""
        prefix = self.vit.num_prefix_tokens
        return Tokens(sequence[:, :prefix], sequence[:, prefix:].unflatten(1, tuple(grid)))

    def _as_pretrained(self, images: Tensor) -> Tensor:
        """In RGB, and of the size that puts patch 14 onto the grid of stride 16."""
        if self.repeat_grey:
            images = images.expand(-1, 3, -1, -1)
        if self.patch == self.stride:
            return images
        size = [side // self.stride * self.patch for side in images.shape[2:]]
        return functional.interpolate(images, size, mode="bilinear", antialias=True)

    def sources(self, tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        dialect = dialect_of(tensors)
        return {name: dialect.sources(name) for name in names}

    def converted(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        dialect = dialect_of(tensors)
        found = dialect.gathered(tensors, self.vit.state_dict())
        table = found.get("pos_embed")
        if table is None or table.ndim != 3 or table.shape[-1] != self.channels:
            return found
        foreign_registers = dialect.sources("reg_token")[0].endswith("register_tokens")
        if foreign_registers and self.vit.no_embed_class and "cls_token" in found:
            found = without_class_position(found)
        return {**found, "pos_embed": self._on_own_grid(found["pos_embed"])}

    def _on_own_grid(self, table: Tensor) -> Tensor:
        """A (1, prefix + h * h, D) position table resampled to the model's grid; as it is where it is no such table."""
        from timm.layers import resample_abs_pos_embed

        prefix = 0 if self.vit.no_embed_class else self.vit.num_prefix_tokens
        tokens = table.shape[1] - prefix
        if table.shape[1] == self.vit.pos_embed.shape[1] or tokens < 1 or math.isqrt(tokens) ** 2 != tokens:
            return table
        return resample_abs_pos_embed(table, self.vit.patch_embed.grid_size, num_prefix_tokens=prefix)


def shown_channels(name: str, in_channels: int, pretrained: bool) -> tuple[int, bool]:
    """Channels that an encoder for RGB is built with, and whether a grey image is shown to it three times.

    Raises
    ------
    NucplanError
        If a pretrained one is asked for channels other than 1 or 3.
    """
    if pretrained and in_channels not in (1, 3):
        raise NucplanError(
            f"The pretrained encoder '{name}' takes grey or RGB images, these have {in_channels} channels; "
            "train without --weights."
        )
    repeat_grey = pretrained and in_channels == 1
    return (3 if repeat_grey else in_channels), repeat_grey


def checked_taps(name: str, blocks: int, taps: Sequence[int] | None) -> list[int]:
    """``taps``, or the default ones.

    Raises
    ------
    NucplanError
        If they are not four of the blocks in ascending order.
    """
    if taps is None:
        return default_taps(blocks)
    if len(taps) != 4 or list(taps) != sorted(taps) or taps[0] < 0 or taps[-1] >= blocks:
        raise NucplanError(
            f"The encoder '{name}' cannot be tapped at the blocks {list(taps)}; give four from 0 to {blocks - 1}, "
            "ascending."
        )
    return list(taps)


def _arguments(depth: int | None, layer_scale: bool, options: Mapping[str, Any]) -> dict[str, Any]:
    """timm's arguments from plain values."""
    from timm.layers import SwiGLUPacked

    given = dict(options)
    if depth is not None:
        given["depth"] = depth
    if layer_scale:
        given.setdefault("init_values", 1e-5)
    if given.get("mlp_layer") == "swiglu_packed":
        given["mlp_layer"] = SwiGLUPacked
    if "norm_eps" in given:
        given["norm_layer"] = partial(nn.LayerNorm, eps=given.pop("norm_eps"))
    return given


def _create(name: str, in_channels: int, depth: int | None, layer_scale: bool, options: Mapping[str, Any]) -> nn.Module:
    timm = quietly_imported_timm()
    from timm.models.vision_transformer import VisionTransformer

    _refuse_unknown(name)
    try:
        model = timm.create_model(
            name,
            pretrained=False,
            num_classes=0,
            global_pool="",
            in_chans=in_channels,
            dynamic_img_size=True,
            **_arguments(depth, layer_scale, options),
        )
    except TypeError:
        raise NucplanError(f"The timm model '{name}' has no dynamic image size; choose a plain ViT.") from None
    if not isinstance(model, VisionTransformer):
        raise NucplanError(f"The timm model '{name}' is no plain Vision Transformer; choose one named vit_*.")
    return model


def quietly_imported_timm() -> ModuleType:
    """timm, whose first import warns of torch.jit: nothing that a user could act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import timm
    return timm


def _refuse_unknown(name: str) -> None:
    timm = quietly_imported_timm()
    if not timm.is_model(name):
        some = ", ".join(timm.list_models("vit_*patch16*224*")[:6])
        raise NucplanError(f"timm knows no model '{name}'; a ViT such as {some} is wanted (timm.list_models('vit_*')).")


def input_statistics(name: str) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per RGB channel (images in [0, 1]) that the timm model was pretrained with.

    Raises
    ------
    NucplanError
        If timm has no such model.
    """
    timm = quietly_imported_timm()
    _refuse_unknown(name)
    configuration = timm.get_pretrained_cfg(name)
    return list(configuration.mean), list(configuration.std)
