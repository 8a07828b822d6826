"""From a fingerprint to an nnU-Net plans file whose every decision says why it was taken."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from nucplan import __version__
from nucplan.errors import NucplanError
from nucplan.instances import DecoderPlan
from nucplan.layout import CONFIGURATION, PLANS_NAME, Dataset
from planners import rules
from planners.fingerprint import Fingerprint, nnunet_fingerprint
from planners.rules import Decision, Limits

NETWORK = "nucplan.networks.nucleus_net.NucleusNet"
DECISIONS = (
    "scale", "patch_size", "batch_size", "network_width", "encoder", "normalization", "tile_overlap", "decoder",
    "iterations", "oversampling",
)  # fmt: skip


def plan_dataset(
    dataset: Dataset, fingerprint: Fingerprint, limits: Limits, overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Make the plans: what nnU-Net's ``PlansManager`` reads, and the section "nucplan" with all decisions.

    Parameters
    ----------
    overrides
        Decision name -> value that a user wants; decisions that depend on it follow it.

    Raises
    ------
    NucplanError
        If an override names no decision, or its value has the wrong form.
    """
    decisions = decide(fingerprint, limits, overrides or {})
    return {
        "dataset_name": dataset.folder_name,
        "plans_name": PLANS_NAME,
        "original_median_spacing_after_transp": [999.0, 1.0, 1.0],
        "original_median_shape_after_transp": [1, *fingerprint.image_size["median"]],
        "image_reader_writer": "NaturalImage2DIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {CONFIGURATION: _configuration(fingerprint, decisions)},
        "experiment_planner_used": "nucplan",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": nnunet_fingerprint(fingerprint)[
            "foreground_intensity_properties_per_channel"
        ],
        "nucplan": {
            "version": __version__,
            "mpp": fingerprint.mpp,
            "decisions": {name: decision.to_json() for name, decision in decisions.items()},
        },
    }


def decide(fingerprint: Fingerprint, limits: Limits, overrides: Mapping[str, Any]) -> dict[str, Decision]:
    """Call the rules in order; an overridden decision is what the later ones build on."""
    unknown = sorted(set(overrides) - set(DECISIONS))
    if unknown:
        raise NucplanError(f"The plan has no decision '{unknown[0]}' to override; there are {', '.join(DECISIONS)}.")
    decisions: dict[str, Decision] = {}

    def settle(name: str, decision: Decision) -> Any:
        decisions[name] = _overridden(name, decision, overrides[name]) if name in overrides else decision
        return decisions[name].value

    upsampling = settle("scale", rules.scale(fingerprint))
    patch = settle("patch_size", rules.patch_size(fingerprint, limits, upsampling))
    settle("batch_size", rules.batch_size(fingerprint, limits, upsampling, patch))
    settle("network_width", rules.network_width(limits))
    settle("encoder", rules.encoder())
    settle("normalization", rules.normalization(fingerprint))
    overlap = settle("tile_overlap", rules.tile_overlap(fingerprint, upsampling, patch))
    if overlap > patch[0] // 2:
        raise NucplanError(f"Tiles of {patch[0]} px cannot overlap by {overlap} px; at most half a patch is possible.")
    settle("decoder", rules.decoder(fingerprint, upsampling))
    settle("iterations", rules.iterations())
    settle("oversampling", rules.oversampling(fingerprint))
    return decisions


def explain(plans: Mapping[str, Any]) -> str:
    """All decisions with their reasons, as a text for people."""
    paragraphs = []
    for name, decision in plans["nucplan"]["decisions"].items():
        mark = "  (set by you)" if decision.get("overridden") else ""
        reason = textwrap.fill(decision["because"], 100, initial_indent="    ", subsequent_indent="    ")
        paragraphs.append(f"{name} = {_readable(decision['value'])}{mark}\n{reason}")
    return "\n".join(paragraphs)


