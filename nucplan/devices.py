"""Where networks are computed."""

from __future__ import annotations

import os
import sys

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


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory(device: torch.device) -> dict[str, int | str]:
    """The most memory that was used so far: by tensors on a GPU, else by this process.

    Returns
    -------
    dict
        ``peak_memory_bytes``, and ``peak_memory_of``: "GPU" or "process". Empty where the system does not tell.
    """
    if device.type == "cuda":
        return {"peak_memory_bytes": torch.cuda.max_memory_allocated(device), "peak_memory_of": "GPU"}
    if os.name != "posix":
        return {}
    # Imported on use: it is there on POSIX alone.
    import resource

    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    highest = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"peak_memory_bytes": highest, "peak_memory_of": "process"}
