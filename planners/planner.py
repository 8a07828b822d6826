"""From a fingerprint to an nnU-Net plans file whose every decision says why it was taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from nucplan import __version__
from nucplan.instances import DECODERS, DecoderPlan
from nucplan.layout import CONFIGURATION, PLANS_NAME, Dataset
from nucplan.marker_normalization import MARKER_NORMALIZATION
from planners import cost, oracle, rules
from planners.findings import findings
from planners.fingerprint import Fingerprint, nnunet_fingerprint
from planners.oracle import Ceiling
from planners.overrides import apply_override, check_names
from planners.rules import Decision, Limits

NETWORK = "nucplan.networks.nucleus_net.NucleusNet"
DECISIONS = (
    "scale", "network_width", "encoder", "normalization", "marker_normalization", "channels", "patch_size",
    "batch_size", "tile_overlap", "boundary_kernel", "weight_kernel", "boundary_beta", "boundary_scales",
    "boundary_pos_weight", "boundary_loss_weight", "boundary_weight_normalised", "gate", "decoder",
    "foreground_decoder", "oracle_ceiling", "iterations", "oversampling", "queries",
)  # fmt: skip


def plan_dataset(
    dataset: Dataset,
    fingerprint: Fingerprint,
    limits: Limits,
    labels: Sequence[np.ndarray],
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Make the plans: what nnU-Net's ``PlansManager`` reads, and the section "nucplan" with all decisions.

    Parameters
    ----------
    labels
        Instance maps (H, W) of the training part, or a sample of them: the oracle's.
    overrides
        Decision name -> value that a user wants; decisions that depend on it follow it.

    Raises
    ------
    NucplanError
        If an override names no decision, or its value has the wrong form.
    """
    decisions = decide(fingerprint, limits, labels, overrides or {})
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
            "decisions": {name: decisions[name].to_json() for name in DECISIONS},
            "warnings": findings(fingerprint, decisions),
        },
    }


class _Decisions(dict[str, Decision]):
    """Decisions by name; one that a user overrides is what the later ones build on."""

    def __init__(self, overrides: Mapping[str, Any]) -> None:
        super().__init__()
        self.overrides = overrides

    def settle(self, name: str, decision: Decision) -> Any:
        """Take the decision, or the user's in its place; the value that counts comes back."""
        if name in self.overrides:
            earlier = {name: settled.value for name, settled in self.items()}
            decision = apply_override(name, decision, self.overrides[name], earlier)
        self[name] = decision
        return decision.value


def decide(
    fingerprint: Fingerprint, limits: Limits, labels: Sequence[np.ndarray], overrides: Mapping[str, Any]
) -> dict[str, Decision]:
    """Call the rules in order."""
    check_names(overrides)
    decisions = _Decisions(overrides)
    ceilings = _scale_and_targets(decisions, fingerprint, labels)
    upsampling, kernel = decisions["scale"].value, decisions["boundary_kernel"].value
    _decoding(decisions, fingerprint, labels, ceilings)
    _patches(decisions, fingerprint, limits)
    patch = decisions["patch_size"].value
    settle = decisions.settle
    widened = settle("weight_kernel", rules.weight_kernel(fingerprint, upsampling, kernel))
    chosen_by_user = decisions["boundary_kernel"].overridden or decisions["weight_kernel"].overridden
    half_width = kernel // 2 + widened // 2 if chosen_by_user else rules.band_half_width(fingerprint, upsampling)
    settle("boundary_beta", rules.boundary_beta(fingerprint, upsampling, half_width))
    settle("boundary_pos_weight", rules.boundary_pos_weight(fingerprint, upsampling, kernel))
    settle("boundary_loss_weight", rules.boundary_loss_weight())
    settle("boundary_weight_normalised", rules.boundary_weight_normalised())
    settle("gate", rules.gate())
    settle("iterations", rules.iterations(fingerprint, limits, upsampling, patch, decisions["batch_size"].value))
    settle("oversampling", rules.oversampling(fingerprint))
    settle("queries", rules.queries(fingerprint, upsampling, patch))
    return decisions


def _scale_and_targets(
    decisions: _Decisions, fingerprint: Fingerprint, labels: Sequence[np.ndarray]
) -> dict[str, Ceiling]:
    """Scale and boundary kernel, and the round trips with them; images are enlarged where the labels need it."""

    def kernel(upsampling: int) -> Decision:
        return rules.boundary_kernel(fingerprint, upsampling)

    def ceilings(upsampling: int) -> dict[str, Ceiling]:
        plans = {name: rules.decoder_plan(fingerprint, upsampling, name) for name in DECODERS}
        drawn = decisions.overrides.get("boundary_kernel", kernel(upsampling).value)
        return oracle.ceilings(labels, upsampling, drawn, plans)

    upsampling = decisions.settle("scale", rules.scale(fingerprint))
    # Checked before the oracle draws with it.
    decisions.settle("boundary_kernel", kernel(upsampling))
    found = ceilings(upsampling)
    if upsampling > 1 or rules.best_ceiling(found) >= rules.FAITHFUL or decisions["scale"].overridden:
        return found
    enlarged = ceilings(2)
    if not rules.enlarging_pays(rules.best_ceiling(found), rules.best_ceiling(enlarged)):
        return found
    by_scale = {1: rules.best_ceiling(found), 2: rules.best_ceiling(enlarged)}
    decisions.settle("scale", rules.scale_for_labels(fingerprint, by_scale))
    decisions.settle("boundary_kernel", kernel(2))
    return enlarged


