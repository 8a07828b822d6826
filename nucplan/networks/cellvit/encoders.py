"""The encoders of CellViT: timm's, with positions and names as CellViT has them."""

from __future__ import annotations

import warnings
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from nucplan.errors import NucplanError
from nucplan.networks.cellvit.shape import PLAIN, SAM, CellViTShape
from nucplan.networks.encoders.positions import dino_positions

with warnings.catch_warnings():
    # timm's import of torch.jit warns on every start; it is nothing that a user could act on.
    warnings.simplefilter("ignore", FutureWarning)
    from timm.layers import Mlp, SwiGLUPacked, resample_abs_pos_embed
    from timm.models.vision_transformer import VisionTransformer
    from timm.models.vision_transformer_sam import VisionTransformerSAM


def build_encoder(shape: CellViTShape) -> nn.Module:
    """The encoder of a CellViT: from images (B, 3, H, W) to four raw maps (B, D, h, w) and a summary (B, S).

    The maps are outputs of the blocks at a quarter, half, three quarters and the end, without norm and without class
    or register tokens. The summary is the tissue logits, or with SAM what the tissue head reads.
    """
    return SamEncoder(shape) if shape.kind == SAM else TokenEncoder(shape)


class TokenEncoder(VisionTransformer):
    """ViT-256, UNI, Virchow or Virchow2."""

    def __init__(self, shape: CellViTShape) -> None:
        super().__init__(
            img_size=shape.grid * shape.patch,
            patch_size=shape.patch,
            num_classes=shape.tissues,
            embed_dim=shape.channels,
            depth=shape.depth,
            num_heads=shape.heads,
            # timm cuts the product off.
            mlp_ratio=(shape.hidden + 0.5) / shape.channels,
            init_values=None if shape.kind == PLAIN else 1e-5,
            reg_tokens=shape.registers,
            act_layer=nn.SiLU if shape.gated else nn.GELU,
            mlp_layer=SwiGLUPacked if shape.gated else Mlp,
            weight_init="skip",
        )
        self.shape = shape

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor | None]:
        patches = self.patch_embed.proj(images)
        prefix = [self.cls_token] if self.reg_token is None else [self.cls_token, self.reg_token]
        prefix = [token.expand(len(images), -1, -1) for token in prefix]
        x = torch.cat([*prefix, patches.flatten(2).transpose(1, 2)], 1) + self.positions(*patches.shape[2:])
        taps = []
        for number, block in enumerate(self.blocks, 1):
            x = block(x)
            if number % (self.shape.depth // 4) == 0:
                taps.append(x[:, self.num_prefix_tokens :].transpose(1, 2).reshape_as(patches))
        return taps, self._tissues(x)

    def positions(self, rows: int, columns: int) -> Tensor:
        """The position table (1, prefix + rows * columns, D) for a grid of patches."""
        if self.shape.kind == PLAIN:
            return dino_positions(self.pos_embed, rows, columns)
        return resample_abs_pos_embed(self.pos_embed, [rows, columns], num_prefix_tokens=self.num_prefix_tokens)

    def _tissues(self, tokens: Tensor) -> Tensor | None:
        if not self.shape.tissues:
            return None
        # ViT-256 alone was trained with its last norm before the tissue head.
        return self.head((self.norm(tokens) if self.shape.kind == PLAIN else tokens)[:, 0])


class SamMlp(nn.Module):
    """The MLP of SAM's blocks, under SAM's names."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(channels, hidden)
        self.lin2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(functional.gelu(self.lin1(x)))


class SamEncoder(VisionTransformerSAM):
    """SAM's image encoder (Kirillov et al. 2023) on tiles smaller than those that it was trained on."""

    def __init__(self, shape: CellViTShape) -> None:
        super().__init__(
            img_size=shape.grid * shape.patch,
            patch_size=shape.patch,
            num_classes=0,
            embed_dim=shape.channels,
            depth=shape.depth,
            num_heads=shape.heads,
            use_rel_pos=True,
            window_size=shape.window,
            global_attn_indexes=shape.global_blocks,
            neck_chans=shape.neck,
            # SAM's own; timm's models of SAM have torch's 1e-5.
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
        )
        self.shape = shape
        for block in self.blocks:
            block.mlp = SamMlp(shape.channels, shape.hidden)

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        x = self.patch_embed.proj(images).permute(0, 2, 3, 1)
        x = x + self.positions(*x.shape[1:3])
        taps = []
        for number, block in enumerate(self.blocks, 1):
            x = block(x)
            if number % (self.shape.depth // 4) == 0:
                taps.append(x.permute(0, 3, 1, 2))
        return taps, self.neck(taps[-1]).mean((2, 3))

    def positions(self, rows: int, columns: int) -> Tensor:
        """The top left corner (1, rows, columns, D) of the position table; timm would resample the table."""
        grid = self.shape.grid
        if max(rows, columns) > grid:
            raise NucplanError(
                f"The positions of this CellViT-SAM end at {grid * self.shape.patch} px, and a tile has "
                f"{rows * self.shape.patch} x {columns * self.shape.patch} px; predict in smaller tiles."
            )
        return self.pos_embed[:, :rows, :columns]
