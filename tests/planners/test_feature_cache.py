"""The rule that stores the maps of a frozen encoder, and the name of a plan that does not follow it."""

from __future__ import annotations

import json
from functools import cache

import pytest
from torch import nn

from nucplan.errors import NucplanError
from planners import cost
from planners.feature_cache import (
    LIMIT_GIB,
    feature_cache,
    network_of,
    plan_feature_cache,
    refuse_changing_features,
)

SMALL, LARGE = "vit_tiny_patch16_224", "vit_large_patch16_224"
SHAPES = [(256, 256)] * 10


@pytest.fixture(autouse=True)
def _counted_once(monkeypatch) -> None:
    monkeypatch.setattr(cost, "count", _count)


def _count(architecture, *rest) -> cost.StepCost:
    return _counted(json.dumps(architecture), *rest)


@cache
def _counted(architecture: str, *rest, count=cost.count) -> cost.StepCost:
    return count(json.loads(architecture), *rest)


def plans(encoder: str = LARGE, frozen: bool = True, **arguments) -> dict:
    architecture = {
        "encoder": encoder,
        "encoder_frozen": frozen,
        "encoder_depth": 4,
        "features_per_stage": [8, 8, 16, 32, 64],
    }
    configuration = {
        "architecture": {"arch_kwargs": {**architecture, **arguments}}, "patch_size": [128, 128], "batch_size": 4,
    }  # fmt: skip
    decisions = {"boundary_scales": {"value": {"1": 1.0, "2": 0.5}}, "iterations": {"value": {"standard": 2500}}}
    return {
        "configurations": {"2d": configuration},
        "plans_name": "nucplanPlans",
        "nucplan": {"decisions": decisions},
    }


def planned(*arguments, **options) -> tuple[bool, str]:
    made = plan_feature_cache(*arguments, **options)
    return made["nucplan"]["decisions"]["feature_cache"]["value"], made["plans_name"]


def test_a_large_frozen_encoder_is_stored_and_a_tiny_one_is_not() -> None:
    assert planned(plans(LARGE), 3, 2, SHAPES) == (True, "nucplanPlans")
    assert planned(plans(SMALL), 3, 2, SHAPES) == (False, "nucplanPlans")


def test_the_plan_says_why() -> None:
    made = plan_feature_cache(plans(LARGE), 3, 2, SHAPES)["nucplan"]["decisions"]["feature_cache"]
    # Four maps of 1,024 channels at stride 16, two bytes each, eight symmetries, and the head of the file.
    assert made["from"]["predicted_bytes"] == 10 * (8 * 2 * 4 * 1024 * 16 * 16 + 128)
    assert made["from"]["encoder_share"] > 0.5
    assert "0.156 GiB" in made["because"]


def test_what_a_user_wants_wins_and_shows_in_the_name() -> None:
    assert planned(plans(LARGE), 3, 2, SHAPES, wanted=False) == (False, "nucplanPlans_live")
    assert planned(plans(LARGE), 3, 2, SHAPES, wanted=True) == (True, "nucplanPlans")
    assert planned(plans(SMALL), 3, 2, SHAPES, wanted=True) == (True, "nucplanPlans_cached")


def test_the_limit_bounds_the_rule_and_what_is_wanted() -> None:
    assert planned(plans(LARGE), 3, 2, SHAPES, limit_gib=0.1) == (False, "nucplanPlans_live")
    with pytest.raises(NucplanError, match="--cache-limit"):
        plan_feature_cache(plans(LARGE), 3, 2, SHAPES, wanted=True, limit_gib=0.1)
    long = plans(LARGE)
    long["nucplan"]["decisions"]["iterations"]["value"]["standard"] = 10**6
    assert planned(long, 3, 2, SHAPES * 200) == (False, "nucplanPlans")
    assert planned(long, 3, 2, SHAPES * 200, limit_gib=200) == (True, "nucplanPlans_cached")


def test_a_training_that_sees_less_than_would_be_computed_stores_nothing() -> None:
    assert feature_cache(4.0, 1.0, seen=1000, stored=1000, size=1, limit_gib=LIMIT_GIB).value
    assert not feature_cache(4.0, 1.0, seen=999, stored=1000, size=1, limit_gib=LIMIT_GIB).value


def test_a_plan_with_a_trained_encoder_stays_as_it_is() -> None:
    trained = plans(LARGE, frozen=False)
    assert plan_feature_cache(trained, 3, 2, SHAPES) is trained
    with pytest.raises(NucplanError, match="this one is trained"):
        refuse_changing_features(network_of(trained, {}, 3, 2))


def test_an_encoder_in_an_adapter_is_refused() -> None:
    network = network_of(plans(SMALL), {}, 3, 2)
    refuse_changing_features(network)
    network.encoder = Adapted(network.encoder)
    assert not network.maps_are_fixed
    with pytest.raises(NucplanError, match="adapter"):
        refuse_changing_features(network)


class Adapted(nn.Module):
    """An encoder with something around it, as `nucplan.networks.adapter` builds it."""

    frozen = takes_panels = True

    def __init__(self, plain) -> None:
        super().__init__()
        self.plain = plain
