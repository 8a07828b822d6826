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
from planners import contract, cost, oracle, rules
from planners.contract import Deviation
from planners.findings import findings
from planners.fingerprint import Fingerprint, nnunet_fingerprint
from planners.oracle import Ceiling
from planners.overrides import apply_override, check_beside_weights, check_names
from planners.pretrained import PretrainedEncoder
from planners.rules import Decision, Limits
from planners.variants import seen_as_colours, use_weights, weights_record, white_of

NETWORK = "nucplan.networks.nucleus_net.NucleusNet"
DECISIONS = (
    "scale", "network_width", "encoder", "adapter", "normalization", "marker_normalization", "channels", "patch_size",
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
    encoder: PretrainedEncoder | None = None,
) -> dict[str, Any]:
    """Make the plans: what nnU-Net's ``PlansManager`` reads, and the section "nucplan" with all decisions.

    Parameters
    ----------
    labels
        Instance maps (H, W) of the training part, or a sample of them: the oracle's.
    overrides
        Decision name -> value that a user wants; decisions that depend on it follow it.
    encoder
        The user's pretrained one.

    Raises
    ------
    NucplanError
        If an override names no decision, or its value has the wrong form, or the plan breaks the contract of the
        encoder.
    """
    decisions = decide(fingerprint, limits, labels, overrides or {}, encoder)
    deviations = contract.checked(encoder, fingerprint, decisions)
    plans = {
        "dataset_name": dataset.folder_name,
        "plans_name": PLANS_NAME,
        "original_median_spacing_after_transp": [999.0, 1.0, 1.0],
        "original_median_shape_after_transp": [1, *fingerprint.image_size["median"]],
        "image_reader_writer": "NaturalImage2DIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {CONFIGURATION: _configuration(fingerprint, decisions, encoder)},
        "experiment_planner_used": "nucplan",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": nnunet_fingerprint(fingerprint)[
            "foreground_intensity_properties_per_channel"
        ],
        "nucplan": {
            "version": __version__,
            "mpp": fingerprint.mpp,
            "decisions": {name: decisions[name].to_json() for name in DECISIONS},
            "warnings": [*(one.sentence for one in deviations), *findings(fingerprint, decisions)],
        },
    }
    if encoder is not None:
        _bring(plans, encoder, fingerprint, deviations)
        plans = _with_feature_cache(plans, fingerprint)
    return plans


def _with_feature_cache(plans: dict[str, Any], fingerprint: Fingerprint) -> dict[str, Any]:
    # torch is imported on use.
    from planners.feature_cache import plan_feature_cache, preprocessed_shapes

    shapes = preprocessed_shapes(fingerprint.cases, plans)
    return plan_feature_cache(plans, len(fingerprint.intensity), len(fingerprint.class_instances), shapes)


def _bring(
    plans: dict[str, Any], encoder: PretrainedEncoder, fingerprint: Fingerprint, deviations: Sequence[Deviation]
) -> None:
    """Record a pretrained encoder and what it expects of images."""
    plans["nucplan"]["encoder_request"] = encoder.request.to_json()
    if encoder.markers is None:
        architecture = plans["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]
        chosen = {name: architecture[name] for name in ("encoder_frozen", "encoder_taps")}
        highest = max(channel["all"]["max"] for channel in fingerprint.intensity.values())
        request, white = encoder.request, white_of(highest)
        use_weights(plans, architecture, request.name, request.weights, white, encoder.choice)
        architecture |= chosen
        architecture |= seen_as_colours(architecture, len(fingerprint.intensity))
        return
    from nucplan.networks.encoders.registry import find_card

    plans["nucplan"]["weights"] = weights_record(encoder.request.weights, find_card(encoder.request.name).licence) | {
        "marker_embeddings": encoder.embeddings_file
    }
    plans["nucplan"]["contract"] = contract.to_json(encoder, deviations)


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
    fingerprint: Fingerprint,
    limits: Limits,
    labels: Sequence[np.ndarray],
    overrides: Mapping[str, Any],
    encoder: PretrainedEncoder | None = None,
) -> dict[str, Decision]:
    """Call the rules in order."""
    check_names(overrides)
    if encoder is not None:
        check_beside_weights(overrides, encoder.markers is not None)
    decisions = _Decisions(overrides)
    ceilings = _scale_and_targets(decisions, fingerprint, labels)
    upsampling, kernel = decisions["scale"].value, decisions["boundary_kernel"].value
    _decoding(decisions, fingerprint, labels, ceilings)
    _patches(decisions, fingerprint, limits, encoder)
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


