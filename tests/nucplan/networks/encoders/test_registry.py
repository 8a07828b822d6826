"""Every encoder of the registry has the published architecture."""

from __future__ import annotations

import json
from functools import cache

import pytest
import torch

from nucplan.errors import NucplanError
from nucplan.networks.encoders.base import Encoder
from nucplan.networks.encoders.cards import CARDS
from nucplan.networks.encoders.registry import build_encoder, find_card

# Parameters in millions, entries of the position table, rows of the first and columns of the second layer of the MLP.
DINOV2 = {"s": (22.06, 1536, 1536), "b": (86.58, 3072, 3072), "l": (304.37, 4096, 4096), "g": (1136.48, 8192, 4096)}
PUBLISHED = {
    "uni": (303.35, 197, 4096, 4096),
    "uni2-h": (681.39, 256, 8192, 4096),
    "virchow": (631.23, 257, 6832, 3416),
    "virchow2": (631.24, 261, 6832, 3416),
    "h-optimus-0": (1134.77, 256, 8192, 4096),
    "h-optimus-1": (1134.77, 256, 8192, 4096),
    "h0-mini": (85.74, 256, 4096, 2048),
    "gigapath": (1134.95, 197, 8192, 4096),
    "phikon": (85.80, 197, 3072, 3072),
    "phikon-v2": (303.35, 197, 4096, 4096),
    "hipt-vit256": (21.67, 197, 1536, 1536),
    "kaiko-s16": (21.67, 197, 1536, 1536),
    "kaiko-s8": (21.67, 785, 1536, 1536),
    "kaiko-b16": (85.80, 197, 3072, 3072),
    "kaiko-b8": (85.81, 785, 3072, 3072),
    "dino-s16": (21.67, 197, 1536, 1536),
    "dino-s8": (21.67, 785, 1536, 1536),
    "dino-b16": (85.80, 197, 3072, 3072),
    "dino-b8": (85.81, 785, 3072, 3072),
    "kaiko-l14": (304.37, 1369, 4096, 4096),
    "hibou-b": (85.74, 256, 4096, 2048),
    "hibou-l": (303.66, 256, 5472, 2736),
    **{f"dinov2-{s}": (millions, 1370, *mlp) for s, (millions, *mlp) in DINOV2.items()},
    **{f"dinov2-{s}-reg": (millions, 1369, *mlp) for s, (millions, *mlp) in DINOV2.items()},
    "sam-b": (89.67, 64 * 64, 3072, 3072),
    "sam-l": (308.28, 64 * 64, 4096, 4096),
    "sam-h": (637.03, 64 * 64, 5120, 5120),
    "cellvit-256": (21.67, 197, 1536, 1536),
    "cellvit-sam-b": (89.67, 64 * 64, 3072, 3072),
    "cellvit-sam-l": (308.28, 64 * 64, 4096, 4096),
    "cellvit-sam-h": (637.03, 64 * 64, 5120, 5120),
    "cellvit-uni": (303.35, 197, 4096, 4096),
    "cellvit-virchow": (631.23, 257, 6832, 3416),
    "cellvit-virchow2": (631.24, 261, 6832, 3416),
}
IMAGE_ENCODERS = [name for name, card in CARDS.items() if card.family != "virtues"]


@cache
def built(name: str) -> Encoder:
    """On the meta device; that of SAM with its neck, which belongs to what is published."""
    with torch.device("meta"):
        return build_encoder(name, 3, options={"neck": True} if CARDS[name].family == "sam" else {})


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_the_published_ones(name):
    millions, positions, rows, columns = PUBLISHED[name]
    vit = built(name).body
    # Four digits of what is published, which rounds the last.
    assert sum(p.numel() for p in vit.parameters()) / 1e6 == pytest.approx(millions, abs=0.0051)
    assert vit.pos_embed.numel() == positions * vit.embed_dim
    assert vit.blocks[-1].mlp.fc1.weight.shape == (rows, vit.embed_dim)
    assert vit.blocks[-1].mlp.fc2.weight.shape == (vit.embed_dim, columns)


@pytest.mark.parametrize("name", IMAGE_ENCODERS)
def test_a_card_says_what_is_built(name):
    card, encoder = find_card(name), built(name)
    vit = encoder.body
    assert vit.embed_dim == card.embed_dim == encoder.channels
    assert len(vit.blocks) == card.depth
    assert vit.blocks[0].attn.num_heads == card.heads
    assert vit.patch_embed.patch_size == (card.patch, card.patch)
    assert getattr(vit, "num_prefix_tokens", 0) == card.prefix_tokens
    assert len(card.mean) == len(card.std) == 3
    assert card.licence


@pytest.mark.parametrize("name", CARDS)
def test_options_survive_a_plan_and_the_name_is_the_key(name):
    assert CARDS[name].name == name
    assert json.loads(json.dumps(dict(CARDS[name].options))) == CARDS[name].options


def test_a_timm_name_works_as_it_is():
    card = find_card("vit_small_patch14_dinov2")
    assert (card.family, card.architecture, card.mean) == ("timm", "vit_small_patch14_dinov2", (0.485, 0.456, 0.406))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("UNI", "uni"),
        ("virchow-2", "virchow2"),
        ("h-optimus", "h-optimus-0"),
        ("kaiko", "kaiko-s16"),
        ("vit_smal_patch16_224", "vit_small_patch16_224"),
    ],
)
def test_an_unknown_name_is_answered_with_those_like_it(typed, meant):
    with pytest.raises(NucplanError, match=f"'{typed}'; did you mean .*{meant}[,?]"):
        find_card(typed)


def test_options_of_a_plan_go_above_those_of_the_card():
    with torch.device("meta"):
        encoder = build_encoder("virchow2", 3, depth=1, options={"reg_tokens": 2})
    assert encoder.body.num_prefix_tokens == 3
    assert encoder.body.blocks[0].ls1.gamma.shape == (1280,)
