"""Encoders by name: what is known of each, and how it is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from nucplan.networks.encoders.base import Encoder

# Family -> the class that builds it: (name, in_channels, depth, frozen, layer_scale, taps, **options).
FAMILIES = {
    "timm": "nucplan.networks.encoders.timm_vit.TimmViT",
    "sam": "nucplan.networks.encoders.sam.SamViT",
    "virtues": "nucplan.networks.encoders.marker_vit.MarkerViT",
}


@dataclass(frozen=True)
class EncoderCard:
    """What is known of a named encoder.

    Attributes
    ----------
    name : as users give it
    family : key of `FAMILIES`
    architecture : the timm name, or the family's own
    options : what its architecture has other than the named one
    mean, std : per RGB channel of images in [0, 1], as it was pretrained; None where images come otherwise
    mpp : microns per pixel that it was pretrained at; None where it was on pictures of any scale
    licence : of the published weights
    """

    name: str
    family: str
    architecture: str
    options: Mapping[str, Any] = field(default_factory=dict)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    mpp: float | None = None
    licence: str = "unknown"


VIRTUES = EncoderCard(
    "virtues", "virtues", "virtues", mpp=1.0, licence="MIT (virtues-sp31) or CC BY-NC 4.0: see its model card"
)


def find_card(name: str) -> EncoderCard:
    """The card of an alias, or of any timm name.

    Raises
    ------
    NucplanError
        If neither knows the name; the message lists those that are like it.
    """
    if name == VIRTUES.name:
        return VIRTUES
    from nucplan.networks.encoders.timm_vit import input_statistics

    mean, std = input_statistics(name)
    return EncoderCard(name, "timm", name, mean=tuple(mean), std=tuple(std))


def build_encoder(
    name: str,
    in_channels: int,
    depth: int | None = None,
    frozen: bool = False,
    layer_scale: bool = False,
    taps: Sequence[int] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Encoder:
    """The encoder of a name, without weights; see `nucplan.networks.encoders.timm_vit.TimmViT` for the arguments.

    ``options`` are further arguments of its family, above those of its card.
    """
    card = find_card(name)
    module, _, class_name = FAMILIES[card.family].rpartition(".")
    build = getattr(import_module(module), class_name)
    return build(
        card.architecture, in_channels, depth, frozen, layer_scale, taps, **{**card.options, **(options or {})}
    )
