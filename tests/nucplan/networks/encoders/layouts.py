"""Files as others publish them: made of models of `transformers`, written into other layouts by rules of their own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

SIDE, DIM, DEPTH, HEADS = 64, 32, 4, 2
TINY = {"embed_dim": DIM, "num_heads": HEADS, "img_size": SIDE}
State = dict[str, Tensor]


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """In evaluation mode, with no tensor that is 0 or 1 throughout: what is not loaded shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model.eval()


def huggingface(name: str, **options) -> nn.Module:
    """A tiny model of `transformers` by its class name."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": DIM, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS, "image_size": SIDE}
    config = getattr(transformers, f"{name}Config")(**sizes, **options)
    return randomised(getattr(transformers, f"{name}Model")(config))


def published(model: nn.Module, folder: Path) -> State:
    """The names that a model of `transformers` has in files, which are other ones than in memory."""
    model.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


def hidden_maps(model: nn.Module, images: Tensor, prefix: int) -> list[Tensor]:
    """What its blocks give, as maps (1, D, h, w)."""
    with torch.no_grad():
        states = model(images, output_hidden_states=True).hidden_states[1:]
    grid = round((states[0].shape[1] - prefix) ** 0.5)
    return [state[:, prefix:].transpose(1, 2).unflatten(2, (grid, grid)) for state in states]


def meta_layout(state: State, chunks: int | None = None) -> State:
    """DINOv2 of `transformers` as Meta's own code has it; with ``chunks`` as its training checkpoints have it."""
    renamed: State = {}
    for name, tensor in state.items():
        if name.endswith(("query.weight", "query.bias")):
            parts = [state[name.replace("query", part)] for part in ("query", "key", "value")]
            renamed[name.replace("attention.attention.query", "attn.qkv")] = torch.cat(parts)
        elif "attention.attention." not in name:
            renamed[name] = tensor
    for theirs, ours in (
        ("embeddings.patch_embeddings.projection", "patch_embed.proj"), ("embeddings.position_embeddings", "pos_embed"),
        ("embeddings.", ""), ("encoder.layer.", "blocks."), ("attention.output.dense", "attn.proj"),
        ("layer_scale1.lambda1", "ls1.gamma"), ("layer_scale2.lambda1", "ls2.gamma"), ("layernorm.", "norm."),
        ("mlp.weights_in", "mlp.w12"), ("mlp.weights_out", "mlp.w3"),
    ):  # fmt: skip
        renamed = {name.replace(theirs, ours): tensor for name, tensor in renamed.items()}
    if chunks is None:
        return renamed
    numbered = re.compile(r"^blocks\.(\d+)\.")
    return {numbered.sub(lambda m: f"blocks.{int(m[1]) // chunks}.{m[1]}.", n): t for n, t in renamed.items()}


def raw_sam(state: State) -> State:
    """SAM's image encoder of `transformers` as Meta's own files have it, with some of what stands beside it."""
    rules: list[tuple[str, str | Callable]] = [
        (r"vision_encoder\.", "image_encoder."), (r"\.layers\.", ".blocks."), (r"layer_norm([12])\.", r"norm\1."),
        (r"patch_embed\.projection", "patch_embed.proj"), (r"neck\.conv1", "neck.0"), (r"neck\.norm1", "neck.1"),
        (r"neck\.conv2", "neck.2"), (r"neck\.norm2", "neck.3"),
    ]  # fmt: skip
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    beside = ("prompt_encoder.no_mask_embed.weight", "mask_decoder.iou_token.weight")
    return renamed | {name: torch.zeros(1, 4) for name in beside}
