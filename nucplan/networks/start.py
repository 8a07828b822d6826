"""What a training starts from: the weights that its plan names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nucplan.errors import NucplanError
from nucplan.files import hash_of_large_file
from nucplan.networks.nucleus_net import NucleusNet
from nucplan.networks.weights import load_encoder_weights
from nucplan.networks.weights_file import reading_once


def load_weights(network: NucleusNet, weights: Mapping[str, Any], class_names: Sequence[str]) -> list[str]:
    """Fill the encoder from the plan's weights file, and the decoder where the plan says so.

    Parameters
    ----------
    network
        Built by the plan.
    weights
        The plan's ``weights``: the ``file``, its ``sha256``, and whether its ``decoder`` is wanted.
    class_names
        Of the dataset, without background.

    Returns
    -------
    list of str
        For each part what was loaded, and what of the file was not.

    Raises
    ------
    NucplanError
        If the file is missing, is another one than was planned with, or does not fit.
    """
    file = Path(weights["file"])
    _refuse_other_file(file, weights.get("sha256"))
    with reading_once():
        reports = [load_encoder_weights(network.encoder.plain, file)]
        if weights.get("decoder"):
            from nucplan.networks.cellvit.start import load_cellvit_decoder

            reports.append(load_cellvit_decoder(network, file, class_names))
    return reports


def _refuse_other_file(file: Path, planned: str | None) -> None:
    """All folds of an ensemble start from the same weights."""
    if not file.is_file():
        raise NucplanError(
            f"The weights file {file}, from which the plan starts, is not there; put it back, or give it at its new "
            "place with --weights, when planning where the dataset was planned with it."
        )
    found = hash_of_large_file(file)
    if planned is not None and found != planned:
        raise NucplanError(
            f"{file} is not the file that the plan was made with (its SHA-256 begins with {found[:8]}, that one's with "
            f"{planned[:8]}); put that one back, or plan anew with this one and train under another --root."
        )
