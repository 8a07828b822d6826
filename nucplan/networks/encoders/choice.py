"""Which encoder a weights file is for, and the colours that it expects, where the user does not say all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from nucplan.errors import NucplanError
from nucplan.networks.encoders.cards import CARDS, IMAGENET, EncoderCard
from nucplan.networks.encoders.identify import Identity, architecture, identify
from nucplan.networks.encoders.registry import build_encoder, find_card
from nucplan.networks.weights_file import WeightsFile


@dataclass(frozen=True)
class EncoderChoice:
    """What a plan needs to know of pretrained weights.

    Attributes
    ----------
    encoder
        Its name.
    layer_scale
        Whether blocks scale their residuals, where the name leaves that to the file.
    mean, std
        Per RGB channel of images in [0, 1]; None for an encoder of other images.
    licence
        Of the weights, of all that the file may be.
    note
        What was assumed; None where nothing was.
    """

    encoder: str
    layer_scale: bool
    mean: Sequence[float] | None
    std: Sequence[float] | None
    licence: str
    note: str | None = None


def choose_encoder(weights: WeightsFile, asked: str | None, planned: str) -> EncoderChoice:
    """The encoder of a weights file: the one asked for, else the planned one if it has the same architecture, else the
    one that the file identifies.

    Raises
    ------
    NucplanError
        If no encoder has the name, or the file fits several of different architectures.
    """
    identity = identify(weights)
    name = asked or _from_file(weights, identity, planned)
    card = find_card(name)
    scaled = any(key.endswith(("ls1.gamma", "layer_scale1.lambda1")) for key in weights.tensors)
    mean, std, note = _statistics(card, identity, asked is not None, scaled)
    candidates = [card] if card.name in CARDS and asked else identity.cards or [card]
    licence = identity.stated.get("licence") or "; ".join(dict.fromkeys(candidate.licence for candidate in candidates))
    return EncoderChoice(name, scaled and card.name not in CARDS, mean, std, licence, note)


def _from_file(weights: WeightsFile, identity: Identity, planned: str) -> str:
    if not identity.cards or architecture(find_card(planned)) in map(_unscaled, identity.cards):
        return planned
    if len({architecture(card) for card in identity.cards}) > 1:
        names = " or ".join(card.name for card in identity.cards)
        raise NucplanError(
            f"{weights.path} fits encoders of different architectures; say which with --encoder {names}."
        )
    return identity.cards[0].name


def _unscaled(card: EncoderCard) -> str:
    """Its architecture; what has no name but timm's takes LayerScale as the file has it."""
    return architecture(card if card.name in CARDS else replace(card, options={}))


def _statistics(
    card: EncoderCard, identity: Identity, asked: bool, scaled: bool
) -> tuple[Sequence[float] | None, Sequence[float] | None, str | None]:
    """Mean, deviation and what was assumed about them."""
    if "mean" in identity.stated:
        return identity.stated["mean"], identity.stated["std"], None
    if asked and (card.name in CARDS or "." in card.name):
        return card.mean, card.std, None
    candidates = _candidates(card, identity, asked, scaled)
    if len({(other.mean, other.std) for other in candidates}) == 1:
        return candidates[0].mean, candidates[0].std, None
    # Encoders with LayerScale are trained in DINOv2's way, which goes with ImageNet's colours.
    mean, std = (card.mean, card.std) if asked or not (scaled or card.mean is None) else IMAGENET
    others = ", ".join(other.name for other in candidates if (other.mean, other.std) != (mean, std))
    doubt = f" ({others} has others)" if others else ""
    return (
        mean,
        std,
        (f"Mean {mean} and deviation {std} of the colours are assumed{doubt}; --encoder with a name settles them."),
    )


def _candidates(card: EncoderCard, identity: Identity, asked: bool, scaled: bool) -> list[EncoderCard]:
    """The encoders that weights may be of; a timm name without its tag names an architecture, with usual weights."""
    known = [other for other in (*identity.cards, *identity.alike) if other.name in CARDS]
    # Weights with LayerScale are none of the usual ones of a model without it.
    usual = asked and not (scaled and not _has_layer_scale(card))
    return [card, *known] if usual else known


def _has_layer_scale(card: EncoderCard) -> bool:
    with torch.device("meta"):
        return any(name.endswith(".ls1.gamma") for name in build_encoder(card.name, 3).body.state_dict())
