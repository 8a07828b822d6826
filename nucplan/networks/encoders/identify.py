"""What a weights file is, by its keys and shapes and never by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from nucplan.errors import NucplanError
from nucplan.networks.cellvit.foreign import other_network
from nucplan.networks.encoders.base import CELLVIT_DECODER
from nucplan.networks.encoders.cards import CARDS, EncoderCard
from nucplan.networks.encoders.dialects import Dialect, dialect_of
from nucplan.networks.encoders.registry import build_encoder, find_card
from nucplan.networks.encoders.virtues_keys import ANCHOR
from nucplan.networks.matching import Match, match
from nucplan.networks.weights_file import WeightsFile

VIRTUES = "VirTues, an encoder of markers"
CELLVIT = "a whole CellViT"
SAM_MED2D = "the encoder of SAM-Med2D: SAM with adapters"
PLAIN_VIT = "a Vision Transformer"
# Plain ViTs of timm by width and depth.
PLAIN = {(192, 12): "tiny", (384, 12): "small", (768, 12): "base", (1024, 24): "large", (1280, 32): "huge"}


@dataclass(frozen=True)
class Identity:
    """What a file is.

    Attributes
    ----------
    kind
        In words: ``the encoder of SAM``, ``a whole CellViT`` ...
    cards
        Encoders that the file fills without a rest, in whose published layout it comes.
    alike
        Further ones of the same architecture.
    nearest
        The encoder that it comes closest to where it fills none.
    matched
        How it fits the first of ``cards``, or ``nearest``; None where there is neither.
    whole
        How a whole CellViT fits its model, decoder and all; None for other files.
    fault
        One sentence: why the file cannot be used as what it is; None where it can.
    stated
        What the file states of itself: attributes of `EncoderCard`, which go above those of any card.
    """

    kind: str
    cards: tuple[EncoderCard, ...] = ()
    alike: tuple[EncoderCard, ...] = ()
    nearest: EncoderCard | None = None
    matched: Match | None = None
    whole: Match | None = None
    fault: str | None = None
    stated: Mapping[str, Any] = field(default_factory=dict)


def architecture(card: EncoderCard) -> str:
    """What a card builds; two cards with the same differ in their weights alone."""
    return f"{card.family} {card.architecture} {sorted(card.options.items())}"


def identify(weights: WeightsFile) -> Identity:
    """Say what a file is.

    Of encoders with the same architecture those are preferred that were published with these names and a position
    table of this size; where that leaves several (UNI and others of its kind), all are given.
    """
    names = list(weights.tensors)
    if any(name.endswith(ANCHOR) for name in names):
        return _virtues(weights, f"{VIRTUES} ({_virtues_dialect(names)})")
    if other := other_network(set(names), weights.arch):
        return Identity(other)
    dialect = dialect_of(names)
    if any(name.startswith(CELLVIT_DECODER) for name in names):
        return _cellvit(weights, dialect)
    kind = "the encoder of SAM" if dialect.name.endswith("sam") else PLAIN_VIT
    return _by_trial(weights.tensors, dialect, SAM_MED2D if _has_adapters(names) else kind)


def _cellvit(weights: WeightsFile, dialect: Dialect) -> Identity:
    """A whole CellViT: its encoder as any other, and the comparison by which it is loaded to predict."""
    from nucplan.networks.cellvit.checkpoint import cellvit_shape, colours, compared, info_of, unfit

    title = f"{CELLVIT} ({weights.arch or 'it does not say which class'}): encoder and three-branch decoder"
    found = _by_trial(weights.tensors, dialect, title)
    stated = dict(zip(("mean", "std"), colours(weights), strict=True))
    try:
        shape = cellvit_shape(weights)
    except NucplanError as error:
        return replace(found, stated=stated, fault=str(error))
    info = info_of(weights, shape)
    stated |= {"mpp": info.mpp, "licence": info.licence}
    _, whole = compared(weights, shape, info)
    fault = None if whole.complete else unfit(weights, whole)
    cards = tuple(replace(card, **stated) for card in found.cards)
    return replace(found, cards=cards, whole=whole, fault=fault, stated=stated)


def _by_trial(tensors: Mapping[str, Tensor], dialect: Dialect, kind: str) -> Identity:
    """The encoders that a file fills, or the one that it comes nearest to."""
    trials = _trials(tensors, dialect, kind.startswith(CELLVIT))
    fitting = [trial for trial in trials if trial.matched.complete]
    if fitting:
        best = max(trial.score for trial in fitting)
        chosen = [trial for trial in fitting if trial.score == best]
        alike = tuple(trial.card for trial in fitting if trial.score != best)
        return Identity(kind, tuple(trial.card for trial in chosen), alike, matched=chosen[0].matched)
    if not trials:
        return Identity(_shape(tensors, dialect) if kind == PLAIN_VIT else kind)
    nearest = max(trials, key=lambda trial: len(trial.matched.used))
    return Identity(kind, nearest=nearest.card, matched=nearest.matched)


def asked(weights: WeightsFile, name: str) -> Identity:
    """What a file is, with how it fits one encoder.

    Raises
    ------
    NucplanError
        If no encoder has the name.
    """
    known = identify(weights)
    card = replace(find_card(name), **known.stated)
    same = any(other and other.name == name for other in (*known.cards[:1], known.nearest))
    if same:
        matched = known.matched
    elif card.family == "virtues":
        # Its sizes are those of a file of its own.
        return replace(known, cards=(), alike=(), nearest=card, matched=None)
    else:
        with torch.device("meta"):
            matched = match(build_encoder(name, 3), weights.tensors)
    fits = matched is not None and matched.complete
    cards, nearest = ((card,), None) if fits else ((), card)
    return replace(known, cards=cards, alike=(), nearest=nearest, matched=matched)


@dataclass(frozen=True)
class _Trial:
    """How a file fits one encoder; ``score``: whether the position table has its size, and the names its layout."""

    card: EncoderCard
    score: tuple[bool, bool]
    matched: Match


def _has_adapters(names: Sequence[str]) -> bool:
    return any(re.search(r"blocks\.\d+\.Adapter\.", name) for name in names)


def _virtues(weights: WeightsFile, kind: str) -> Identity:
    from nucplan.networks.encoders.virtues_keys import options_of

    tensors = weights.tensors
    try:
        # Any marker serves: the weights do not know the panel.
        with torch.device("meta"):
            encoder = build_encoder("virtues", 1, options={**options_of(tensors), "markers": ["P68431"]})
        matched = match(encoder, tensors)
    except NucplanError as error:
        return Identity(kind, nearest=CARDS["virtues"], fault=f"{weights.path}: {error}")
    if matched.complete:
        return Identity(kind, (CARDS["virtues"],), matched=matched)
    return Identity(kind, nearest=CARDS["virtues"], matched=matched)


def _virtues_dialect(names: Sequence[str]) -> str:
    text = "\n".join(names)
    if "multiplex_patch_encoder" in text:
        return "the names of its variant for H&E as well"
    return "the names of the release" if "prior_embedding_encoder" in text else "the names of the preprint"


def _trials(tensors: Mapping[str, Tensor], dialect: Dialect, whole_cellvit: bool) -> list[_Trial]:
    """The file tried on every encoder of its width, depth and patch."""
    trials = []
    for card in _candidates(tensors, dialect):
        if (card.layout == "cellvit") != whole_cellvit and card.name in CARDS:
            continue
        with torch.device("meta"):
            encoder = build_encoder(card.name, 3, options=card.options)
        own_table = encoder.body.get_parameter("pos_embed")
        score = (_table_size(tensors, dialect, own_table) == own_table.numel(), _speaks(card, dialect))
        trials.append(_Trial(card, score, match(encoder, tensors)))
    return trials


def _table_size(tensors: Mapping[str, Tensor], dialect: Dialect, own: Tensor) -> int:
    """Numbers in the file's position table, less the class token's where that goes elsewhere."""
    table = tensors.get(dialect.sources("pos_embed")[0])
    size = 0 if table is None else table.numel()
    folded = dialect.sources("reg_token")[0].endswith("register_tokens") and dialect.sources("reg_token")[0] in tensors
    return size - folded * own.shape[-1]


def _speaks(card: EncoderCard, dialect: Dialect) -> bool:
    """Whether the card's published file has names of this dialect."""
    return card.layout == "cellvit" or card.layout == dialect.name.split()[0].replace("hf-sam", "sam")


