"""What a training starts from: the weights that its plan names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nucplan.networks.nucleus_net import NucleusNet
from nucplan.networks.weights import load_encoder_weights


def load_weights(network: NucleusNet, weights: Mapping[str, Any], class_names: Sequence[str]) -> list[str]:
    """Fill the encoder from the plan's weights file, and the decoder where the plan says so.

    Parameters
    ----------
    network
        Built by the plan.
    weights
        The plan's ``weights``: the ``file``, and whether its ``decoder`` is wanted.
    class_names
        Of the dataset, without background.

    Returns
    -------
    list of str
        For each part what was loaded, and what of the file was not.

    Raises
    ------
    NucplanError
        If the file does not fit.
    """
    file = Path(weights["file"])
    reports = [load_encoder_weights(network.encoder.plain, file)]
    if weights.get("decoder"):
        from nucplan.networks.cellvit.start import load_cellvit_decoder

        reports.append(load_cellvit_decoder(network, file, class_names))
    return reports
