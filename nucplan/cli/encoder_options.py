"""The options of a pretrained encoder, for the commands that plan."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nucplan.errors import NucplanError

if TYPE_CHECKING:
    from planners.pretrained import EncoderRequest


def add_encoder(parser: argparse.ArgumentParser) -> None:
    """Add ``--encoder``, ``--weights`` and what belongs to them."""
    parser.add_argument("--encoder", metavar="NAME", help="plan for this pretrained encoder, with --weights")
    parser.add_argument(
        "--weights", metavar="FILE", help="its weights, or hf-hub:OWNER/NAME in the local cache; frozen in training"
    )
    parser.add_argument(
        "--marker-embeddings",
        type=Path,
        metavar="PATH",
        help="for --encoder virtues: folder of UNIPROT.pt files, or an .npz of them",
    )
    parser.add_argument(
        "--marker-table",
        type=Path,
        metavar="FILE",
        help="CSV with name, uniprot, role, aliases: your markers, above those that nucplan knows",
    )
    parser.add_argument(
        "--break-contract",
        action="store_true",
        help="plan even where the encoder would see other images than it was trained on; the plan records it",
    )


def requested_encoder(arguments: argparse.Namespace) -> EncoderRequest | None:
    """What a user asks for; None without ``--encoder``.

    Raises
    ------
    NucplanError
        If the options do not go together, or the weights file is not there.
    """
    given = {
        "--marker-embeddings": arguments.marker_embeddings,
        "--marker-table": arguments.marker_table,
        "--break-contract": arguments.break_contract,
    }
    if (arguments.encoder is None) != (arguments.weights is None):
        missing = "--weights" if arguments.weights is None else "--encoder"
        raise NucplanError(f"--encoder and --weights go together when planning; {missing} is missing.")
    if arguments.encoder is None:
        for option, value in given.items():
            if value:
                raise NucplanError(f"{option} is about a pretrained encoder; give --encoder and --weights as well.")
        return None
    from nucplan.networks.encoders.source import resolve_weights
    from planners.pretrained import EncoderRequest

    return EncoderRequest(arguments.encoder, resolve_weights(arguments.weights), *given.values())