def _measures(tensors: Mapping[str, Tensor], dialect: Dialect) -> dict[str, int]:
    """Width, patch and depth, as far as the file shows them."""
    patches = tensors.get(dialect.sources("patch_embed.proj.weight")[0])
    if patches is None or patches.ndim != 4:
        return {}
    depth = 0
    while any(part in tensors for part in dialect.sources(f"blocks.{depth}.norm1.weight")):
        depth += 1
    return {"width": len(patches), "patch": patches.shape[-1], "depth": depth}


def _candidates(tensors: Mapping[str, Tensor], dialect: Dialect) -> list[EncoderCard]:
    measures = _measures(tensors, dialect)
    if not measures:
        return []
    size = measures["width"], measures["depth"], measures["patch"]
    cards = [card for card in CARDS.values() if (card.embed_dim, card.depth, card.patch) == size]
    if cards:
        return cards
    from nucplan.networks.encoders.timm_vit import quietly_imported_timm

    name = f"vit_{PLAIN.get((size[0], size[1]))}_patch{size[2]}_224"
    if not quietly_imported_timm().is_model(name):
        return []
    scaled = dialect.sources("blocks.0.ls1.gamma")[0] in tensors
    return [replace(find_card(name), options={"init_values": 1e-5} if scaled else {})]


def _shape(tensors: Mapping[str, Tensor], dialect: Dialect) -> str:
    measures = _measures(tensors, dialect)
    if not measures:
        return "nothing that nucplan knows"
    return "an unknown ViT of width {width}, {depth} blocks and patch {patch}".format(**measures)
