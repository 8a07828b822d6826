"""Files in every layout give the features of the model that they come from, with each tensor accounted for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nucplan.errors import NucplanError
from nucplan.networks.encoders.base import Encoder
from nucplan.networks.encoders.registry import build_encoder
from nucplan.networks.weights import load_encoder_weights

from .layouts import DEPTH, DIM, SIDE, TINY, State, hidden_maps, huggingface, meta_layout, published


def tiny(name: str, **options) -> Encoder:
    return build_encoder(name, 3, depth=DEPTH, options=TINY | options).eval()


def saved(content: dict, folder: Path) -> Path:
    torch.save(content, folder / "weights.pth")
    return folder / "weights.pth"


def assert_same_features(encoder: Encoder, source: torch.nn.Module, prefix: int) -> None:
    # Patch 14 is shown the image at 14/16 of its size; the source gets what it sees.
    images = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    encoder.patch = encoder.stride
    with torch.no_grad():
        found = encoder(images)
    for ours, theirs in zip(found, hidden_maps(source, images, prefix), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def phikon(folder: Path) -> tuple[torch.nn.Module, State, Encoder, int]:
    source = huggingface("ViT", intermediate_size=4 * DIM)
    with torch.no_grad():
        # Small enough for the norms' epsilon to matter: it is not timm's.
        for parameter in source.embeddings.parameters():
            parameter.mul_(1e-3)
    return source, published(source, folder), tiny("phikon"), 1


def phikon_v2(folder: Path) -> tuple[torch.nn.Module, State, Encoder, int]:
    source = huggingface("Dinov2", patch_size=16)
    return source, published(source, folder), tiny("phikon-v2"), 1


def registers(folder: Path) -> tuple[torch.nn.Module, State, Encoder, int]:
    source = huggingface("Dinov2WithRegisters", patch_size=16, num_register_tokens=4)
    return source, published(source, folder), tiny("dinov2-s-reg", patch_size=16), 5


def meta_registers(folder: Path) -> tuple[torch.nn.Module, State, Encoder, int]:
    source, state, encoder, prefix = registers(folder)
    return source, meta_layout(state), encoder, prefix


def chunked_registers(folder: Path) -> tuple[torch.nn.Module, State, Encoder, int]:
    source, state, encoder, prefix = registers(folder)
    state = {f"backbone.{name}": tensor for name, tensor in meta_layout(state, chunks=2).items()}
    return source, state | {"dino_head.mlp.0.weight": torch.zeros(2)}, encoder, prefix


def gated(folder: Path) -> tuple[torch.nn.Module, State, Encoder, int]:
    source = huggingface("Dinov2WithRegisters", patch_size=16, num_register_tokens=4, use_swiglu_ffn=True)
    inner = source.encoder.layer[0].mlp.down_proj.in_features
    return source, published(source, folder), tiny("hibou-b", patch_size=16, mlp_ratio=2 * inner / DIM), 5


def meta_gated(folder: Path) -> tuple[torch.nn.Module, State, Encoder, int]:
    source, state, encoder, prefix = gated(folder)
    return source, meta_layout(state), encoder, prefix


LAYOUTS = [phikon, phikon_v2, registers, meta_registers, chunked_registers, gated, meta_gated]


@pytest.fixture(params=LAYOUTS, ids=lambda make: make.__name__)
def case(request, tmp_path):
    return request.param(tmp_path)


def test_features_are_those_of_the_source(case, tmp_path):
    source, state, encoder, prefix = case
    load_encoder_weights(encoder, saved({"state_dict": state}, tmp_path))
    assert_same_features(encoder, source, prefix)


def a_block_tensor(state: State) -> str:
    """One in the middle of a block: of the last names of a sorted file it would be too easy to say which."""
    return next(name for name in state if name.endswith(("key.weight", "qkv.weight")) and ".2." in name)


def test_a_renamed_tensor_is_named_with_the_name_it_should_have(case, tmp_path):
    _, state, encoder, _ = case
    name = a_block_tensor(state)
    state[f"{name}s"] = state.pop(name)
    with pytest.raises(NucplanError, match=f"'{name}s' where '{name}' is expected"):
        load_encoder_weights(encoder, saved(state, tmp_path))


def test_a_missing_tensor_is_named_as_the_file_would_have_it(case, tmp_path):
    _, state, encoder, _ = case
    name = a_block_tensor(state)
    del state[name]
    before = {key: tensor.clone() for key, tensor in encoder.body.state_dict().items()}
    with pytest.raises(NucplanError, match=rf"lacks 1 of the encoder's \d+ tensors \({name}\)"):
        load_encoder_weights(encoder, saved(state, tmp_path))
    assert all(torch.equal(before[key], tensor) for key, tensor in encoder.body.state_dict().items())


def test_an_extra_tensor_is_named(case, tmp_path):
    _, state, encoder, _ = case
    name = f"{a_block_tensor(state).rpartition('.')[0]}.lora_up"
    state[name] = torch.zeros(2)
    with pytest.raises(NucplanError, match=rf"tensors that the encoder has not \({name}\)"):
        load_encoder_weights(encoder, saved(state, tmp_path))


def test_a_position_for_the_class_token_is_never_lost(tmp_path):
    """Added to the token where the model has no entry for it; without that all features are others."""
    _, state, encoder, _ = meta_registers(tmp_path)
    load_encoder_weights(encoder, saved(state, tmp_path))
    torch.testing.assert_close(encoder.body.cls_token, state["cls_token"] + state["pos_embed"][:, :1])
    assert encoder.body.pos_embed.shape[1] == (SIDE // 16) ** 2
