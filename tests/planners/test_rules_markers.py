"""Panels and normalisation of multiplex images, from what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nucplan.errors import NucplanError
from nucplan.plans import essence, panel_decision
from planners import cost
from planners.overrides import apply_override
from planners.rules import channels, marker_normalization

MOMENTS = {"linear": {"mean": 1.0, "std": 2.0}, "log": {"mean": 0.5, "std": 0.6}}
MOMENTS |= {"image_q99_log": {"mean": 0.3, "std": 0.4}}


def marker(zero_fraction: float = 0.2, clip: float = 50.0, unit: float = 1.0, cases: int = 1) -> dict:
    return {"cases": cases, "unit": unit, "zero_fraction": zero_fraction, "clip": clip, **MOMENTS}


@pytest.fixture
def multiplex(fingerprint_of):
    """A fingerprint of one case with these markers."""
    return lambda **markers: replace(fingerprint_of(), markers=markers)


def test_grey_and_rgb_have_neither(fingerprint_of) -> None:
    assert channels(fingerprint_of()).value is None
    assert marker_normalization(fingerprint_of()).value is None
    assert marker_normalization(fingerprint_of(), "virtues").value is None


def test_the_panel_varies_where_a_marker_is_not_in_all_cases(multiplex) -> None:
    same = multiplex(**{name: marker() for name in "ABCD"})
    assert channels(same).value == {"panel": "fixed", "dropout": [0.1, 0.1]}
    assert channels(multiplex(A=marker(), B=marker())).value == {"panel": "fixed", "dropout": [0.0, 0.0]}
    differing = channels(multiplex(A=marker(), B=marker(cases=0)))
    assert differing.value == {"panel": "varying", "dropout": [0.0, 0.25]}
    assert differing.inputs["markers_that_images_lack"] == ["B"]


def test_sparse_markers_and_those_of_a_wide_range_go_to_the_logarithm(multiplex) -> None:
    found = multiplex(
        sparse=marker(0.6), wide=marker(0.1, 120.0), plain=marker(0.4, 90.0), scaled=marker(0.1, 1200.0, unit=40.0)
    )
    rules = marker_normalization(found).value
    assert [(rule["marker"], rule["log"]) for rule in rules] == [
        ("sparse", True), ("wide", True), ("plain", False), ("scaled", False),
    ]  # fmt: skip
    assert rules[0] == {"marker": "sparse", "clip": 50.0, "unit": 1.0, "log": True, **MOMENTS["log"]}
    assert rules[3] == {"marker": "scaled", "clip": 1200.0, "unit": 40.0, "log": False, **MOMENTS["linear"]}


def test_decisions_that_are_null_leave_the_plan_what_it_was() -> None:
    decided = {"scale": {"value": 1}}
    older, now = ({"nucplan": {"decisions": decided | more}} for more in ({}, {"channels": {"value": None}}))
    assert essence(older) == essence(now)
    assert panel_decision(older) is None
    assert panel_decision(now) is None


def test_a_user_may_prepare_a_fixed_panel_for_others_but_not_the_reverse(multiplex, fingerprint_of) -> None:
    fixed = channels(multiplex(**{name: marker() for name in "ABCD"}))
    chosen = apply_override("channels", fixed, {"panel": "varying", "dropout": [0, 0.5]}, {})
    assert chosen.value == {"panel": "varying", "dropout": [0.0, 0.5]}
    varying = channels(multiplex(A=marker(), B=marker(cases=0)))
    for decision, value, words in (
        (varying, {"panel": "fixed"}, "images of this dataset lack markers"),
        (fixed, {"dropout": [0.3, 0.1]}, "lowest to its highest"),
        (channels(fingerprint_of()), {"panel": "varying"}, "is for multiplex images, but these are grey or RGB"),
    ):
        with pytest.raises(NucplanError, match=words):
            apply_override("channels", decision, value, {})
    with pytest.raises(NucplanError, match="set normalization, whose schemes then take its place"):
        apply_override("marker_normalization", fixed, [], {})


def test_the_cost_of_the_stem_is_counted_and_grows_with_the_channels() -> None:
    plain = {"encoder": "vit_tiny_patch16_224", "encoder_depth": 1, "features_per_stage": [4] * 5}
    few, many = (cost.count(plain | {"channel_stem": {}}, markers, 1, 32, "cpu") for markers in (4, 12))
    assert many.bytes_per_sample > 1.5 * few.bytes_per_sample
    assert many.flops_per_sample > 1.5 * few.flops_per_sample
