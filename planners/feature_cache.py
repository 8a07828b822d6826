"""Whether a training reads the maps of its frozen encoder from disk: where it pays, and where they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch

from nucplan.encoded_maps import MapLayout
from nucplan.errors import NucplanError
from nucplan.layout import CONFIGURATION
from nucplan.networks.nucleus_net import NucleusNet
from nucplan.plans import LIMIT_GIB, decision
from nucplan.symmetries import SYMMETRIES
from planners import cost
from planners.rules.decision import Decision

# A step must become this much faster: stored maps know no rotation, no zoom and no change of colours.
WORTHWHILE = 1.5


def network_of(plans: dict[str, Any], arguments: dict[str, Any], channels: int, classes: int) -> NucleusNet:
    """The network of a plan, without memory for its weights; ``arguments`` are those that a config adds."""
    architecture = plans["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]
    with torch.device("meta"):
        return NucleusNet(channels, classes + 1, **{**architecture, **arguments})


def refuse_changing_features(network: NucleusNet) -> None:
    """Do nothing, or refuse.

    Raises
    ------
    NucplanError
        If what the decoder reads of the encoder changes in training.
    """
    if not network.encoder.plain.frozen:
        raise NucplanError(
            "--cache-features and --cache-limit are about a frozen encoder, and this one is trained; give pretrained "
            "--weights without --train-encoder, or leave them out."
        )
    if not network.maps_are_fixed:
        raise NucplanError(
            "The features of this encoder depend on parts that are trained (an adapter or a stem); "
            "leave --cache-features and --cache-limit out."
        )


def preprocessed_shapes(cases: Mapping[str, Mapping[str, Any]], plans: dict[str, Any]) -> list[tuple[int, int]]:
    """(H, W) of all images of the fingerprint's ``cases`` as they will be preprocessed."""
    upsampling = decision(plans, "scale")
    return [tuple(upsampling * side for side in case["size_nonzero"]) for case in cases.values()]


def plan_feature_cache(
    plans: dict[str, Any],
    channels: int,
    classes: int,
    shapes: Sequence[tuple[int, int]],
    wanted: bool | None = None,
    limit_gib: float | None = None,
) -> dict[str, Any]:
    """The plan with the decision ``feature_cache``; the plan itself where the encoder is trained.

    Its name gets the suffix ``cached`` or ``live`` where the decision is another one than the rule's with its own
    limit: results differ, and a name must not depend on the disk.

    Parameters
    ----------
    channels, classes
        Of the images, and K without the background.
    shapes
        (H, W) of all preprocessed images.
    wanted
        What the user wants; None for the rule.
    limit_gib
        The most that the maps may take on disk, None for `LIMIT_GIB`.

    Raises
    ------
    NucplanError
        If the maps are wanted and take more.
    """
    network = network_of(plans, {}, channels, classes)
    if not network.maps_are_fixed:
        return plans
    derived = deepcopy(plans)
    configuration = derived["configurations"][CONFIGURATION]
    layout = MapLayout(network.encoder.channels, tuple(network.encoder.tap_strides), configuration["patch_size"][0])
    steps = _step_seconds(derived, channels, classes, layout.patch)
    size, passes = layout.bytes(shapes), _passes(derived, layout, shapes)
    rule = feature_cache(*steps, *passes, size, LIMIT_GIB)
    limit = LIMIT_GIB if limit_gib is None else limit_gib
    if wanted and size > limit * 2**30:
        raise NucplanError(
            f"The features of {len(shapes)} images take {size / 2**30:.3g} GiB, and {limit:g} GiB are the limit; "
            "raise --cache-limit or leave --cache-features out."
        )
    made = feature_cache(*steps, *passes, size, limit)
    if wanted is not None and wanted != made.value:
        made = Decision(wanted, "Set by the user.", made.inputs, overridden=True)
    derived["nucplan"]["decisions"]["feature_cache"] = made.to_json()
    if made.value != rule.value:
        derived["plans_name"] += "_cached" if made.value else "_live"
    return derived


def feature_cache(
    live_seconds: float, cached_seconds: float, seen: int, stored: int, size: int, limit_gib: float
) -> Decision:
    """Store the maps where a step gets faster by half, one training wins the time back, and the disk may hold them.

    Parameters
    ----------
    live_seconds, cached_seconds
        Of a training step with and without the encoder.
    seen, stored
        Patches that the encoder sees in a training of the standard budget, and in computing the maps once.
    size
        Of all maps, in bytes.
    limit_gib
        The most that they may take.
    """
    faster = live_seconds / cached_seconds
    inputs = {
        "times_as_fast": round(faster, 2),
        "encoder_share": round(1 - cached_seconds / live_seconds, 3),
        "patches_seen": seen,
        "patches_stored": stored,
        "predicted_bytes": size,
        "limit_bytes": int(limit_gib * 2**30),
    }
    told = (
        f"The maps of the frozen encoder take {size / 2**30:.3g} GiB; without it a step is {faster:.1f} times as fast"
    )
    if faster < WORTHWHILE:
        return Decision(False, f"{told}, less than the {WORTHWHILE} that make up for lost augmentation.", inputs)
    if stored > seen:
        return Decision(False, f"{told}, but a training sees fewer patches than would be computed first.", inputs)
    if size > inputs["limit_bytes"]:
        return Decision(False, f"{told}, but {limit_gib:g} GiB are the limit.", inputs, "disk")
    return Decision(True, f"{told}, and they are computed once for all folds.", inputs)


def _step_seconds(plans: dict[str, Any], channels: int, classes: int, patch: int) -> tuple[float, float]:
    # Of the costliest config, and by the rates of one core: a plan is the same on all machines.
    architecture = plans["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"] | {
        "boundary_strides": [int(stride) for stride in decision(plans, "boundary_scales")],
        "boundary_attention": True,
    }
    live, cached = (
        cost.count(architecture, channels, classes, patch, "cpu", with_encoder).seconds(1, 1)
        for with_encoder in (True, False)
    )
    return live, cached


def _passes(plans: dict[str, Any], layout: MapLayout, shapes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    batch = plans["configurations"][CONFIGURATION]["batch_size"]
    seen = decision(plans, "iterations")["standard"] * batch
    return seen, len(SYMMETRIES) * sum(layout.tiles(shape) for shape in shapes)
