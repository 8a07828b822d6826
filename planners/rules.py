"""One pure function per decision: statistics of the dataset and limits of the machine in, value and reason out.

A rule reads the fingerprint, the limits and decisions taken before it, nothing else; ``planner.decide`` calls them
in order. Lengths are pixels, "planned" ones at the scale that the network sees.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nucplan.instances import DecoderPlan
from planners.fingerprint import Fingerprint

PATCH_MULTIPLE = 32  # the coarsest decoder stride times two; also a multiple of a ViT stride of 8 or 16
NORMALIZATIONS = ("ZScoreNormalization", "NoNormalization", "RescaleTo01Normalization", "RGBTo01Normalization")
SMALLEST_PATCH, LARGEST_PATCH = 96, 512
CPU_PATCH, CPU_BATCH = 128, 4  # a step of 4 x 128 x 128 pixels takes well under a second on two cores
LARGEST_BATCH = 16
# Float16 activations kept for the backward pass: about 16 maps of the widest GPU features at each stride, plus the ViT.
BYTES_PER_TRAINING_PIXEL = 4096
USABLE_MEMORY = 0.6  # the rest is for weights, the optimiser, the CUDA context and fragmentation


@dataclass(frozen=True)
class Decision:
    """A value of the plan, the reason in one sentence, and the numbers it was drawn from."""

    value: Any
    because: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    overridden: bool = False

    def to_json(self) -> dict[str, Any]:
        """``{"value", "because", "from"}``, and ``"overridden": true`` where a user set the value."""
        content = {"value": self.value, "because": self.because, "from": dict(self.inputs)}
        return content | {"overridden": True} if self.overridden else content


@dataclass(frozen=True)
class Limits:
    """What the plan may use: ``device`` is "cpu" or "cuda", ``memory_gib`` the memory of that device in GiB."""

    device: str
    memory_gib: float

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda"

    @property
    def training_pixels(self) -> int:
        """Pixels of one batch, all images together, whose activations fit."""
        if not self.on_gpu:
            return CPU_BATCH * CPU_PATCH**2
        return int(USABLE_MEMORY * self.memory_gib * 2**30 / BYTES_PER_TRAINING_PIXEL)

    @classmethod
    def detect(cls, device: str = "auto") -> Limits:
        """Limits of this machine; ``auto`` takes the GPU where there is one.

        Raises
        ------
        NucplanError
            If ``cuda`` is asked for and there is none.
        """
        import torch

        from nucplan.devices import choose_device

        if choose_device(device).type == "cuda":
            return cls("cuda", torch.cuda.get_device_properties(0).total_memory / 2**30)
        return cls("cpu", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def scale(statistics: Fingerprint) -> Decision:
    """Upsampling factor, 1 or 2: 2 where the small nuclei (lower quartile) are under 9 px wide.

    Round trips of ground truth through watershed decoders keep PQ at 0.985 for a quartile of 10.5 px and lose 6
    points at 6.5 px; training 20x data at 40x is also what CellViT does (Horst et al. 2024).
    """
    d25 = statistics.diameter(25)
    value = 2 if d25 < 9 else 1
    reason = (
        f"a quarter of the nuclei are under {d25:.1f} px wide, less than the 9 px below which neighbours merge"
        if value == 2
        else f"three quarters of the nuclei are at least {d25:.1f} px wide, enough (9 px) to tell neighbours apart"
    )
    because = f"Images are {'enlarged twofold' if value == 2 else 'kept at their scale'}: {reason}."
    return Decision(value, because, {"d25_px": d25})


def patch_size(statistics: Fingerprint, limits: Limits, upsampling: int) -> Decision:
    """Side of the square training patch, wanted at 13 median diameters or more.

    A patch of side P cuts a share ``1 - (1 - d/P)**2`` of the nuclei that it meets; 13 diameters keep it under 15 %.
    The device caps it, so that a batch of four fits.
    """
    diameter = statistics.diameter(50) * upsampling
    wanted = _up_to_multiple(13 * diameter)
    cap = min(LARGEST_PATCH, max(SMALLEST_PATCH, _down_to_multiple(math.sqrt(limits.training_pixels / 4))))
    side = min(max(wanted, SMALLEST_PATCH), cap)
    cut = 1 - max(0.0, 1 - diameter / side) ** 2
    bound = f" (all that the {_device_name(limits)} allows)" if wanted > cap else ""
    because = (
        f"13 median diameters of {diameter:.1f} px ask for {wanted} px; "
        f"a side of {side} px{bound} cuts {cut:.0%} of the nuclei that a patch meets."
    )
    return Decision([side, side], because, {"planned_d50_px": diameter, "wanted_px": wanted, "cap_px": cap})


def batch_size(statistics: Fingerprint, limits: Limits, upsampling: int, patch: Sequence[int]) -> Decision:
    """Patches per step: what memory holds, at most 16 and 5 % of the training pixels, never under 2.

    The 5 % are nnU-Net's rule (Isensee et al. 2021): a batch that sees more of a small dataset adds no variety.
    """
    pixels = patch[0] * patch[1]
    inputs = {"training_pixels": statistics.pixels * upsampling**2, "patch_pixels": pixels}
    if not limits.on_gpu:
        because = f"A CPU trains on {CPU_BATCH} patches per step; more only makes steps slower."
        return Decision(CPU_BATCH, because, inputs)
    fits = max(4, min(LARGEST_BATCH, limits.training_pixels // pixels))
    varied = int(0.05 * inputs["training_pixels"] // pixels)
    because = (
        f"{fits} patches fit into {limits.memory_gib:.0f} GiB (at most {LARGEST_BATCH} are used) "
        f"and {varied} are 5 % of the training pixels, of which the smaller counts, but never under 2."
    )
    return Decision(max(2, min(fits, varied)), because, inputs | {"fits": fits, "five_percent": varied})


def network_width(limits: Limits) -> Decision:
    """Channels at the strides 1, 2, 4, 8 and 16; the GPU row is nnU-Net's 2-D U-Net, capped at 320 as there."""
    if limits.on_gpu:
        because = "A GPU has room for the widths of nnU-Net's own U-Net."
        return Decision([32, 64, 128, 256, 320], because, {"device": "cuda"})
    because = "On a CPU the layers at full resolution take most of the time, so they are narrow."
    return Decision([24, 32, 64, 96, 128], because, {"device": "cpu"})