def _decoding(
    decisions: _Decisions, fingerprint: Fingerprint, labels: Sequence[np.ndarray], ceilings: dict[str, Ceiling]
) -> None:
    upsampling, kernel = decisions["scale"].value, decisions["boundary_kernel"].value
    chosen = decisions.settle("decoder", rules.decoder(fingerprint, upsampling, ceilings))
    decisions.settle("foreground_decoder", rules.foreground_decoder(fingerprint, upsampling, ceilings))
    if decisions["decoder"].overridden:
        plan = DecoderPlan.from_dict(chosen)
        ceilings = ceilings | oracle.ceilings(labels, upsampling, kernel, {plan.name: plan})
    others = {
        "core_border": oracle.core_border_ceiling(labels, upsampling),
        "fixed_40x": oracle.fixed_40x(labels, chosen["name"]),
    }
    decisions.settle("oracle_ceiling", rules.oracle_ceiling(chosen["name"], ceilings, others, len(labels)))


def _patches(decisions: _Decisions, fingerprint: Fingerprint, limits: Limits) -> None:
    """What the network sees per step; costs are counted on the network that the plan describes."""
    upsampling, settle = decisions["scale"].value, decisions.settle
    settle("network_width", rules.network_width(limits))
    scales = settle("boundary_scales", rules.boundary_scales(fingerprint, upsampling))
    settle("encoder", rules.encoder())
    settle("normalization", rules.normalization(fingerprint))
    settle("marker_normalization", _marker_normalization(fingerprint, decisions["normalization"]))
    settle("channels", rules.channels(fingerprint))
    # The costliest config is counted, so that the same plan serves all of them.
    architecture = _architecture(fingerprint, decisions)["arch_kwargs"] | {
        "boundary_strides": [int(stride) for stride in scales],
        "boundary_attention": True,
    }
    channels, classes = len(fingerprint.intensity), len(fingerprint.class_instances)

    @cache
    def count(side: int) -> cost.StepCost:
        return cost.count(architecture, channels, classes, side, limits.device)

    wanted = count(rules.useful_patch(fingerprint, upsampling))
    patch = settle("patch_size", rules.patch_size(fingerprint, limits, upsampling, wanted))
    settle("batch_size", rules.batch_size(fingerprint, limits, upsampling, count(patch[0])))
    settle("tile_overlap", rules.tile_overlap(fingerprint, upsampling, patch))


def _marker_normalization(fingerprint: Fingerprint, normalization: Decision) -> Decision:
    if fingerprint.markers is not None and normalization.overridden:
        return Decision(None, "You set 'normalization', whose schemes are applied as they are.")
    return rules.marker_normalization(fingerprint)


def _configuration(fingerprint: Fingerprint, decisions: Mapping[str, Decision]) -> dict[str, Any]:
    value = {name: decision.value for name, decision in decisions.items()}
    markers = {MARKER_NORMALIZATION: value["marker_normalization"]} if value["marker_normalization"] else {}
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
        **markers,
        # Linear, not nnU-Net's cubic: no overshoot at nuclear rims. Order 0 keeps instance ids exact.
        **_resampling("data", order=1),
        **_resampling("seg", order=0, is_seg=True),
        **_resampling("probabilities", order=1),
        "batch_dice": True,
        "architecture": _architecture(fingerprint, decisions),
    }


def _resampling(kind: str, order: int, is_seg: bool = False) -> dict[str, Any]:
    arguments = {"is_seg": is_seg, "order": order, "order_z": 0, "force_separate_z": None}
    return {f"resampling_fn_{kind}": "resample_data_or_seg_to_shape", f"resampling_fn_{kind}_kwargs": arguments}


def _architecture(fingerprint: Fingerprint, decisions: Mapping[str, Decision]) -> dict[str, Any]:
    encoder, panel = decisions["encoder"].value, decisions["channels"].value
    arguments = {
        "encoder": encoder["name"],
        "encoder_depth": encoder["depth"],
        "encoder_frozen": encoder["frozen"],
        "encoder_taps": encoder["taps"],
        "features_per_stage": decisions["network_width"].value,
    }
    if panel is not None and panel["panel"] == "varying":
        # Masks need no more than what all markers show together; classes need to know which marker shows it.
        identities = len(fingerprint.intensity) if len(fingerprint.class_instances) > 1 else 0
        arguments["channel_stem"] = {"identities": identities}
    return {"network_class_name": NETWORK, "arch_kwargs": arguments, "_kw_requires_import": []}
