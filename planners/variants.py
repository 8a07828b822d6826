"""Plans that differ from the dataset's own plan in seed, encoder or what is made of it, each under its own name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucplan.errors import NucplanError
from nucplan.files import hash_of_large_file
from nucplan.layout import CONFIGURATION, PLANS_NAME, injection_suffix, plans_name
from nucplan.plans import decision, panel_decision

if TYPE_CHECKING:
    from nucplan.networks.encoders.choice import EncoderChoice

# All blocks of a model, tapped at equal distances: depth and taps of the plan belong to its own encoder.
OWN_DEPTH = {"encoder_depth": None, "encoder_taps": None}


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

    @property
    def other_network(self) -> bool:
        """Whether its network is another one than that of the plan, leaving the adapter aside."""
        chosen = self.encoder is not None or self.weights is not None
        return chosen or self.train_encoder or self.with_decoder or self.decoder_stride != 1


def derive_plans(plans: dict[str, Any], variant: Variant, highest_intensity: float = 255) -> dict[str, Any]:
    """The plan of a variant; the plan itself if nothing differs.

    The name says what differs, so that no two runs share a result folder. With weights the network brings images to
    the colours that its encoder was pretrained with: ``highest_intensity`` of the dataset tells 8-bit from 16-bit
    images, mean and deviation are those of the file where it tells (CellViT), else of the encoder
    (`nucplan.networks.encoders.choice`). Without a name the encoder is the one that the weights identify.

    Raises
    ------
    NucplanError
        If the weights file does not exist, the encoder is unknown or one that only planning can choose, or the variant
        contradicts itself or the plan.
    """
    derived = deepcopy(plans)
    suffixes = []
    architecture = derived["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]
    pretrained = variant.weights is not None or plans["nucplan"].get("weights") is not None
    if not pretrained and (variant.train_encoder or variant.with_decoder):
        option = "--train-encoder" if variant.train_encoder else "--with-decoder"
        raise NucplanError(f"{option} is about pretrained weights; give them with --weights, or leave it out.")
    _refuse_planned_encoder(plans, architecture, variant)
    if variant.encoder is not None and variant.encoder != architecture["encoder"]:
        architecture |= {"encoder": variant.encoder, **OWN_DEPTH}
        suffixes.append(variant.encoder.replace("/", "-"))
    if variant.weights is not None:
        white = white_of(highest_intensity)
        suffixes += use_weights(derived, architecture, variant.encoder, variant.weights, white)
        # The data of the dataset's own plan are normalised otherwise and stay beside these.
        derived["configurations"][CONFIGURATION]["data_identifier"] = f"{PLANS_NAME}_NoNormalization_{CONFIGURATION}"
    # An encoder that was planned to be trained stays under its name.
    if variant.train_encoder and architecture["encoder_frozen"]:
        _train(derived, architecture)
        suffixes.append("trained")
    if variant.with_decoder:
        architecture["decoder"] = "cellvit"
        derived["nucplan"]["weights"]["decoder"] = True
        suffixes.append("decoder")
    if variant.injection_blocks is not None:
        suffixes += _inject(derived, variant.injection_blocks)
    if variant.decoder_stride != 1:
        architecture["decoder_stride"] = variant.decoder_stride
        suffixes.append(f"stride{variant.decoder_stride}")
    if variant.seed != 0:
        derived["nucplan"]["seed"] = variant.seed
    derived["plans_name"] = plans_name(variant.seed, *suffixes)
    return derived


def _train(derived: dict[str, Any], architecture: dict[str, Any]) -> None:
    """Have the network train its pretrained encoder, whose maps then change."""
    architecture["encoder_frozen"] = False
    channels = len(derived["configurations"][CONFIGURATION]["normalization_schemes"])
    architecture |= seen_as_colours(architecture, channels)
    derived["nucplan"].get("decisions", {}).pop("feature_cache", None)


def seen_as_colours(architecture: Mapping[str, Any], channels: int) -> dict[str, Any]:
    """What a trained encoder must be told where its weights are for colours and the images have none.

    A frozen one is pretrained for certain, and needs no word of it.
    """
    from nucplan.networks.encoders.registry import find_card

    if channels == 3 or architecture["encoder_frozen"] or find_card(architecture["encoder"]).family == "virtues":
        return {}
    return {"encoder_options": {**architecture.get("encoder_options", {}), "pretrained": True}}


def _inject(derived: dict[str, Any], blocks: Sequence[int]) -> list[str]:
    """Set the decision ``adapter``, as ``--set`` does; the suffix of the plan's name, none where nothing changes."""
    from planners.overrides import apply_override
    from planners.rules import Decision

    value, decisions = decision(derived, "adapter"), derived["nucplan"]["decisions"]
    planned = Decision(value, decisions["adapter"]["because"], decisions["adapter"]["from"])
    settled = apply_override("adapter", planned, {"injection_blocks": list(blocks)}, {})
    if settled.value == value:
        return []
    decisions["adapter"] = settled.to_json()
    return [injection_suffix(settled.value["injection_blocks"])]


