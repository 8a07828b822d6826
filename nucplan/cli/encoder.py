"""``nucplan_encoder``: what a weights file is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nucplan.cli.common import parser, run
from nucplan.errors import NucplanError

if TYPE_CHECKING:
    from nucplan.networks.encoders.cards import EncoderCard
    from nucplan.networks.encoders.identify import Identity
    from nucplan.networks.matching import Match
    from nucplan.networks.weights_file import WeightsFile

_DESCRIPTION = """\
Say what a weights file is, by its keys and shapes and never by its name: which encoders it fills, which of its tensors
match, which are missing or left over, what images it expects, and its licence. Nothing is downloaded, no code of the
file is run. The exit code is 2 where it fills no encoder, or not the one asked for."""

_EXAMPLES = """\
  nucplan_encoder check uni.bin
  nucplan_encoder check hf-hub:MahmoodLab/UNI
  nucplan_encoder check sam_vit_b.pth --encoder sam-b"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    made = parser("nucplan_encoder", _DESCRIPTION, _EXAMPLES, root=False)
    made.add_argument("action", choices=("check",), help="what to do")
    made.add_argument("weights", metavar="WEIGHTS", help="a file, or hf-hub:OWNER/NAME in the local cache")
    made.add_argument("--encoder", metavar="NAME", help="say how it fits this encoder (default: those that it fits)")
    return run(_check, made, argv)


def _check(arguments: argparse.Namespace) -> None:
    from nucplan.networks.encoders.identify import asked, identify
    from nucplan.networks.encoders.source import resolve_weights
    from nucplan.networks.weights import refusal
    from nucplan.networks.weights_file import read_weights_file, refuse_broken_numbers

    weights = read_weights_file(resolve_weights(arguments.weights))
    identity = identify(weights) if arguments.encoder is None else asked(weights, arguments.encoder)
    rows = _rows(weights, identity)
    width = max(len(title) for title, _ in rows)
    for title, text in rows:
        print(f"{title:<{width}}  {text}")
    if identity.matched is not None:
        refuse_broken_numbers(weights, identity.matched.parts)
    if identity.fault is not None:
        raise NucplanError(identity.fault)
    if not identity.cards:
        if identity.matched is not None:
            raise NucplanError(refusal(identity.matched, weights))
        raise NucplanError(f"{weights.path} is {identity.kind}, and fills no encoder; give an encoder's state dict.")


def _rows(weights: WeightsFile, identity: Identity) -> list[tuple[str, str]]:
    rows = [("file", str(weights.path)), ("kind", identity.kind)]
    if identity.cards:
        rows.append(("encoder", _names(identity.cards, " or ")))
    if identity.alike:
        rows.append(("alike", f"{_names(identity.alike, ', ')} (the same tensors, other weights)"))
    if identity.nearest is not None:
        rows.append(("nearest", identity.nearest.name))
    rows += [("tensors", str(len(weights.tensors)))] if identity.matched is None else _match_rows(identity.matched)
    rows += [] if identity.whole is None else _match_rows(identity.whole, "of the whole: ")
    rows += _positions(weights, identity)
    for card in identity.cards:
        title = "contract" if len(identity.cards) == 1 else f"contract of {card.name}"
        rows.append((title, _contract(card)))
    for card in identity.cards:
        rows.append(("licence" if len(identity.cards) == 1 else f"licence of {card.name}", card.licence))
    return rows


def _names(cards: Sequence[EncoderCard], separator: str) -> str:
    return separator.join(card.name for card in cards)


def _positions(weights: WeightsFile, identity: Identity) -> list[tuple[str, str]]:
    """Of an encoder of markers, which has them where its file has tables."""
    from nucplan.networks.encoders.identify import VIRTUES
    from nucplan.networks.encoders.virtues_keys import positions_said

    if not identity.kind.startswith(VIRTUES):
        return []
    try:
        return [("positions", positions_said(weights.tensors))]
    except NucplanError:
        # Why they cannot be told is the fault of the file, which is told last.
        return []


def _match_rows(matched: Match, whose: str = "") -> list[tuple[str, str]]:
    listed = [
        ("matched", len(matched.used), ()),
        ("missing", len(matched.missing), matched.missing),
        ("other shape", len(matched.misshapen), tuple(matched.misshapen)),
        ("left over", len(matched.left_over), matched.left_over),
        ("beside it", len(matched.dispensable), matched.dispensable),
    ]
    # What is empty as a rule needs no row; a whole model has nothing beside it.
    quiet = ("other shape", "beside it") if whose else ("other shape",)
    return [(whose + title, _counted(count, names)) for title, count, names in listed if count or title not in quiet]


def _counted(count: int, names: Sequence[str]) -> str:
    from nucplan.networks.matching import summarised

    return f"{count}: {summarised(names)}" if names else str(count)


def _contract(card: EncoderCard) -> str:
    mean, std = card.mean, card.std
    scale = "any um/px" if card.mpp is None else f"{card.mpp:g} um/px"
    if mean is None:
        return (
            f"patch {card.patch}, tiles of at least 128 px at {scale}; each marker clipped at q99 -> log1p -> "
            "z-score over the cohort -> blur (3 x 3, sigma 1); channels by the UniProt ids of their markers"
        )
    patch = "" if card.patch is None else f"patch {card.patch}, "
    statistics = f"mean {_numbers(mean)}, std {_numbers(std)}"
    return f"{patch}{scale}, RGB in [0, 1] with {statistics}"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
