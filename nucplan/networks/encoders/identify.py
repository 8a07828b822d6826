"""What a weights file is, by its keys and shapes and never by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nucplan.networks.encoders.cards import CARDS, HALF, EncoderCard
from nucplan.networks.encoders.dialects import Dialect, dialect_of
from nucplan.networks.encoders.registry import build_encoder, find_card
from nucplan.networks.matching import Match, match
from nucplan.networks.weights_file import WeightsFile

BRANCHES = ("nuclei_binary_map_decoder.", "hv_map_decoder.", "nuclei_type_maps_decoder.")
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
    mean, std
        That the file itself states, per RGB channel; None where it says nothing.
    """

    kind: str
    cards: tuple[EncoderCard, ...] = ()
    alike: tuple[EncoderCard, ...] = ()
    nearest: EncoderCard | None = None
    matched: Match | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def architecture(card: EncoderCard) -> str:
    """What a card builds; two cards with the same differ in their weights alone."""
    return f"{card.family} {card.architecture} {sorted(card.options.items())}"


def identify(weights: WeightsFile) -> Identity:
    """Say what a file is.

    Of encoders with the same architecture those are preferred that were published with these names and a position
    table of this size; where that leaves several (UNI and others of its kind), all are given.
    """
    names = list(weights.tensors)
    kind = _kind(names)
    if kind == VIRTUES:
        return _virtues(weights.tensors, f"{kind} ({_virtues_dialect(names)})")
    if kind in (CELLVTA, CLASSIFIER):
        return Identity(kind)
    dialect = dialect_of(names)
    kind = kind or ("the encoder of SAM" if dialect.name.endswith("sam") else PLAIN_VIT)
    if kind == CELLVIT:
        kind = f"{kind} ({weights.arch or 'it does not say which class'}): encoder and three-branch decoder"
    colours = _statistics(weights) if kind.startswith(CELLVIT) else (None, None)
    trials = _trials(weights.tensors, dialect, kind.startswith(CELLVIT))
    fitting = [trial for trial in trials if trial.matched.complete]
    if not fitting:
        nearest = max(trials, key=lambda trial: len(trial.matched.used), default=None)
        if nearest is not None:
            return Identity(kind, (), (), nearest.card, nearest.matched, *colours)
        unknown = kind == PLAIN_VIT
        return Identity(_shape(weights.tensors, dialect) if unknown else kind, (), (), None, None, *colours)
    best = max(trial.score for trial in fitting)
    cards = tuple(trial.card for trial in fitting if trial.score == best)
    alike = tuple(trial.card for trial in fitting if trial.score != best)
    matched = next(trial.matched for trial in fitting if trial.score == best)
    return Identity(kind, cards, alike, None, matched, *colours)


def asked(weights: WeightsFile, name: str) -> Identity:
    """What a file is, with how it fits one encoder.

    Raises
    ------
    NucplanError
        If no encoder has the name.
    """
    card = find_card(name)
    with torch.device("meta"):
        encoder = build_encoder(name, 3)
    matched = match(encoder, weights.tensors)
    known = identify(weights)
    cards, nearest = ((card,), None) if matched.complete else ((), card)
    return Identity(known.kind, cards, (), nearest, matched, known.mean, known.std)


@dataclass(frozen=True)
class _Trial:
    """How a file fits one encoder; ``score``: whether the position table has its size, and the names its layout."""

    card: EncoderCard
    score: tuple[bool, bool]
    matched: Match


VIRTUES = "VirTues, an encoder of markers"
CELLVTA = "a whole CellVTA: an encoder with its adapter, and a decoder"
CELLVIT = "a whole CellViT"
SAM_MED2D = "the encoder of SAM-Med2D: SAM with adapters"
PLAIN_VIT = "a Vision Transformer"
CLASSIFIER = "a linear classifier of CellViT++, which comes on top of a CellViT"


def _kind(names: Sequence[str]) -> str:
    """The kinds that keys alone tell; empty for others."""
    text = "\n".join(names)
    if "patch_summary_token" in text:
        return VIRTUES
    if re.search(r"(^|\.)interactions\.\d+\.(injector|extractor)\.", text, re.MULTILINE):
        return CELLVTA
    if all(branch in text for branch in BRANCHES):
        return CELLVIT
    if re.search(r"blocks\.\d+\.Adapter\.", text):
        return SAM_MED2D
    if {name.rpartition(".")[0] for name in names} == {"fc1", "fc2"}:
        return CLASSIFIER
    return ""


def _virtues(tensors: Mapping[str, Tensor], kind: str) -> Identity:
    from nucplan.networks.encoders.virtues_keys import options_of

    # Any marker serves: the weights do not know the panel.
    with torch.device("meta"):
        encoder = build_encoder("virtues", 1, options={**options_of(tensors), "markers": ["P68431"]})
    matched = match(encoder, tensors)
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


def _statistics(weights: WeightsFile) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of a CellViT: 0.5 where its settings do not say otherwise, as published."""
    stated = (weights.config.get(f"transformations.normalize.{key}") or HALF[0] for key in ("mean", "std"))
    mean, std = (tuple(map(float, values)) for values in stated)
    return mean, std
