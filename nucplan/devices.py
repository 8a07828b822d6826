"""Where networks are computed."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

import torch

from nucplan.errors import NucplanError
from nucplan.gpu_lease import lease_gpu, visible_gpus


def device_type(name: str) -> str:
    """``auto``, ``cpu`` or ``cuda`` as what this machine has: ``cpu`` or ``cuda``.

    Raises
    ------
    NucplanError
        If ``cuda`` is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise NucplanError("--device cuda was asked for, but torch finds no CUDA GPU; use --device cpu.")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


def choose_device(name: str) -> torch.device:
    """``auto``, ``cpu`` or ``cuda`` as a device to compute on.

    Of several GPUs it is one that no other command has, for the life of this process; see `nucplan.gpu_lease`.

    Raises
    ------
    NucplanError
        If ``cuda`` is asked for and there is none.
    """
    kind = device_type(name)
    count = torch.cuda.device_count() if kind == "cuda" else 0
    # A scheduler hands out one GPU per job: then there is nothing to choose.
    if count < 2:
        return torch.device(kind)
    device = torch.device("cuda", _leased(visible_gpus(count)))
    torch.cuda.set_device(device)
    return device


@cache
def _leased(names: tuple[str, ...]) -> int:
    return lease_gpu(names)


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
    highest = _high_water() or unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"peak_memory_bytes": highest, "peak_memory_of": "process"}


def _high_water() -> int | None:
    """Bytes, where Linux tells; getrusage's figure begins with what the process that started this one held."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
