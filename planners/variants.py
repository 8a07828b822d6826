"""Plans that differ from the dataset's own plan in seed, encoder or what is made of it, each under its own name."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucplan.errors import NucplanError
from nucplan.files import file_hash
from nucplan.layout import CONFIGURATION, PLANS_NAME, plans_name

# All blocks of a model, tapped at equal distances: depth and taps of the plan belong to its own encoder.
OWN_DEPTH = {"encoder_depth": None, "encoder_taps": None}
# Encoders with LayerScale are trained in DINOv2's way (UNI, Virchow, Prov-GigaPath), which goes with these colours.
IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@dataclass(frozen=True)
class Variant:
    """What a training has other than the dataset's own plan; None and False leave it as planned.

    Attributes
    ----------
    seed
        Of all random numbers.
    encoder
        Another encoder by name.
    weights
        File with its pretrained weights; it is frozen then, unless ``train_encoder``.
    train_encoder
        Go on training a pretrained encoder.
    with_decoder
        Take the decoder of the weights file, too; the file is a whole CellViT.
    injection_blocks
        Interactions of the config ``cellvta`` that change the tokens, of 1 to 4.
    cache_features
        Whether the maps of a frozen encoder are computed once and stored; None leaves it to the rule
        (`planners.feature_cache`).
    cache_limit
        The most that these may take on disk, in GiB; None for the rule's own limit.
    decoder_stride
        Finest stride of the decoder: 1, 2 or 4. Above 1 a step is cheaper, and boundary heads are coarser.
    """

    seed: int = 0
    encoder: str | None = None
    weights: Path | None = None
    train_encoder: bool = False
    with_decoder: bool = False
    injection_blocks: tuple[int, ...] | None = None
    cache_features: bool | None = None
    cache_limit: float | None = None
    decoder_stride: int = 1


def derive_plans(plans: dict[str, Any], variant: Variant, highest_intensity: float = 255) -> dict[str, Any]:
    """The plan of a variant; the plan itself if nothing differs.

    The name says what differs, so that no two runs share a result folder. With weights the network brings images to
    the colours that its encoder was pretrained with: ``highest_intensity`` of the dataset tells 8-bit from 16-bit
    images, mean and deviation are ImageNet's for files with LayerScale, else those of the encoder's card.

    Raises
    ------
    NucplanError
        If the weights file does not exist, the encoder is unknown, or the variant contradicts itself.
    """
    derived = deepcopy(plans)
    suffixes = []
    architecture = derived["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]
    if variant.weights is None and (variant.train_encoder or variant.with_decoder):
        option = "--train-encoder" if variant.train_encoder else "--with-decoder"
        raise NucplanError(f"{option} is about pretrained weights; give them with --weights, or leave it out.")
    if variant.encoder is not None and variant.encoder != architecture["encoder"]:
        architecture |= {"encoder": variant.encoder, **OWN_DEPTH}
        suffixes.append(variant.encoder.replace("/", "-"))
    if variant.weights is not None:
        white = 255 if highest_intensity <= 255 else 65535
        suffixes.append(_use_weights(derived, architecture, variant.weights, white))
        if variant.train_encoder:
            architecture["encoder_frozen"] = False
            suffixes.append("trained")
        if variant.with_decoder:
            architecture["decoder"] = "cellvit"
            derived["nucplan"]["weights"]["decoder"] = True
            suffixes.append("decoder")
    if variant.decoder_stride != 1:
        architecture["decoder_stride"] = variant.decoder_stride
        suffixes.append(f"stride{variant.decoder_stride}")
    if variant.seed != 0:
        derived["nucplan"]["seed"] = variant.seed
    derived["plans_name"] = plans_name(variant.seed, *suffixes)
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
