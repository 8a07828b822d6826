"""Plans that differ from the dataset's own plan in seed or encoder, each under its own name."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from nucplan.errors import NucplanError
from nucplan.files import file_hash
from nucplan.layout import CONFIGURATION, PLANS_NAME


def derive_plans(
    plans: dict[str, Any], seed: int = 0, encoder: str | None = None, weights: Path | None = None
) -> dict[str, Any]:
    """The plan for another seed, encoder or pretrained weights; the plan itself if nothing differs.

    The name says what differs, so that no two runs share a result folder. With weights the encoder is frozen and sees
    images in the colours that it was pretrained with: scaled to [0, 1], then by its own mean and deviation.

    Raises
    ------
    NucplanError
        If the weights file does not exist or the encoder is unknown.
    """
    derived = deepcopy(plans)
    suffixes = []
    architecture = derived["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]
    if encoder is not None and encoder != architecture["encoder"]:
        architecture["encoder"], architecture["encoder_depth"] = encoder, None
        suffixes.append(encoder.replace("/", "-"))
    if weights is not None:
        suffixes.append(_use_weights(derived, architecture, weights))
    if seed != 0:
        suffixes.append(f"seed{seed}")
    derived["nucplan"]["seed"] = seed
    derived["plans_name"] = "_".join([PLANS_NAME, *suffixes])
    return derived


def _use_weights(derived: dict[str, Any], architecture: dict[str, Any], weights: Path) -> str:
    from nucplan.networks.encoders.timm_vit import input_statistics

    if not weights.is_file():
        raise NucplanError(f"The weights file {weights} does not exist; check --weights.")
    digest = file_hash(weights)
    mean, std = input_statistics(architecture["encoder"])
    configuration = derived["configurations"][CONFIGURATION]
    channels = len(configuration["normalization_schemes"])
    # A grey image is shown to the encoder three times, after its one channel was normalised.
    grey = channels == 1
    architecture |= {
        "encoder_frozen": True,
        "encoder_depth": None,
        "input_mean": [sum(mean) / 3] if grey else mean,
        "input_std": [sum(std) / 3] if grey else std,
    }
    highest = max(p["max"] for p in derived["foreground_intensity_properties_per_channel"].values())
    scheme = "RGBTo01Normalization" if highest <= 255 else "RescaleTo01Normalization"
    configuration["normalization_schemes"] = [scheme] * channels
    configuration["data_identifier"] = f"{PLANS_NAME}_{scheme}_{CONFIGURATION}"
    derived["nucplan"]["weights"] = {"file": str(weights.resolve()), "sha256": digest}
    return f"weights{digest[:8]}"
