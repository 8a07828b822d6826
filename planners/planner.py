"""From a fingerprint to an nnU-Net plans file whose every decision says why it was taken."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nucplan import __version__
from nucplan.errors import NucplanError
from nucplan.layout import CONFIGURATION, PLANS_NAME, Dataset
from planners import rules
from planners.fingerprint import Fingerprint, nnunet_fingerprint
from planners.rules import Decision, Limits

NETWORK = "nucplan.networks.nucleus_net.NucleusNet"
DECISIONS = (
    "scale", "patch_size", "batch_size", "network_width", "encoder", "normalization", "tile_overlap", "decoder",
    "iterations", "oversampling", "mirroring",
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
    settle("tile_overlap", rules.tile_overlap(fingerprint, upsampling, patch))
    settle("decoder", rules.decoder(fingerprint, upsampling))
    settle("iterations", rules.iterations())
    settle("oversampling", rules.oversampling(fingerprint))
    settle("mirroring", rules.mirroring())
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
    kind = (int, float) if isinstance(planned, float) else type(planned)
    if not isinstance(value, kind) or isinstance(value, bool):
        return f"is not a {type(planned).__name__}"
    if isinstance(planned, list) and name != "mirroring" and len(value) != len(planned):
        return f"has not {len(planned)} entries"
    if name == "scale" and value not in (1, 2):
        return "is neither 1 nor 2"
    if name == "patch_size" and any(not isinstance(side, int) or side < 32 or side % 32 for side in value):
        return "is not a multiple of 32 pixels"
    if name in ("batch_size", "tile_overlap") and value < 1:
        return "is below 1"
    return None


def _readable(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
