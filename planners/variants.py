"""Plans that differ from the dataset's own plan in seed or encoder, each under its own name."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from nucplan.files import file_hash
from nucplan.layout import CONFIGURATION, PLANS_NAME, plans_name

# All blocks of a model, tapped at equal distances: depth and taps of the plan belong to its own encoder.
OWN_DEPTH = {"encoder_depth": None, "encoder_taps": None}
# Encoders with LayerScale are trained in DINOv2's way (UNI, Virchow, Prov-GigaPath), which goes with these colours.
IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def derive_plans(
    plans: dict[str, Any],
    seed: int = 0,
    encoder: str | None = None,
    weights: Path | None = None,
    highest_intensity: float = 255,
) -> dict[str, Any]:
    """The plan for another seed, encoder or pretrained weights; the plan itself if nothing differs.

    The name says what differs, so that no two runs share a result folder. With weights the encoder is frozen, and the
    network brings images to the colours that it was pretrained with: ``highest_intensity`` of the dataset tells 8-bit
    from 16-bit images, mean and deviation are ImageNet's for files with LayerScale, else timm's for the encoder.

    Raises
    ------
    NucplanError
        If the weights file does not exist or the encoder is unknown.
    """
    derived = deepcopy(plans)
    suffixes = []
    architecture = derived["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]
    if encoder is not None and encoder != architecture["encoder"]:
        architecture |= {"encoder": encoder, **OWN_DEPTH}
        suffixes.append(encoder.replace("/", "-"))
    if weights is not None:
        suffixes.append(_use_weights(derived, architecture, weights, 255 if highest_intensity <= 255 else 65535))
    if seed != 0:
        derived["nucplan"]["seed"] = seed
    derived["plans_name"] = plans_name(seed, *suffixes)
    return derived


def _use_weights(derived: dict[str, Any], architecture: dict[str, Any], weights: Path, white: int) -> str:
    from nucplan.networks.encoders.timm_vit import input_statistics
    from nucplan.networks.weights import has_layer_scale

    usual = input_statistics(architecture["encoder"])
    layer_scale = has_layer_scale(weights)
    mean, std = IMAGENET if layer_scale else usual
    configuration = derived["configurations"][CONFIGURATION]
    channels = len(configuration["normalization_schemes"])
    # A grey image is shown to the encoder three times, after its one channel was normalised.
    mean, std = ([sum(mean) / 3], [sum(std) / 3]) if channels == 1 else (mean, std)
    architecture |= {
        "encoder_frozen": True,
        **OWN_DEPTH,
        "encoder_layer_scale": layer_scale,
        "input_mean": [white * value for value in mean],
        "input_std": [white * value for value in std],
    }
    configuration["normalization_schemes"] = ["NoNormalization"] * channels
    configuration["data_identifier"] = f"{PLANS_NAME}_NoNormalization_{CONFIGURATION}"
    digest = file_hash(weights)
    derived["nucplan"]["weights"] = {"file": str(weights.resolve()), "sha256": digest}
    return f"weights{digest[:8]}"
