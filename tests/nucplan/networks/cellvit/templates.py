"""State dicts of published CellViTs, written down from their names and shapes and from nothing of nucplan."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]
BRANCHES = ("nuclei_binary_map_decoder", "hv_map_decoder", "nuclei_type_maps_decoder")


class Sizes(NamedTuple):
    """Of an encoder; ``patch`` 14 has a SwiGLU of ``hidden`` rows, ``head`` is SAM's size of a head."""

    arch: str
    dim: int
    depth: int
    hidden: int
    grid: int = 14
    patch: int = 16
    registers: int = 0
    head: int = 64
    window: int = 14


PUBLISHED = {
    "CellViT256": (Sizes("CellViT256", 384, 12, 1536), 439),
    "SAM-B": (Sizes("CellViTSAM", 768, 12, 3072, grid=64), 466),
    "SAM-L": (Sizes("CellViTSAM", 1024, 24, 4096, grid=64), 634),
    "SAM-H": (Sizes("CellViTSAM", 1280, 32, 5120, grid=64, head=80), 746),
    "UNI": (Sizes("CellViTUNI", 1024, 24, 4096), 631),
    "Virchow": (Sizes("CellViTVirchow", 1280, 32, 6832, grid=16, patch=14), 743),
    "Virchow2": (Sizes("CellViTVirchow2", 1280, 32, 6832, grid=16, patch=14, registers=4), 744),
}
TINY = {
    "CellViT256": Sizes("CellViT256", 32, 4, 64, grid=3),
    "SAM": Sizes("CellViTSAM", 32, 4, 64, grid=8, head=16, window=3),
    "UNI": Sizes("CellViTUNI", 32, 4, 64, grid=3),
    "Virchow": Sizes("CellViTVirchow", 32, 4, 88, grid=4, patch=14),
    "Virchow2": Sizes("CellViTVirchow2", 32, 4, 88, grid=4, patch=14, registers=4),
}


def linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, dim: int) -> Shapes:
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}


def batch_norm(name: str, dim: int) -> Shapes:
    return norm(name, dim) | {
        f"{name}.running_mean": (dim,),
        f"{name}.running_var": (dim,),
        f"{name}.num_batches_tracked": (),
    }


def up(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (inputs, outputs, 2, 2), f"{name}.bias": (outputs,)}


def convolution(name: str, inputs: int, outputs: int, side: int = 3) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, side, side), f"{name}.bias": (outputs,)}


def conv_block(name: str, inputs: int, outputs: int) -> Shapes:
    return convolution(f"{name}.block.0", inputs, outputs) | batch_norm(f"{name}.block.1", outputs)


def deconv_block(name: str, inputs: int, outputs: int) -> Shapes:
    return (
        up(f"{name}.block.0", inputs, outputs)
        | convolution(f"{name}.block.1", outputs, outputs)
        | batch_norm(f"{name}.block.2", outputs)
    )


def decoder_shapes(dim: int, classes: int, binary: int = 2) -> Shapes:
    first, second, deep = (256, 128, 312) if dim < 512 else (512, 256, 512)
    shapes = conv_block("decoder0.0", 3, 32) | conv_block("decoder0.1", 32, 64)
    shapes |= deconv_block("decoder1.0", dim, first) | deconv_block("decoder1.1", first, second)
    shapes |= deconv_block("decoder1.2", second, 128)
    shapes |= deconv_block("decoder2.0", dim, first) | deconv_block("decoder2.1", first, 256)
    shapes |= deconv_block("decoder3.0", dim, deep)
    for branch, outputs in zip(BRANCHES, (binary, 2, classes), strict=True):
        shapes |= up(f"{branch}.bottleneck_upsampler", dim, deep)
        for stage, inner, outer in ((3, deep, 256), (2, 256, 128), (1, 128, 64)):
            name = f"{branch}.decoder{stage}_upsampler"
            shapes |= conv_block(f"{name}.0", 2 * inner, inner) | conv_block(f"{name}.1", inner, inner)
            if stage == 3:
                shapes |= conv_block(f"{name}.2", inner, inner)
            shapes |= up(f"{name}.{3 if stage == 3 else 2}", inner, outer)
        name = f"{branch}.decoder0_header"
        shapes |= conv_block(f"{name}.0", 128, 64) | conv_block(f"{name}.1", 64, 64)
        shapes |= convolution(f"{name}.2", 64, outputs, side=1)
    return shapes


