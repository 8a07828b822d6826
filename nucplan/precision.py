"""In which number format networks compute."""

from __future__ import annotations

import torch


def mixed_precision(device: torch.device) -> torch.autocast:
    """The context in which forward passes run on this device, in training and in prediction.

    On a GPU float16 and float32 as torch mixes them, as in nnU-Net. On a processor bfloat16 and float32 where it
    multiplies matrices of bfloat16 (Intel's AMX), which takes about six tenths of the time; float32 everywhere else,
    where bfloat16 is slower or was not measured. Weights, losses and logits are float32 in all of them.
    """
    if device.type == "cpu":
        return torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16_matrices())
    return torch.autocast(device.type, enabled=device.type == "cuda")


def precision_name(device: torch.device) -> str:
    """What `mixed_precision` mixes float32 with there, ``float32`` where with nothing."""
    if device.type == "cuda":
        return "float16"
    return "bfloat16" if device.type == "cpu" and has_bfloat16_matrices() else "float32"


def has_bfloat16_matrices() -> bool:
    """Whether this processor and this torch multiply matrices of bfloat16."""
    # An older torch does not tell.
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16", False))
