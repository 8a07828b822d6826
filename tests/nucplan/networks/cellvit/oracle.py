"""CellViT written down as functions of its state dict, with skips per branch: slow, and nothing of nucplan."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

Tensors = dict[str, Tensor]


def cellvit(tensors: Tensors, images: Tensor, sizes) -> tuple[dict[str, Tensor], Tensor]:
    """Maps by branch, and tissue logits, of normalised images that the published code takes."""
    height, width = images.shape[2:]
    if sizes.patch == 14:
        images = functional.interpolate(images, (height // 14 * 14, width // 14 * 14), mode="area")
    taps, tissue = (sam if sizes.arch == "CellViTSAM" else vit)(tensors, images, sizes)
    size = (height, width) if sizes.patch == 14 else None
    names = {name.split(".")[0] for name in tensors if name.endswith("bottleneck_upsampler.bias")}
    return {name: branch(tensors, name, images, taps, size) for name in names}, tissue


def linear(tensors: Tensors, name: str, x: Tensor) -> Tensor:
    return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def layer_norm(tensors: Tensors, name: str, x: Tensor) -> Tensor:
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt()
    return x * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def attention(tensors: Tensors, name: str, x: Tensor, heads: int, bias=None) -> Tensor:
    q, k, v = linear(tensors, f"{name}.qkv", x).chunk(3, -1)
    out = []
    for q_, k_, v_ in zip(*(part.chunk(heads, -1) for part in (q, k, v)), strict=True):
        scores = q_ @ k_.transpose(-1, -2) / math.sqrt(q_.shape[-1])
        scores = scores if bias is None else scores + bias(q_)
        out.append(scores.softmax(-1) @ v_)
    return linear(tensors, f"{name}.proj", torch.cat(out, -1))


def vit(tensors: Tensors, images: Tensor, sizes) -> tuple[list[Tensor], Tensor]:
    t = {name.removeprefix("encoder."): tensor for name, tensor in tensors.items()}
    patches = functional.conv2d(images, t["patch_embed.proj.weight"], t["patch_embed.proj.bias"], stride=sizes.patch)
    rows, columns = patches.shape[2:]
    first = 1 + sizes.registers
    tokens = [t["cls_token"], t["reg_token"]] if sizes.registers else [t["cls_token"]]
    x = torch.cat([*(token.expand(len(images), -1, -1) for token in tokens), patches.flatten(2).mT], 1)
    x = x + positions(t["pos_embed"], first, rows, columns, dino=sizes.arch == "CellViT256")
    taps = []
    for n in range(sizes.depth):
        y = attention(t, f"blocks.{n}.attn", layer_norm(t, f"blocks.{n}.norm1", x), max(1, sizes.dim // 64))
        x = x + y * t.get(f"blocks.{n}.ls1.gamma", 1)
        y = linear(t, f"blocks.{n}.mlp.fc1", layer_norm(t, f"blocks.{n}.norm2", x))
        if sizes.patch == 14:
            gate, value = y.chunk(2, -1)
            y = gate * gate.sigmoid() * value
        else:
            y = functional.gelu(y)
        x = x + linear(t, f"blocks.{n}.mlp.fc2", y) * t.get(f"blocks.{n}.ls2.gamma", 1)
        if (n + 1) % (sizes.depth // 4) == 0:
            taps.append(x[:, first:].mT.unflatten(2, (rows, columns)))
    last = layer_norm(t, "norm", x) if sizes.arch == "CellViT256" else x
    return taps, linear(t, "head", last[:, 0])


def positions(table: Tensor, first: int, rows: int, columns: int, dino: bool) -> Tensor:
    side = math.isqrt(table.shape[1] - first)
    if (rows, columns) == (side, side):
        return table
    grid = table[:, first:].mT.unflatten(2, (side, side))
    if dino:
        factors = (rows + 0.1) / side, (columns + 0.1) / side
        grid = functional.interpolate(grid, scale_factor=factors, mode="bicubic")
    else:
        grid = functional.interpolate(grid, (rows, columns), mode="bicubic", antialias=True)
    return torch.cat([table[:, :first], grid.flatten(2).mT], 1)


def sam(tensors: Tensors, images: Tensor, sizes) -> tuple[list[Tensor], Tensor]:
    t = {name.removeprefix("encoder."): tensor for name, tensor in tensors.items()}
    x = functional.conv2d(images, t["patch_embed.proj.weight"], t["patch_embed.proj.bias"], stride=16)
    x = x.permute(0, 2, 3, 1)
    x = x + t["pos_embed"][:, : x.shape[1], : x.shape[2]]
    taps = []
    for n in range(sizes.depth):
        everywhere = len(t[f"blocks.{n}.attn.rel_pos_h"]) == 2 * sizes.grid - 1
        y = layer_norm(t, f"blocks.{n}.norm1", x)
        x = x + windows(t, f"blocks.{n}.attn", y, max(x.shape[1:3]) if everywhere else sizes.window, everywhere, sizes)
        y = linear(t, f"blocks.{n}.mlp.lin1", layer_norm(t, f"blocks.{n}.norm2", x))
        x = x + linear(t, f"blocks.{n}.mlp.lin2", functional.gelu(y))
        if (n + 1) % (sizes.depth // 4) == 0:
            taps.append(x.permute(0, 3, 1, 2))
    neck = functional.conv2d(taps[-1], t["neck.0.weight"])
    neck = layer_norm(t, "neck.1", neck.movedim(1, -1)).movedim(-1, 1)
    neck = functional.conv2d(neck, t["neck.2.weight"], padding=1)
    neck = layer_norm(t, "neck.3", neck.movedim(1, -1))
    return taps, linear(tensors, "classifier_head", neck.mean((1, 2)))


def windows(t: Tensors, name: str, x: Tensor, side: int, everywhere: bool, sizes) -> Tensor:
    """Attention within windows, one by one, of zeros beyond the lower and right border; or over a whole square."""
    rows, columns = x.shape[1:3]
    out = torch.zeros_like(x)
    for top in range(0, rows, side):
        for left in range(0, columns, side):
            part = x[:, top : top + side, left : left + side]
            h, w = part.shape[1:3]
            bottom, right = (0, 0) if everywhere else (side - h, side - w)
            part = functional.pad(part, (0, 0, 0, right, 0, bottom))
            inner = attend(t, name, part, sizes.dim // sizes.head)
            out[:, top : top + h, left : left + w] = inner[:, :h, :w]
    return out


def attend(t: Tensors, name: str, x: Tensor, heads: int) -> Tensor:
    rows, columns = x.shape[1:3]
    tables = [resized(t[f"{name}.rel_pos_{axis}"], n) for axis, n in (("h", rows), ("w", columns))]
    places = [(r, c) for r in range(rows) for c in range(columns)]

    def bias(q: Tensor) -> Tensor:
        down = torch.stack([torch.stack([tables[0][r - r_ + rows - 1] for r_, _ in places]) for r, _ in places])
        across = torch.stack([torch.stack([tables[1][c - c_ + columns - 1] for _, c_ in places]) for _, c in places])
        return torch.einsum("bqd,qkd->bqk", q, down + across)

    return attention(t, name, x.flatten(1, 2), heads, bias).unflatten(1, (rows, columns))


def resized(table: Tensor, side: int) -> Tensor:
    return functional.interpolate(table.T[None], 2 * side - 1, mode="linear")[0].T


def branch(t: Tensors, name: str, images: Tensor, taps: list[Tensor], size: tuple[int, int] | None) -> Tensor:
    """One branch with skips of its own; with ``size`` its last features and the image's skip are resized to that."""
    x = up(t, f"{name}.bottleneck_upsampler", taps[3])
    for stage, convolutions in ((3, 3), (2, 2), (1, 2)):
        skip = taps[stage - 1]
        for number in range(4 - stage):
            skip = up(t, f"decoder{stage}.{number}.block.0", skip)
            skip = conv(t, f"decoder{stage}.{number}.block", skip, 1)
        x = torch.cat([skip, x], 1)
        for number in range(convolutions):
            x = conv(t, f"{name}.decoder{stage}_upsampler.{number}.block", x, 0)
        x = up(t, f"{name}.decoder{stage}_upsampler.{convolutions}", x)
    skip = conv(t, "decoder0.1.block", conv(t, "decoder0.0.block", images, 0), 0)
    if size is not None:
        skip, x = (functional.interpolate(part, size, mode="bilinear", align_corners=False) for part in (skip, x))
    x = torch.cat([skip, x], 1)
    for number in (0, 1):
        x = conv(t, f"{name}.decoder0_header.{number}.block", x, 0)
    last = f"{name}.decoder0_header.2"
    return functional.conv2d(x, t[f"{last}.weight"], t[f"{last}.bias"])


def up(t: Tensors, name: str, x: Tensor) -> Tensor:
    return functional.conv_transpose2d(x, t[f"{name}.weight"], t[f"{name}.bias"], stride=2)


def conv(t: Tensors, name: str, x: Tensor, n: int) -> Tensor:
    """3x3 convolution ``n`` of a block, the batch norm after it, ReLU."""
    x = functional.conv2d(x, t[f"{name}.{n}.weight"], t[f"{name}.{n}.bias"], padding=1)
    norm = f"{name}.{n + 1}"
    mean, var, weight, bias = (
        t[f"{norm}.{part}"].view(-1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
    )
    return ((x - mean) / (var + 1e-5).sqrt() * weight + bias).relu()
