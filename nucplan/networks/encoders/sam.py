"""The image encoder of Segment Anything, plain or with the adapters of SAM-Med2D."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional

from nucplan.errors import NucplanError
from nucplan.networks.encoders.base import BlockwiseEncoder, Tokens
from nucplan.networks.encoders.dialects import dialect_of
from nucplan.networks.encoders.timm_vit import checked_taps, default_taps, quietly_imported_timm, shown_channels

RELATIVE = re.compile(r"blocks\.(\d+)\.attn\.rel_pos_[hw]")
# What a SAM file holds beside the image encoder.
OTHER_PARTS = ("prompt_encoder.", "mask_decoder.", "shared_image_embedding.")


class SamViT(BlockwiseEncoder):
    """SAM's ViT (Kirillov et al. 2023; Li et al. 2022, arXiv:2203.16527) on timm's layers, tapped at four depths.

    Blocks attend within windows of 14 x 14 tokens, four of them to all tokens. Images may have any sides that are
    multiples of 16: relative position tables are interpolated linearly, as SAM does.

    Parameters
    ----------
    name
        A timm name, for example ``samvit_base_patch16``.
    in_channels, depth, frozen, taps
        As of `nucplan.networks.encoders.timm_vit.TimmViT`.
    layer_scale
        No SAM has it.
    positions
        How the absolute position table serves images smaller than it was made for: ``resample`` (bicubic, as timm
        does), or ``crop`` to its top left corner, as CellViT's checkpoints were trained.
    adapter
        Whether blocks have the adapters of SAM-Med2D.
    neck
        Whether to keep SAM's neck, which our decoders do not read.
    pretrained
        As of `TimmViT`.
    options
        Further arguments of timm's ``VisionTransformerSAM``, for example ``img_size``.

    Raises
    ------
    NucplanError
        If timm has no such model, or as `TimmViT` says.
    """

    tap_strides = (16, 16, 16, 16)

    def __init__(
        self,
        name: str,
        in_channels: int,
        depth: int | None = None,
        frozen: bool = False,
        layer_scale: bool = False,
        taps: Sequence[int] | None = None,
        positions: Literal["resample", "crop"] = "resample",
        adapter: bool = False,
        neck: bool = False,
        pretrained: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        if layer_scale:
            raise NucplanError(f"The weights have LayerScale, which '{name}' has not; check --encoder.")
        channels, self.repeat_grey = shown_channels(name, in_channels, frozen or pretrained)
        self.positions = positions
        self.vit = _create(name, channels, depth, options)
        self.channels = self.vit.embed_dim
        if not neck:
            self.vit.neck = nn.Identity()
        if adapter:
            for block in self.vit.blocks:
                block.Adapter = Adapter(self.channels)
        self.taps = checked_taps(name, len(self.vit.blocks), taps)
        if frozen:
            self.freeze()

    @property
    def body(self) -> nn.Module:
        return self.vit

    def embed(self, images: Tensor) -> Tokens:
        if self.repeat_grey:
            images = images.expand(-1, 3, -1, -1)
        patches = self.vit.patch_embed(images)
        patches = patches + self._positions(*patches.shape[1:3])
        # SAM has no class token.
        return Tokens(patches.new_empty(len(patches), 0, self.channels), patches)

    def run_blocks(self, tokens: Tokens, first: int, last: int) -> Tokens:
        patches = tokens.patches
        for block in self.vit.blocks[first:last]:
            patches = _through(block, patches)
        return tokens._replace(patches=patches)

    def _positions(self, height: int, width: int) -> Tensor:
        """The absolute position table (1, height, width, D)."""
        from timm.layers import resample_abs_pos_embed_nhwc

        table = self.vit.pos_embed
        if self.positions == "resample":
            return resample_abs_pos_embed_nhwc(table, [height, width])
        if height > table.shape[1] or width > table.shape[2]:
            raise NucplanError(
                f"This encoder's position table ends at {16 * table.shape[1]} pixels, the image has "
                f"{16 * height} x {16 * width}; use smaller tiles."
            )
        return table[:, :height, :width]

    def sources(self, tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        dialect = dialect_of(tensors)
        return {name: dialect.sources(name) for name in names}

    def converted(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        wanted = self.vit.state_dict()
        found = dialect_of(tensors).gathered(tensors, wanted)
        table = found.get("pos_embed")
        side = table.shape[1] if table is not None and table.ndim == 4 else 0
        return {
            name: self._on_own_grid(name, tensor, wanted[name], side)
            if tensor.ndim == wanted[name].ndim and tensor.shape[-1] == wanted[name].shape[-1]
            else tensor
            for name, tensor in found.items()
        }

    def _on_own_grid(self, name: str, tensor: Tensor, wanted: Tensor, side: int) -> Tensor:
        """A position table of a file for ``side`` x ``side`` tokens, at the encoder's size; others as they are."""
        if tensor.shape == wanted.shape:
            return tensor
        if name == "pos_embed" and len(tensor) == 1:
            from timm.layers import resample_abs_pos_embed_nhwc

            return resample_abs_pos_embed_nhwc(tensor, list(wanted.shape[1:3]))
        block = RELATIVE.fullmatch(name)
        # A window has the same size in images of any size: tables of another length are those of another model.
        if block and self.vit.blocks[int(block[1])].window_size == 0 and len(tensor) == 2 * side - 1:
            return functional.interpolate(tensor.T[None], len(wanted), mode="linear")[0].T
        return tensor

    def dispensable(self, name: str) -> bool:
        return super().dispensable(name) or name.startswith((*OTHER_PARTS, "neck."))


class Adapter(nn.Module):
    """The adapter of SAM-Med2D (Cheng et al. 2023): a channel gate, a spatial bottleneck, a norm.

    Its names are those of the published file.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 4
        self.channel = nn.Sequential(
            nn.Linear(channels, hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, channels, bias=False),
            nn.Sigmoid(),
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1, bias=False),
            nn.ReLU(),
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, H, W, D) to (B, H, W, D)."""
        gated = tokens * self.channel(tokens.mean((1, 2)))[:, None, None]
        spatial = self.spatial(gated.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        # Down and up again adds a row to an odd number of them.
        return self.norm(tokens + spatial[:, : tokens.shape[1], : tokens.shape[2]])


def _through(block: nn.Module, tokens: Tensor) -> Tensor:
    """(B, H, W, D) tokens through a block, whose adapter, if any, stands beside the MLP."""
    if not hasattr(block, "Adapter"):
        return block(tokens)
    from timm.models.vision_transformer_sam import window_partition, window_unpartition

    size = tuple(tokens.shape[1:3])
    normed = block.norm1(tokens)
    if block.window_size > 0:
        windows, padded = window_partition(normed, block.window_size)
        tokens = tokens + window_unpartition(block.attn(windows), block.window_size, size, padded)
    else:
        tokens = tokens + block.attn(normed)
    normed = block.norm2(tokens)
    return tokens + block.mlp(normed) + block.Adapter(normed)


def _create(name: str, in_channels: int, depth: int | None, options: Mapping[str, Any]) -> nn.Module:
    timm = quietly_imported_timm()
    given = dict(options)
    # Where the depth is another one, the blocks that see all tokens are still those that are tapped.
    if depth is not None:
        given |= {"depth": depth, "global_attn_indexes": tuple(sorted(set(default_taps(depth))))}
    return timm.create_model(
        name,
        pretrained=False,
        num_classes=0,
        in_chans=in_channels,
        # timm's own default is 1e-5; the weights were trained with 1e-6.
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        **given,
    )
