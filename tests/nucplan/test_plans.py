"""What of a plan its results depend on."""

from __future__ import annotations

from nucplan.plans import essence


def plan(**decisions) -> dict:
    values = {"boundary_beta": 0.5, "network_width": [4, 8], **decisions}
    return {
        "configurations": {"2d": {"patch_size": [64, 64], "architecture": {"arch_kwargs": {"encoder": "vit"}}}},
        "nucplan": {"decisions": {name: {"value": value, "because": "so"} for name, value in values.items()}},
    }


def test_a_plan_made_anew_is_the_one_of_a_nucplan_that_knew_no_adapter_and_no_stored_features() -> None:
    now = plan(adapter={"injection_blocks": [1, 2, 3, 4]}, feature_cache=False, channels=None)
    assert essence(now) == essence(plan())


def test_an_adapter_of_another_kind_and_stored_features_are_another_plan() -> None:
    assert essence(plan(adapter={"injection_blocks": [1]})) != essence(plan())
    assert essence(plan(feature_cache=True)) != essence(plan())