def _refuse_planned_encoder(plans: dict[str, Any], architecture: dict[str, Any], variant: Variant) -> None:
    """What was planned for a pretrained encoder, its patch and its normalisation, is for no other."""
    if variant.encoder is None and variant.weights is None:
        return
    if plans["nucplan"].get("weights") is not None:
        raise NucplanError(
            f"The dataset is planned for the weights of {architecture['encoder']}; leave --encoder and --weights out, "
            "or plan anew without them to choose others when training."
        )
    if variant.encoder is not None:
        _refuse_encoder_of_markers(variant.encoder)


def _refuse_encoder_of_markers(encoder: str) -> None:
    from nucplan.networks.encoders.registry import find_card

    if find_card(encoder).family == "virtues":
        raise NucplanError(
            f"The encoder '{encoder}' decides patch, normalisation and markers; plan with it: "
            "nucplan_plan_and_preprocess DATASET --encoder virtues --weights FILE --marker-embeddings PATH."
        )


def refuse_colours_on_markers(encoder: str) -> None:
    """Refuse a pretrained encoder of colours for images of markers."""
    raise NucplanError(
        f"The encoder '{encoder}' was pretrained on colours, and these are images of markers; plan with --encoder "
        "virtues, or train without --weights."
    )


def white_of(highest_intensity: float) -> int:
    """The highest possible intensity of 8-bit or 16-bit images."""
    return 255 if highest_intensity <= 255 else 65535


def weights_record(weights: Path, licence: str) -> dict[str, Any]:
    """What a plan says of a weights file."""
    return {"file": str(weights.resolve()), "sha256": hash_of_large_file(weights), "licence": licence}


def use_weights(
    derived: dict[str, Any],
    architecture: dict[str, Any],
    encoder: str | None,
    weights: Path,
    white: int,
    choice: EncoderChoice | None = None,
) -> list[str]:
    """Have a plan start from a weights file, frozen; what its name says of that.

    Parameters
    ----------
    derived
        The plan, changed in place.
    architecture
        The arguments of the network within it.
    encoder
        The name that the user gave, if any.
    weights
        The file.
    white
        The highest possible intensity.
    choice
        What the file tells; None to read it.
    """
    from nucplan.networks.encoders.choice import choose_encoder
    from nucplan.networks.encoders.registry import find_card
    from nucplan.networks.weights_file import read_weights_file

    if encoder is not None:
        # A wrong name is told before a file of some gigabytes is read.
        find_card(encoder)
    if choice is None:
        choice = choose_encoder(read_weights_file(weights), encoder, architecture["encoder"])
    _refuse_encoder_of_markers(choice.encoder)
    if panel_decision(derived) is not None:
        refuse_colours_on_markers(choice.encoder)
    suffixes = [] if choice.encoder == architecture["encoder"] else [choice.encoder.replace("/", "-")]
    architecture |= {
        "encoder": choice.encoder,
        "encoder_frozen": True,
        **OWN_DEPTH,
        "encoder_layer_scale": choice.layer_scale,
    }
    if choice.mean is not None:
        _use_colours(derived, architecture, choice.mean, choice.std, white)
    record = weights_record(weights, choice.licence) | ({"note": choice.note} if choice.note else {})
    derived["nucplan"]["weights"] = record
    return [*suffixes, f"weights{record['sha256'][:8]}"]


def _use_colours(
    derived: dict[str, Any], architecture: dict[str, Any], mean: Sequence[float], std: Sequence[float], white: int
) -> None:
    """Have the network, not the preprocessing, bring images to the colours of a pretrained encoder."""
    configuration = derived["configurations"][CONFIGURATION]
    channels = len(configuration["normalization_schemes"])
    # A grey image is shown to the encoder three times, after its one channel was normalised.
    mean, std = ([sum(mean) / 3], [sum(std) / 3]) if channels == 1 else (mean, std)
    architecture |= {"input_mean": [white * value for value in mean], "input_std": [white * value for value in std]}
    configuration["normalization_schemes"] = ["NoNormalization"] * channels
