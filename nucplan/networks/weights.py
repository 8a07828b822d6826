"""Pretrained encoder weights: every tensor of the file is used or listed, every parameter of the encoder is filled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nucplan.errors import NucplanError
from nucplan.networks.encoders.base import Encoder

# Where published files keep the state dict, outermost first.
CONTAINERS = ("model_state_dict", "state_dict", "teacher", "model")
PREFIXES = ("module.", "backbone.", "encoder.", "image_encoder.", "vit.", "model.", "visual.trunk.")


def load_encoder_weights(encoder: Encoder, file: Path) -> str:
    """Fill ``encoder`` from a ``.pth``, ``.pt``, ``.bin`` or ``.safetensors`` file.

    Prefixes such as ``module.`` or ``backbone.`` are taken off, a position table of another grid is resampled
    (bicubic, as timm does). The names inside must be timm's, which DINO's and UNI's files share.

    Returns
    -------
    str
        What was loaded and which tensors of the file were not used.

    Raises
    ------
    NucplanError
        If the file is unreadable, nothing in it fits, a parameter stays empty, a shape differs, or the file's blocks
        have tensors that the encoder's have not.
    """
    wanted = encoder.body.state_dict()
    found = encoder.converted(_strip_prefixes(read_state_dict(file), set(wanted)))
    used = {name: tensor for name, tensor in found.items() if name in wanted}
    unused = sorted(set(found) - set(used))
    if not used:
        raise NucplanError(
            f"Nothing in {file} fits the encoder (its first tensors are {', '.join(unused[:3])}); check --encoder."
        )
    foreign = [name for name in unused if name.startswith("blocks.")]
    if foreign:
        raise NucplanError(
            f"{file} has block tensors that the encoder has not ({', '.join(foreign[:3])}), so its features would be "
            "others than those that were trained; check --encoder."
        )
    missing = sorted(set(wanted) - set(used))
    if missing:
        raise NucplanError(
            f"{file} lacks {len(missing)} of the encoder's {len(wanted)} tensors ({', '.join(missing[:3])} ...); "
            "check --encoder."
        )
    for name, tensor in used.items():
        if tensor.shape != wanted[name].shape:
            raise NucplanError(
                f"{file}: '{name}' has the shape {tuple(tensor.shape)}, the encoder needs {tuple(wanted[name].shape)}; "
                "check --encoder."
            )
    encoder.body.load_state_dict(used)
    rest = f"not used: {', '.join(unused)}" if unused else "every tensor of the file is used"
    return f"Loaded {len(used)} tensors of {file.name} into the encoder; {rest}."


def has_layer_scale(file: Path) -> bool:
    """Whether the blocks of a weights file scale their residuals (LayerScale, Touvron et al. 2021)."""
    return any(name.endswith("ls1.gamma") for name in read_state_dict(file))


def read_state_dict(file: Path) -> dict[str, Tensor]:
    """The named tensors of a weights file, out of whatever they are wrapped in; no code of the file is run.

    Raises
    ------
    NucplanError
        If the file is missing, unreadable, or holds no named tensors.
    """
    content = read_content(file)
    while isinstance(content, dict) and (
        inner := next((c for c in CONTAINERS if isinstance(content.get(c), dict)), None)
    ):
        content = content[inner]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise NucplanError(f"{file} holds no named tensors; give the encoder's state dict.")
    return tensors


def read_content(file: Path) -> object:
    """What a weights file holds, as it was saved; no code of the file is run.

    Raises
    ------
    NucplanError
        If the file is missing or unreadable.
    """
    if not file.is_file():
        raise NucplanError(f"The weights file {file} does not exist; check --weights.")
    try:
        return _read_safetensors(file) if file.suffix == ".safetensors" else _read_torch(file)
    except Exception as error:
        # torch's unpickler meets damaged files with whatever its own look-ups raise.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NucplanError(f"{file} is not a readable weights file ({reason}); download it again.") from None


def _read_torch(file: Path) -> object:
    # Training checkpoints keep their best score as a number of numpy, which is nothing that could run code.
    scalar = np.float64(0).__reduce__()[0]
    scalars = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    types = [np.dtype, *(type(np.dtype(name)) for name in ("float64", "float32", "int64"))]
    with torch.serialization.safe_globals([*scalars, *types]):
        return torch.load(file, map_location="cpu", weights_only=True)


def _read_safetensors(file: Path) -> object:
    from safetensors.torch import load_file

    return load_file(file)


def _strip_prefixes(tensors: dict[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """Take prefixes off for as long as that makes more names fit."""
    fitting = len(wanted & set(tensors))
    for prefix in PREFIXES:
        stripped = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        if len(wanted & set(stripped)) > fitting:
            return _strip_prefixes(stripped, wanted)
    # Two prefixes on top of each other fit nothing until both are off.
    for prefix in PREFIXES:
        if fitting == 0 and any(name.startswith(prefix) for name in tensors):
            return _strip_prefixes({name.removeprefix(prefix): tensor for name, tensor in tensors.items()}, wanted)
    return tensors
