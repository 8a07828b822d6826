"""Reading weights files of strangers: named tensors out of their containers, no code run."""

from __future__ import annotations

import argparse
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nucplan.errors import NucplanError

# Where published files keep the state dict: averaged weights before those that they are averages of, as timm takes
# them, and DINO's teacher before its student.
CONTAINERS = ("model_state_dict", "state_dict", "teacher", "model_ema", "ema", "model", "student")
SAFETENSORS, TORCH = "safetensors", "torch"
FORBIDDEN = re.compile(r"(?:GLOBAL|Unsupported class|Unsupported global:)\s+(?:GLOBAL\s+)?([\w.]+)")


@dataclass(frozen=True)
class WeightsFile:
    """What a weights file holds.

    Attributes
    ----------
    path
        Of the file.
    tensors
        Out of their containers, under the file's names, less what wraps all of them (``module.``).
    arch
        The class name that CellViT's files state; None elsewhere.
    config
        CellViT's settings under dotted names, with the names of its run; empty elsewhere.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    arch: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)


_kept: dict[Path, object] | None = None


@contextmanager
def reading_once() -> Iterator[None]:
    """Within it each weights file is read once, and stays in memory: several parts of a start look at the same one."""
    global _kept
    outermost = _kept is None
    _kept = {} if outermost else _kept
    try:
        yield
    finally:
        _kept = None if outermost else _kept


def read_content(file: Path) -> object:
    """What a ``.pth``, ``.pt``, ``.bin`` or ``.safetensors`` file holds, as it was saved; no code of the file is run.

    Raises
    ------
    NucplanError
        If the file is missing, unreadable or would run code.
    """
    if not file.is_file():
        raise NucplanError(f"The weights file {file} does not exist; check --weights.")
    if _kept is None:
        return _read(file)
    if file.resolve() not in _kept:
        _kept[file.resolve()] = _read(file)
    return _kept[file.resolve()]


def _read(file: Path) -> object:
    try:
        kind = _kind(file)
        return _read_safetensors(file) if kind == SAFETENSORS else _read_torch(file)
    except NucplanError:
        raise
    except Exception as error:
        # torch's unpickler meets damaged files with whatever its own look-ups raise.
        raise NucplanError(_refusal(file, error)) from None


def read_weights_file(file: Path) -> WeightsFile:
    """The tensors of a file, and what it says of itself.

    Raises
    ------
    NucplanError
        As `read_content`, and if it holds no named tensors.
    """
    content = read_content(file)
    outer = content if isinstance(content, dict) else {}
    while isinstance(content, dict) and (inner := next((c for c in CONTAINERS if _is_filled(content.get(c))), None)):
        content = content[inner]
    tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise NucplanError(f"{file} holds no named tensors; give a state dict.")
    arch, config = outer.get("arch"), outer.get("config")
    return WeightsFile(file, _unwrapped(tensors), arch if isinstance(arch, str) else None, _settings(outer, config))


def _unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefix that training on several GPUs, or a compiled model, puts before every name."""
    for prefix in ("module.", "_orig_mod."):
        if all(name.startswith(prefix) for name in tensors):
            return _unwrapped({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})
    return dict(tensors)


def _settings(outer: Mapping[str, Any], config: object) -> dict[str, Any]:
    # The name of the run stands beside the settings in CellViT's files.
    run = {key: outer[key] for key in ("run_name", "logdir") if isinstance(outer.get(key), str)}
    return run | (flattened(config) if isinstance(config, dict) else {})


def read_state_dict(file: Path) -> dict[str, Tensor]:
    """The tensors alone, see `read_weights_file`."""
    return dict(read_weights_file(file).tensors)


def refuse_broken_numbers(weights: WeightsFile, names: Iterable[str]) -> None:
    """Do nothing if these tensors hold finite numbers alone.

    Raises
    ------
    NucplanError
        If one does not; the message names it.
    """
    for name in names:
        tensor = weights.tensors[name]
        if not tensor.is_meta and not tensor.isfinite().all():
            raise NucplanError(f"{weights.path}: '{name}' has numbers that are not finite; download the file again.")


def flattened(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings under dotted names, as most of CellViT's files have them already."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _is_filled(value: object) -> bool:
    """Whether it holds tensors, or a container that does; an average may also be kept by its settings alone."""
    if not isinstance(value, dict):
        return False
    return any(isinstance(tensor, Tensor) for tensor in value.values()) or any(
        _is_filled(value.get(c)) for c in CONTAINERS
    )


def _kind(file: Path) -> str:
    """How to read a file, by its first bytes and not by its suffix.

    Raises
    ------
    NucplanError
        If it is in no format of weights, or holds a compiled model.
    """
    with open(file, "rb") as handle:
        start = handle.read(16)
    if start.startswith(b"PK"):
        _refuse_compiled(file)
        return TORCH
    # torch's format before 1.6: pickles one after the other.
    if start.startswith(b"\x80"):
        return TORCH
    # The length of the header in eight bytes, and the header, which is JSON.
    if start[8:9] == b"{":
        return SAFETENSORS
    raise NucplanError(
        f"{file} is not a readable weights file: it begins neither like one of torch nor like safetensors; download it "
        "again."
    )


def _refuse_compiled(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise NucplanError(
                f"{file} is not a readable weights file: it holds a compiled model (TorchScript), which is code; save "
                "its state dict alone (torch.save(torch.jit.load(...).state_dict(), ...))."
            )


def _read_torch(file: Path) -> object:
    # Training checkpoints keep their best score as a number of numpy and their options as a namespace (HIPT): values
    # that run no code.
    scalar = np.float64(0).__reduce__()[0]
    scalars = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    types = [argparse.Namespace, np.dtype, *(type(np.dtype(name)) for name in ("float64", "float32", "int64"))]
    # Opened here, as torch.load goes by the suffix of a path.
    guard = torch.serialization.safe_globals([*scalars, *types])
    with open(file, "rb") as handle, guard, warnings.catch_warnings():
        # Of the version of a pickle that it then refuses.
        warnings.simplefilter("ignore", UserWarning)
        return torch.load(handle, map_location="cpu", weights_only=True)


def _read_safetensors(file: Path) -> object:
    from safetensors.torch import load_file

    return load_file(file)


def _refusal(file: Path, error: Exception) -> str:
    forbidden = FORBIDDEN.search(str(error))
    if forbidden and "weights_only" in str(error):
        return (
            f"{file} is not a readable weights file: it would run '{forbidden[1]}' while it is read, which nucplan "
            "never does; save its state dict alone (torch.save(model.state_dict(), ...))."
        )
    if "weights_only" in str(error):
        return (
            f"{file} is not a readable weights file: it holds more than tensors and plain values; save its state dict "
            "alone (torch.save(model.state_dict(), ...))."
        )
    return f"{file} is not a readable weights file: it is damaged or cut off; download it again."
