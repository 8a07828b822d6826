"""Encoders by name: how each is found and built."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from nucplan.errors import NucplanError
from nucplan.networks.encoders.base import Encoder
from nucplan.networks.encoders.cards import CARDS
from nucplan.networks.encoders.cards import EncoderCard as EncoderCard

# Family -> the class that builds it: (name, in_channels, depth, frozen, layer_scale, taps, **options).
FAMILIES = {
    "timm": "nucplan.networks.encoders.timm_vit.TimmViT",
    "sam": "nucplan.networks.encoders.sam.SamViT",
    "virtues": "nucplan.networks.encoders.marker_vit.MarkerViT",
}


def find_card(name: str) -> EncoderCard:
    """The card of an alias, or of any timm name.

    Raises
    ------
    NucplanError
        If neither knows the name; the message lists those that are like it.
    """
    if name in CARDS:
        return CARDS[name]
    from nucplan.networks.encoders.timm_vit import input_statistics, quietly_imported_timm

    if not quietly_imported_timm().is_model(name):
        raise NucplanError(_unknown(name))
    mean, std = input_statistics(name)
    family = "sam" if name.startswith("samvit_") else "timm"
    return EncoderCard(name, family, name, mean=tuple(mean), std=tuple(std))


def _unknown(name: str) -> str:
    import timm

    vits = timm.list_models("vit_*")
    # Names are long and share most letters: what is typed wrong is close, what is typed short is contained.
    like = difflib.get_close_matches(name.lower(), [*CARDS, *vits], 5, 0.6)
    like += [known for known in [*CARDS, *vits] if name.lower() in known and known not in like]
    shown = like[:6] or ["vit_small_patch16_224", "uni", "virchow2", "h0-mini", "dinov2-b", "sam-b"]
    return (
        f"No encoder is named '{name}'; did you mean {', '.join(shown)}? "
        "(docs/encoders.md lists nucplan's own names, timm.list_models('vit_*') timm's.)"
    )


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
    given = {**card.options, **(options or {})}
    own_depth = given.pop("depth", None)
    depth = own_depth if depth is None else depth
    return build(card.architecture, in_channels, depth, frozen, layer_scale, taps, **given)