def block_shapes(number: int, sizes: Sizes) -> Shapes:
    name, dim, hidden = f"encoder.blocks.{number}", sizes.dim, sizes.hidden
    shapes = norm(f"{name}.norm1", dim) | norm(f"{name}.norm2", dim)
    shapes |= linear(f"{name}.attn.qkv", 3 * dim, dim) | linear(f"{name}.attn.proj", dim, dim)
    if sizes.arch == "CellViTSAM":
        everywhere = number % (sizes.depth // 4) == sizes.depth // 4 - 1
        if sizes.depth == 4:
            everywhere = number % 2 == 1
        entries = 2 * (sizes.grid if everywhere else sizes.window) - 1
        shapes |= {f"{name}.attn.rel_pos_{axis}": (entries, sizes.head) for axis in "hw"}
        return shapes | linear(f"{name}.mlp.lin1", hidden, dim) | linear(f"{name}.mlp.lin2", dim, hidden)
    if sizes.arch != "CellViT256":
        shapes |= {f"{name}.ls1.gamma": (dim,), f"{name}.ls2.gamma": (dim,)}
    gated = 2 if sizes.patch == 14 else 1
    return shapes | linear(f"{name}.mlp.fc1", hidden, dim) | linear(f"{name}.mlp.fc2", dim, hidden // gated)


def encoder_shapes(sizes: Sizes, tissues: int) -> Shapes:
    dim = sizes.dim
    shapes = convolution("encoder.patch_embed.proj", 3, dim, side=sizes.patch)
    for number in range(sizes.depth):
        shapes |= block_shapes(number, sizes)
    if sizes.arch == "CellViTSAM":
        shapes |= {"encoder.pos_embed": (1, sizes.grid, sizes.grid, dim)}
        shapes |= {"encoder.neck.0.weight": (256, dim, 1, 1), "encoder.neck.2.weight": (256, 256, 3, 3)}
        shapes |= norm("encoder.neck.1", 256) | norm("encoder.neck.3", 256)
        return shapes | (linear("classifier_head", tissues, 256) if tissues else {})
    shapes |= {"encoder.cls_token": (1, 1, dim)}
    shapes |= {"encoder.pos_embed": (1, sizes.grid**2 + 1 + sizes.registers, dim)}
    if sizes.registers:
        shapes |= {"encoder.reg_token": (1, sizes.registers, dim)}
    shapes |= norm("encoder.norm", dim)
    return shapes | (linear("encoder.head", tissues, dim) if tissues else {})


def shapes_of(sizes: Sizes, classes: int = 6, tissues: int = 19, binary: int = 2) -> Shapes:
    return encoder_shapes(sizes, tissues) | decoder_shapes(sizes.dim, classes, binary)


def tensors_of(sizes: Sizes, seed: int = 0, **options: int) -> dict[str, Tensor]:
    """Numbers of such sizes that activations keep their scale, and no two layers are alike."""
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes_of(sizes, **options).items():
        values = torch.randn(shape, generator=draw)
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(7)
        elif name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")) or "gamma" in name:
            tensors[name] = 1 + 0.1 * values.abs()
        elif len(shape) >= 2 and name.endswith("weight"):
            fan_in = shape[0] if "upsampler" in name and shape[-1] == 2 else values[0].numel()
            tensors[name] = values * (1.5 / fan_in) ** 0.5
        else:
            tensors[name] = 0.2 * values
    return tensors


def write_checkpoint(path: Path, sizes: Sizes, config: dict | None = None, **options: int) -> Path:
    """A checkpoint as CellViT's trainer saves it."""
    flat = {"data.num_nuclei_classes": options.get("classes", 6), "transformations.normalize.mean": [0.5] * 3}
    content = {"arch": sizes.arch, "epoch": 130, "model_state_dict": tensors_of(sizes, **options)}
    torch.save(content | {"config": flat | (config or {})}, path)
    return path