def encoder() -> Decision:
    """A small ViT from scratch (Dosovitskiy et al. 2021); pretrained ones are chosen by the user with their weights."""
    because = "Without pretrained weights, six blocks of a ViT-Tiny (stride 16) learn within a few hundred steps."
    return Decision({"name": "vit_tiny_patch16_224", "depth": 6, "frozen": False}, because)


def normalization(statistics: Fingerprint) -> Decision:
    """One nnU-Net normalisation scheme per channel."""
    channels = list(statistics.intensity)
    because = (
        f"Each of the {len(channels)} channels of each image gets mean 0 and standard deviation 1, which removes "
        "differences in stain and exposure; training from scratch needs no fixed colour statistics."
    )
    return Decision(["ZScoreNormalization"] * len(channels), because, {"channels": channels})


def tile_overlap(statistics: Fingerprint, upsampling: int, patch: Sequence[int]) -> Decision:
    """Overlap of neighbouring tiles at prediction, in planned pixels: the largest nuclei, within [P/4, P/2]."""
    diameter = statistics.diameter(95) * upsampling
    side = min(patch)
    value = min(max(math.ceil(diameter), side // 4), side // 2)
    because = (
        f"Tiles of {side} px overlap by {value} px (between a quarter and a half), so that a nucleus of "
        f"{diameter:.1f} px, larger than 95 % of all, is {'' if value >= diameter else 'nearly '}whole in one of them."
    )
    return Decision(value, because, {"planned_d95_px": diameter, "patch_px": side})


def decoder(statistics: Fingerprint, upsampling: int) -> Decision:
    """Parameters of ``nucplan.instances.decode``; its lengths are fractions of the planned median diameter."""
    plan = DecoderPlan(diameter=round(statistics.diameter(50) * upsampling, 2))
    because = f"All lengths of the decoder are fractions of the median diameter, {plan.diameter} px as planned."
    return Decision(plan.to_dict(), because, {"d50_px": statistics.diameter(50), "scale": upsampling})


def iterations() -> Decision:
    """Optimiser steps of the three budgets."""
    because = "150 steps show that all works, 5,000 give a useful model, 50,000 a converged one (50 are an epoch)."
    return Decision({"quick": 150, "standard": 5000, "full": 50000}, because, {"iterations_per_epoch": 50})


def oversampling(statistics: Fingerprint) -> Decision:
    """Strength gamma of rare-class sampling: 0 draws patches uniformly, 1 in inverse proportion to class frequency.

    The value is CellViT's (Horst et al. 2024).
    """
    counts = dict(statistics.class_instances)
    rarest = min(counts, key=counts.get)
    share = counts[rarest] / max(1, sum(counts.values()))
    because = f"The rarest class, {rarest}, has {share:.1%} of the nuclei; patches with rare classes are preferred."
    if len(counts) == 1:
        because = "There is one class, so sampling only prefers patches that hold nuclei."
    return Decision(0.85, because, {"class_instances": counts})


def _up_to_multiple(length: float) -> int:
    return PATCH_MULTIPLE * math.ceil(length / PATCH_MULTIPLE)


def _down_to_multiple(length: float) -> int:
    return PATCH_MULTIPLE * math.floor(length / PATCH_MULTIPLE)


def _device_name(limits: Limits) -> str:
    return f"GPU with {limits.memory_gib:.0f} GiB" if limits.on_gpu else "CPU"
