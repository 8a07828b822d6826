"""Checkpoints: written whole or not at all, read without running code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from nucplan.errors import NucplanError
from nucplan.files import atomic_path

# torch's writer reports a full disk as a RuntimeError of its stream.
STREAM_ERRORS = ("PytorchStreamWriter", "unexpected pos")


def save_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint beside ``path`` and rename it.

    Raises
    ------
    NucplanError
        If it cannot be written (a full disk); what stood at ``path`` before is still there.
    """
    try:
        # By its handle: torch writes the name of a file into it, and that of a temporary one holds the host's.
        with atomic_path(path) as temporary, open(temporary, "wb") as handle:
            torch.save(content, handle)
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(sign in str(error) for sign in STREAM_ERRORS):
            raise
        reason = getattr(error, "strerror", None) or "the disk may be full"
        raise NucplanError(
            f"The checkpoint {path} could not be written ({reason}); the one before it is kept: "
            "free some space and start the same command again."
        ) from error


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint with ``weights_only``: a file from a stranger can carry no code.

    Raises
    ------
    NucplanError
        If the file is missing, damaged, or holds anything but tensors and plain values.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise NucplanError(f"There is no checkpoint {path}; train this fold first with nucplan_train.") from None
    except Exception as error:
        # torch's unpickler meets damaged files with whatever its own look-ups raise.
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NucplanError(
            f"{path} is not a readable checkpoint ({first_line}); delete it or fetch it again."
        ) from error


def random_state() -> dict[str, Any]:
    """The state of torch's generators, for a checkpoint."""
    state = {"torch": torch.get_rng_state()}
    return state | {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else state


def restore_random_state(state: dict[str, Any]) -> None:
    """Go on drawing random numbers where ``state`` was taken."""
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


def plain_values(value: Any) -> Any:
    """numpy scalars as Python numbers: ``weights_only`` loading takes nothing else."""
    if isinstance(value, dict):
        return {key: plain_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
