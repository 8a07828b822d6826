"""What a run was computed with, as far as results may depend on it; nothing that tells whose machine it was."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nucplan import __version__
from nucplan.reproduction.hashes import source_hash

LIBRARIES = ("torch", "numpy", "nnunetv2", "timm", "scipy", "scikit-image", "opencv-python-headless")


def code() -> dict[str, str]:
    """nucplan's version, and a hash of its source: the version stays while the code is worked on."""
    return {"version": __version__, "source": source_hash()}


def environment(device_name: str) -> dict[str, Any]:
    """Versions of libraries, processor, threads, GPU (None on a CPU) and number format of a device."""
    import torch

    from nucplan.devices import device_type, usable_cores
    from nucplan.precision import precision_name

    # Looked at, not taken: the commands that compute lease it.
    device = torch.device(device_type(device_name))
    on_gpu = device.type == "cuda"
    return {
        "device": device.type,
        "python": platform.python_version(),
        **{name: _version(name) for name in LIBRARIES},
        # Not platform.platform(): the names of kernels may tell whose they are.
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _processor(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if on_gpu else None,
        "cuda": torch.version.cuda if on_gpu else None,
        "precision": precision_name(device),
    }


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """The model, where the system tells it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())
