"""Network, data and length of the training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from planners.fingerprint import Fingerprint
from planners.rules.decision import Decision, Limits

if TYPE_CHECKING:
    from planners.pretrained import PretrainedEncoder

NORMALIZATIONS = ("ZScoreNormalization", "NoNormalization", "RescaleTo01Normalization", "RGBTo01Normalization")
PASSES = 100  # of a standard training over the pixels of the dataset
STANDARD = {"cpu": (2500, 5000), "cuda": (5000, 20000)}
QUERIES = (64, 400)


def network_width(limits: Limits) -> Decision:
    """Channels at the strides 1, 2, 4, 8 and 16; the GPU row is nnU-Net's 2-D U-Net, capped at 320 as there."""
    if limits.on_gpu:
        because = "A GPU has room for the widths of nnU-Net's own U-Net."
        return Decision([32, 64, 128, 256, 320], because, {"device": "cuda"})
    because = "On a CPU the layers at full resolution take most of the time, so they are narrow."
    return Decision([24, 32, 64, 96, 128], because, {"device": "cpu"})


def encoder(pretrained: PretrainedEncoder | None = None) -> Decision:
    """The user's pretrained encoder, frozen, or a small ViT from scratch (Dosovitskiy et al. 2021).

    ``taps`` are the blocks whose tokens the decoder reads, at equal distances as in CellViT (Hörst et al. 2024).
    """
    from nucplan.networks.encoders.timm_vit import default_taps

    if pretrained is not None:
        because = f"You gave its weights, {pretrained.request.weights.name}, which stay as they are in training."
        taps = list(pretrained.taps)
        value = {"name": pretrained.request.name, "depth": taps[-1] + 1, "frozen": True, "taps": taps}
        return Decision(value, because)
    depth = 6
    because = "Without pretrained weights, six blocks of a ViT-Tiny (stride 16) learn within a few hundred steps."
    value = {"name": "vit_tiny_patch16_224", "depth": depth, "frozen": False, "taps": list(default_taps(depth))}
    return Decision(value, because)


def normalization(statistics: Fingerprint, colours_of_encoder: bool = False) -> Decision:
    """One nnU-Net normalisation scheme per channel; none where the network brings images to its encoder's colours.

    Transmitted light (8-bit RGB in which nuclei are darker than the rest) has a physical reference, the white of the
    empty glass: a fixed scale keeps pale images pale, where mean 0 and deviation 1 would turn the faint membranes of
    a nearly white image into nuclei. Fluorescence has none: exposure and gain differ from image to image.
    Multiplex images get the stock z-score here, in whose place the rules of "marker_normalization" are applied.
    """
    channels = list(statistics.intensity.values())
    if colours_of_encoder:
        because = "The network brings images to the colours that its encoder was pretrained with."
        return Decision(["NoNormalization"] * len(channels), because)
    brightest = max(channel["all"]["max"] for channel in channels)
    everywhere, in_nuclei = (sum(c[where]["mean"] for c in channels) for where in ("all", "nuclei"))
    inputs = {"channels": len(channels), "max": brightest, "mean": everywhere, "mean_in_nuclei": in_nuclei}
    if len(channels) == 3 and brightest <= 255 and in_nuclei < everywhere:
        because = "Nuclei are darker than the rest of the 8-bit RGB: transmitted light, with one white for all images."
        return Decision(["RGBTo01Normalization"] * 3, because, inputs)
    because = "Each channel of each image gets mean 0 and standard deviation 1, which removes differences in exposure."
    return Decision(["ZScoreNormalization"] * len(channels), because, inputs)


def iterations(statistics: Fingerprint, limits: Limits, upsampling: int, patch: Sequence[int], batch: int) -> Decision:
    """Optimiser steps of the three budgets: standard passes about 100 times over the dataset, full is ten times that.

    Few images need no more passes than many: augmentation makes them new. The bounds keep a training on a CPU within
    an hour or two.
    """
    pixels = statistics.pixels * upsampling**2
    wanted = 50 * math.ceil(PASSES * pixels / (batch * patch[0] * patch[1]) / 50)
    low, high = STANDARD[limits.device]
    standard = min(max(wanted, low), high)
    limit = None if standard == wanted else f"{low} to {high} steps on a {'GPU' if limits.on_gpu else 'CPU'}"
    because = (
        f"{wanted} steps would pass {PASSES} times over the {pixels / 1e6:.1f} million pixels; 'quick' shows that all "
        "works, 'standard' gives a useful model, 'full' a converged one."
    )
    value = {"quick": 150, "standard": standard, "full": 10 * standard}
    return Decision(value, because, {"planned_pixels": pixels, "wanted": wanted, "iterations_per_epoch": 50}, limit)


def oversampling(statistics: Fingerprint) -> Decision:
    """Strength gamma of rare-class sampling: 0 draws patches uniformly, 1 in inverse proportion to class frequency.

    The value is CellViT's (Hörst et al. 2024); no property of a dataset is known that would move it.
    """
    counts = dict(statistics.class_instances)
    rarest = min(counts, key=counts.get)
    share = counts[rarest] / max(1, sum(counts.values()))
    because = f"The rarest class, {rarest}, has {share:.1%} of the nuclei; patches with rare classes are preferred."
    if len(counts) == 1:
        because = "There is one class, so sampling only prefers patches that hold nuclei."
    return Decision(0.85, because, {"class_instances": counts})


def queries(statistics: Fingerprint, upsampling: int, patch: Sequence[int]) -> Decision:
    """Queries of a query decoder: 1.3 times the nuclei of a crowded patch (99th percentile), a multiple of 32."""
    windows = patch[0] * patch[1] / upsampling**2 / 256**2
    crowded = statistics.nuclei_per_256x256["p99"] * windows
    wanted = 32 * math.ceil(1.3 * crowded / 32)
    value = min(max(wanted, QUERIES[0]), QUERIES[1])
    limit = f"{QUERIES[1]} queries" if wanted > QUERIES[1] else None
    because = f"A crowded patch holds {crowded:.0f} nuclei; 1.3 times that, between {QUERIES[0]} and {QUERIES[1]}."
    return Decision(value, because, {"nuclei_per_crowded_patch": crowded}, limit)