def _patches(
    decisions: _Decisions, fingerprint: Fingerprint, limits: Limits, encoder: PretrainedEncoder | None
) -> None:
    """What the network sees per step; costs are counted on the network that the plan describes.

    Patch and batch are those of the ablation for ``cellvta`` as well, so that it compares with the other configs; its
    adapter, which a step takes more memory and time for, is not counted.
    """
    upsampling, settle = decisions["scale"].value, decisions.settle
    settle("network_width", rules.network_width(limits))
    scales = settle("boundary_scales", rules.boundary_scales(fingerprint, upsampling))
    settle("encoder", rules.encoder(encoder))
    settle("adapter", rules.adapter())
    of_markers = encoder is not None and encoder.markers is not None
    settle("normalization", rules.normalization(fingerprint, encoder is not None and not of_markers))
    scheme = "virtues" if of_markers else "planned"
    settle("marker_normalization", _marker_normalization(fingerprint, decisions["normalization"], scheme))
    settle("channels", rules.channels(fingerprint))
    # The costliest config of the ablation is counted, so that the same plan serves all of them.
    architecture = _architecture(fingerprint, decisions, encoder)["arch_kwargs"] | {
        "boundary_strides": [int(stride) for stride in scales],
        "boundary_attention": True,
    }
    channels, classes = len(fingerprint.intensity), len(fingerprint.class_instances)

    @cache
    def count(side: int) -> cost.StepCost:
        return cost.count(architecture, channels, classes, side, limits.device)

    wanted = count(rules.useful_patch(fingerprint, upsampling))
    least = contract.least_patch(fingerprint, upsampling, encoder)
    patch = settle("patch_size", rules.patch_size(fingerprint, limits, upsampling, wanted, least))
    settle("batch_size", rules.batch_size(fingerprint, limits, upsampling, count(patch[0])))
    overlap = contract.least_overlap(fingerprint, upsampling, encoder)
    settle("tile_overlap", rules.tile_overlap(fingerprint, upsampling, patch, overlap))


def _marker_normalization(fingerprint: Fingerprint, normalization: Decision, scheme: str) -> Decision:
    if fingerprint.markers is not None and normalization.overridden:
        return Decision(None, "You set 'normalization', whose schemes are applied as they are.")
    return rules.marker_normalization(fingerprint, scheme)


def _configuration(
    fingerprint: Fingerprint, decisions: Mapping[str, Decision], pretrained: PretrainedEncoder | None
) -> dict[str, Any]:
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
        "architecture": _architecture(fingerprint, decisions, pretrained),
    }


def _resampling(kind: str, order: int, is_seg: bool = False) -> dict[str, Any]:
    arguments = {"is_seg": is_seg, "order": order, "order_z": 0, "force_separate_z": None}
    return {f"resampling_fn_{kind}": "resample_data_or_seg_to_shape", f"resampling_fn_{kind}_kwargs": arguments}


def _architecture(
    fingerprint: Fingerprint, decisions: Mapping[str, Decision], pretrained: PretrainedEncoder | None
) -> dict[str, Any]:
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
    if pretrained is not None and pretrained.markers is not None:
        mpp = contract.pixel_size(fingerprint, decisions["scale"].value, pretrained)
        arguments["encoder_options"] = {**pretrained.options, "mpp": mpp}
    return {"network_class_name": NETWORK, "arch_kwargs": arguments, "_kw_requires_import": []}