def _configuration(fingerprint: Fingerprint, decisions: Mapping[str, Decision]) -> dict[str, Any]:
    value = {name: decision.value for name, decision in decisions.items()}
    return {
        "data_identifier": f"{PLANS_NAME}_{CONFIGURATION}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": value["batch_size"],
        "patch_size": value["patch_size"],
        "median_image_size_in_voxels": [float(side * value["scale"]) for side in fingerprint.image_size["median"]],
        "spacing": [1 / value["scale"]] * 2,
        "normalization_schemes": value["normalization"],
        # Black margins are background of a fluorescence image, not the outside of a body.
        "use_mask_for_norm": [False] * len(value["normalization"]),
        # Linear, not nnU-Net's cubic: no overshoot at nuclear rims. Order 0 keeps instance ids exact.
        **_resampling("data", order=1),
        **_resampling("seg", order=0, is_seg=True),
        **_resampling("probabilities", order=1),
        "batch_dice": True,
        "architecture": _architecture(value["encoder"], value["network_width"]),
    }


def _resampling(kind: str, order: int, is_seg: bool = False) -> dict[str, Any]:
    arguments = {"is_seg": is_seg, "order": order, "order_z": 0, "force_separate_z": None}
    return {f"resampling_fn_{kind}": "resample_data_or_seg_to_shape", f"resampling_fn_{kind}_kwargs": arguments}


def _architecture(encoder: Mapping[str, Any], widths: list[int]) -> dict[str, Any]:
    arguments = {
        "encoder": encoder["name"],
        "encoder_depth": encoder["depth"],
        "encoder_frozen": encoder["frozen"],
        "features_per_stage": widths,
    }
    return {"network_class_name": NETWORK, "arch_kwargs": arguments, "_kw_requires_import": []}


def _overridden(name: str, decision: Decision, value: Any) -> Decision:
    if isinstance(decision.value, Mapping) and isinstance(value, Mapping):
        value = _merged(name, decision.value, value)
    elif name == "patch_size" and isinstance(value, int):
        value = [value, value]
    problem = _problem(name, decision.value, value)
    if problem:
        planned = _readable(decision.value)
        raise NucplanError(f"The override {name}={_readable(value)} {problem}; planned was {planned}.")
    because = f"You set it; planned was {_readable(decision.value)}: {decision.because}"
    return replace(decision, value=value, because=because, overridden=True)


def _merged(name: str, planned: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(given) - set(planned))
    if unknown:
        raise NucplanError(f"The decision '{name}' has no part '{unknown[0]}'; its parts are {', '.join(planned)}.")
    return {**planned, **given}


def _problem(name: str, planned: Any, value: Any) -> str | None:
    """What is wrong with an override, as the end of a sentence, or None."""
    kind = (int, float) if isinstance(planned, float) else type(planned)
    if not isinstance(value, kind) or isinstance(value, bool):
        return f"is not a {type(planned).__name__}"
    if isinstance(planned, list) and len(value) != len(planned):
        return f"has not {len(planned)} entries"
    if name == "decoder":
        DecoderPlan.from_dict(value)
    return CHECKS[name](value) if name in CHECKS else None


def _whole(numbers: Iterable[Any]) -> bool:
    return all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in numbers)


def _patch_problem(sides: list) -> str | None:
    if not _whole(sides) or len(set(sides)) > 1 or sides[0] % rules.PATCH_MULTIPLE:
        return f"is not a square of a multiple of {rules.PATCH_MULTIPLE} pixels"
    return None


def _encoder_problem(encoder: Mapping[str, Any]) -> str | None:
    import torch

    from nucplan.networks.encoders.timm_vit import TimmViT

    # On this device a network costs neither memory nor time.
    with torch.device("meta"):
        TimmViT(encoder["name"], 3, encoder["depth"])
    return None


CHECKS: dict[str, Callable[[Any], str | None]] = {
    "scale": lambda value: None if value in (1, 2) else "is neither 1 nor 2",
    "patch_size": _patch_problem,
    "batch_size": lambda value: None if value > 0 else "is below 1",
    "network_width": lambda value: None if _whole(value) else "are not whole numbers above 0",
    "encoder": _encoder_problem,
    "normalization": lambda value: (
        None if set(value) <= set(rules.NORMALIZATIONS) else f"is not of {', '.join(rules.NORMALIZATIONS)}"
    ),
    "tile_overlap": lambda value: None if value > 0 else "is below 1",
    "iterations": lambda value: None if _whole(value.values()) else "are not whole numbers above 0",
    "oversampling": lambda value: None if 0 <= value <= 1 else "is not between 0 and 1",
}


def _readable(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
