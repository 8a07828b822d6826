"""Where networks are computed."""

from __future__ import annotations

import torch

from nucplan.errors import NucplanError


def choose_device(name: str) -> torch.device:
    """``auto``, ``cpu`` or ``cuda`` as a device.

    Raises
    ------
    NucplanError
        If ``cuda`` is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise NucplanError("--device cuda was asked for, but torch finds no CUDA GPU; use --device cpu.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
