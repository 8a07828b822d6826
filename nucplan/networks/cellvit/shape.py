"""How a CellViT is built, read from the shapes of its tensors."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

TYPES = "nuclei_type_maps_decoder.decoder0_header.2.bias"
BINARY = "nuclei_binary_map_decoder.decoder0_header.2.bias"
# What the published classes have beside a plain ViT, and is not to be guessed from a file that lacks a key.
SAM, SCALED, PLAIN = "sam", "scaled", "plain"
KINDS = {
    "CellViT": PLAIN,
    "CellViT256": PLAIN,
    "CellViTSAM": SAM,
    "CellViTUNI": SCALED,
    "CellViTVirchow": SCALED,
    "CellViTVirchow2": SCALED,
}


@dataclass(frozen=True)
class CellViTShape:
    """Sizes of a CellViT.

    Attributes
    ----------
    kind
        Encoder: ``plain`` (DINO's ViT), ``scaled`` (with LayerScale, as DINOv2 trains them) or ``sam``.
    channels, depth, heads, hidden
        Of the encoder's blocks; ``hidden`` are the outputs of the first linear layer of the MLP.
    gated
        Whether that MLP is a SwiGLU.
    patch, grid
        Side of a patch in px, and of the position table in patches.
    registers
        Register tokens.
    window, global_blocks, neck
        SAM: side of a window in patches, indices of the blocks without windows, channels of the neck.
    classes
        Classes of nuclei, background included.
    binary
        Channels of the binary branch: 2, or 4 where it was trained with a regression loss.
    tissues
        Classes of tissue; 0 without that head.
    """

    kind: str
    channels: int
    depth: int
    heads: int
    hidden: int
    gated: bool
    patch: int
    grid: int
    registers: int
    window: int
    global_blocks: tuple[int, ...]
    neck: int
    classes: int
    binary: int
    tissues: int


def kind_of(tensors: Mapping[str, Tensor], arch: str | None) -> str:
    """The kind of encoder: that of the published class, else by the keys."""
    if arch in KINDS:
        return KINDS[arch]
    if any(".rel_pos_" in name or name.startswith("encoder.neck.") for name in tensors):
        return SAM
    return SCALED if any(".ls1." in name for name in tensors) else PLAIN


def shape_of(tensors: Mapping[str, Tensor], arch: str | None, config: Mapping[str, Any]) -> CellViTShape:
    """Sizes of the CellViT whose state dict these tensors are.

    Parameters
    ----------
    tensors
        The state dict.
    arch
        Name of the class that it was saved from, where the file tells.
    config
        Settings of its training, by dotted names.

    Raises
    ------
    KeyError
        If a tensor that tells a size is missing.
    ValueError
        If the sizes are of no CellViT; the message says which.
    """
    kind = kind_of(tensors, arch)
    projection = tensors["encoder.patch_embed.proj.weight"]
    channels, patch = projection.shape[0], projection.shape[-1]
    fc1, fc2 = ("lin1", "lin2") if kind == SAM else ("fc1", "fc2")
    hidden = len(tensors[f"encoder.blocks.0.mlp.{fc1}.weight"])
    has_registers = arch == "CellViTVirchow2" or "encoder.reg_token" in tensors
    registers = tensors["encoder.reg_token"].shape[1] if has_registers else 0
    table = tensors["encoder.pos_embed"]
    grid = table.shape[1] if kind == SAM else math.isqrt(table.shape[1] - 1 - registers)
    if kind != SAM and grid**2 + 1 + registers != table.shape[1]:
        raise ValueError(
            f"'encoder.pos_embed' has {table.shape[1]} entries, which are no square grid and {1 + registers} tokens"
        )
    depth = _depth(tensors)
    heads = config.get("model.num_heads") or _heads(tensors, kind, channels)
    if channels % heads:
        raise ValueError(f"{channels} channels cannot be cut into {heads} heads")
    window, global_blocks = _windows(tensors, depth, grid) if kind == SAM else (0, ())
    head = "classifier_head" if kind == SAM else "encoder.head"
    tissues = [len(tensors[name]) for name in (f"{head}.weight", f"{head}.bias") if name in tensors]
    return CellViTShape(
        kind=kind,
        channels=channels,
        depth=depth,
        heads=heads,
        hidden=hidden,
        gated=tensors[f"encoder.blocks.0.mlp.{fc2}.weight"].shape[1] != hidden,
        patch=patch,
        grid=grid,
        registers=registers,
        window=window,
        global_blocks=global_blocks,
        neck=len(tensors["encoder.neck.0.weight"]) if kind == SAM else 0,
        classes=len(tensors[TYPES]),
        binary=len(tensors[BINARY]),
        tissues=max(tissues, default=0),
    )


def _depth(tensors: Mapping[str, Tensor]) -> int:
    found = (re.match(r"encoder\.blocks\.(\d+)\.", name) for name in tensors)
    sizes = Counter(int(block[1]) for block in found if block)
    # One stray tensor makes no block.
    depth = 1 + max((block for block, size in sizes.items() if size > 1), default=-1)
    if not depth or depth % 4:
        raise ValueError(f"the encoder has {depth} blocks, which are not four equal parts")
    return depth


def _heads(tensors: Mapping[str, Tensor], kind: str, channels: int) -> int:
    if kind == SAM:
        return channels // tensors["encoder.blocks.0.attn.rel_pos_h"].shape[1]
    # ViT-H is the one size whose heads have 80 channels (Dosovitskiy et al. 2021, table 1).
    return max(1, channels // (80 if channels == 1280 else 64))


def _windows(tensors: Mapping[str, Tensor], depth: int, grid: int) -> tuple[int, tuple[int, ...]]:
    sides = {n: (len(tensors[f"encoder.blocks.{n}.attn.rel_pos_h"]) + 1) // 2 for n in range(depth)}
    everywhere = tuple(n for n, side in sides.items() if side == grid)
    windows = set(sides.values()) - {grid}
    if len(windows) > 1:
        raise ValueError(f"its blocks have windows of {', '.join(map(str, sorted(windows)))} patches")
    return max(windows, default=0), everywhere
