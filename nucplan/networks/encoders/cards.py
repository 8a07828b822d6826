"""What is known of each named encoder: its architecture, what images it was trained on, its licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class EncoderCard:
    """What is known of a named encoder.

    Attributes
    ----------
    name
        As users give it.
    family
        Key of `nucplan.networks.encoders.registry.FAMILIES`.
    architecture
        The timm name, or the family's own.
    options
        What its architecture has other than the named one; plain JSON values.
    embed_dim, depth, heads, patch
        Width of the tokens, number of blocks, heads and patch side in pixels; None where only the built model knows.
    prefix_tokens
        Class and register tokens.
    mean, std
        Per RGB channel of images in [0, 1], as it was pretrained; None where images come otherwise.
    mpp
        Microns per pixel that it was pretrained at; None where that was at several, or on pictures of any scale.
    licence
        Of the published weights.
    layout
        How its published file names the tensors, see `nucplan.networks.encoders.dialects`.
    """

    name: str
    family: str
    architecture: str
    options: Mapping[str, Any] = field(default_factory=dict)
    embed_dim: int | None = None
    depth: int | None = None
    heads: int | None = None
    patch: int | None = None
    prefix_tokens: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    mpp: float | None = None
    licence: str = "unknown"
    layout: str = "timm"


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
H_OPTIMUS = (0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517)
HIBOU = (0.7068, 0.5755, 0.722), (0.195, 0.2316, 0.1816)

APACHE = "Apache-2.0"
NON_COMMERCIAL = "CC-BY-NC-ND 4.0"
GATED = "gated: see its model card"
UNSTATED = "see its model card"
OWKIN = "Owkin non-commercial licence"
# CellViT's weights carry the licence of the encoder and that of the images.
TRAINED_ON = "trained on PanNuke (CC BY-NC-SA 4.0)"

AT_224 = {"img_size": 224}
LAYER_SCALE = {"init_values": 1e-5}
SWIGLU = {"mlp_layer": "swiglu_packed", "act_layer": "silu"}
VIRCHOW = LAYER_SCALE | SWIGLU | {"mlp_ratio": 5.3375}
SWIGLU_8_3 = SWIGLU | {"mlp_ratio": 5.33334}
UNI2 = (
    LAYER_SCALE
    | SWIGLU_8_3
    | {"depth": 24, "embed_dim": 1536, "num_heads": 24, "reg_tokens": 8, "no_embed_class": True}
)
GIGAPATH = SWIGLU_8_3 | AT_224 | {"patch_size": 16, "embed_dim": 1536, "num_heads": 24}

HIBOU_L = SWIGLU | {"mlp_ratio": 5.34375} | AT_224

PLAIN = "small_patch16", "base_patch16", "large_patch16", "huge_patch14"
# Embedding width, depth, heads.
SMALL, BASE, LARGE, HUGE = (384, 12, 6), (768, 12, 12), (1024, 24, 16), (1280, 32, 16)
GIANT, GIANT_24 = (1536, 40, 24), (1536, 24, 24)


def _card(
    name: str,
    architecture: str,
    size: tuple[int, int, int],
    patch: int,
    prefix_tokens: int,
    statistics: tuple[tuple[float, ...], tuple[float, ...]],
    mpp: float | None,
    licence: str,
    options: Mapping[str, Any] | None = None,
    layout: str = "timm",
    family: str = "timm",
) -> EncoderCard:
    return EncoderCard(
        name, family, architecture, options or {}, *size, patch, prefix_tokens, *statistics, mpp, licence, layout
    )


def _pathology() -> list[EncoderCard]:
    vit_s, vit_b, vit_l, vit_h = (f"vit_{size}_224" for size in PLAIN)
    giant, giant_reg = "vit_giant_patch14_dinov2", "vit_giant_patch14_reg4_dinov2"
    base_reg, large_reg = "vit_base_patch14_reg4_dinov2", "vit_large_patch14_reg4_dinov2"
    return [
        _card("uni", vit_l, LARGE, 16, 1, IMAGENET, 0.5, NON_COMMERCIAL, LAYER_SCALE),
        _card("uni2-h", "vit_giant_patch14_224", GIANT_24, 14, 9, IMAGENET, 0.5, NON_COMMERCIAL, UNI2),
        _card("virchow", vit_h, HUGE, 14, 1, IMAGENET, 0.5, APACHE, VIRCHOW),
        _card("virchow2", vit_h, HUGE, 14, 5, IMAGENET, None, NON_COMMERCIAL, VIRCHOW | {"reg_tokens": 4}),
        _card("h-optimus-0", giant_reg, GIANT, 14, 5, H_OPTIMUS, 0.5, APACHE, AT_224),
        _card("h-optimus-1", giant_reg, GIANT, 14, 5, H_OPTIMUS, 0.5, GATED, AT_224),
        _card("h0-mini", base_reg, BASE, 14, 5, H_OPTIMUS, 0.5, GATED, SWIGLU_8_3 | AT_224),
        _card("gigapath", giant, GIANT, 16, 1, IMAGENET, 0.5, GATED, GIGAPATH),
        _card("phikon", vit_b, BASE, 16, 1, IMAGENET, 0.5, OWKIN, {"norm_eps": 1e-12}, "hf-vit"),
        _card("phikon-v2", vit_l, LARGE, 16, 1, IMAGENET, 0.5, OWKIN, LAYER_SCALE, "hf-dinov2"),
        _card("hipt-vit256", vit_s, SMALL, 16, 1, HALF, 0.5, "Apache-2.0 with Commons Clause"),
        _card("kaiko-s16", vit_s, SMALL, 16, 1, HALF, None, UNSTATED),
        _card("kaiko-s8", "vit_small_patch8_224", SMALL, 8, 1, HALF, None, UNSTATED),
        _card("kaiko-b16", vit_b, BASE, 16, 1, HALF, None, UNSTATED),
        _card("kaiko-b8", "vit_base_patch8_224", BASE, 8, 1, HALF, None, UNSTATED),
        _card("kaiko-l14", large_reg, LARGE, 14, 5, HALF, None, UNSTATED),
        _card("hibou-b", base_reg, BASE, 14, 5, HIBOU, None, APACHE, SWIGLU_8_3 | AT_224, "dinov2"),
        _card("hibou-l", large_reg, LARGE, 14, 5, HIBOU, None, APACHE, HIBOU_L, "dinov2"),
    ]


def _dino() -> list[EncoderCard]:
    """Of natural images (Caron et al. 2021); pathology encoders of the same tensors expect other colours."""
    return [
        _card(f"dino-{word[0]}{patch}", f"vit_{word}_patch{patch}_224", size, patch, 1, IMAGENET, None, APACHE)
        for word, size in (("small", SMALL), ("base", BASE))
        for patch in (16, 8)
    ]


def _dinov2() -> list[EncoderCard]:
    sizes = {"s": ("small", SMALL), "b": ("base", BASE), "l": ("large", LARGE), "g": ("giant", GIANT)}
    return [
        _card(
            f"dinov2-{short}{suffix}",
            f"vit_{word}_patch14{infix}_dinov2",
            size, 14, prefix, IMAGENET, None, APACHE, layout="dinov2",
        )
        for short, (word, size) in sizes.items()
        for suffix, infix, prefix in (("", "", 1), ("-reg", "_reg4", 5))
    ]  # fmt: skip


def _segment_anything() -> list[EncoderCard]:
    sizes = {"b": ("base", BASE), "l": ("large", LARGE), "h": ("huge", HUGE)}
    sam = [
        _card(f"sam-{short}", f"samvit_{word}_patch16", size, 16, 0, IMAGENET, None, APACHE, layout="sam", family="sam")
        for short, (word, size) in sizes.items()
    ]
    # Only the base model is published; SAM-Med2D trains its adapters on images of 256 pixels.
    adapters = {"adapter": True, "img_size": 256}
    medical = [
        replace(card, name=name, options=adapters) for name, card in (("sam-med2d", sam[0]), ("sam-med2d-h", sam[2]))
    ]
    return [*sam, *medical]


def _cellvit(cards: Mapping[str, EncoderCard]) -> list[EncoderCard]:
    """The encoders inside CellViT's checkpoints: trained on at 0.25 um/px, with mean and deviation 0.5 throughout."""
    inside = {
        "cellvit-256": ("hipt-vit256", f"Apache-2.0 with Commons Clause, {TRAINED_ON}"),
        **{f"cellvit-sam-{size}": (f"sam-{size}", f"{APACHE}, {TRAINED_ON}") for size in "blh"},
        "cellvit-uni": ("uni", f"{NON_COMMERCIAL}, {TRAINED_ON}"),
        "cellvit-virchow": ("virchow", f"{APACHE}, {TRAINED_ON}"),
        "cellvit-virchow2": ("virchow2", f"{NON_COMMERCIAL}, {TRAINED_ON}"),
    }
    mean, std = HALF
    made = []
    for name, (base, licence) in inside.items():
        card = cards[base]
        positions = "crop" if card.family == "sam" else "dino" if base == "hipt-vit256" else None
        options = {**card.options, "positions": positions} if positions else card.options
        made.append(
            replace(
                card, name=name, options=options, mean=mean, std=std, mpp=0.25, licence=licence, layout="cellvit"
            )
        )  # fmt: skip
    return made


VIRTUES = EncoderCard(
    "virtues", "virtues", "virtues", embed_dim=512, depth=16, heads=8, patch=8, mpp=1.0,
    licence="MIT (virtues-sp31) or CC BY-NC 4.0: see its model card", layout="virtues",
)  # fmt: skip


def _all() -> dict[str, EncoderCard]:
    cards = {card.name: card for card in [*_pathology(), *_dino(), *_dinov2(), *_segment_anything(), VIRTUES]}
    return cards | {card.name: card for card in _cellvit(cards)}


CARDS: Mapping[str, EncoderCard] = _all()
