"""Decisions set by a user: checked for type and range, completed, stored in the planned type, marked."""

from __future__ import annotations

import json
import math
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.decoder_plan import DecoderPlan
from nucplan.errors import NucplanError
from planners.overrides import DECODER_NUMBERS, FORMS, MEASURED, apply_override, check_names
from planners.planner import DECISIONS
from planners.rules import Decision

PLANNED = {
    "scale": 1,
    "patch_size": [128, 128],
    "batch_size": 4,
    "network_width": [24, 32, 64, 96, 128],
    "encoder": {"name": "vit_tiny_patch16_224", "depth": 6, "frozen": False, "taps": [1, 2, 3, 5]},
    "adapter": {"injection_blocks": [1, 2, 3, 4]},
    "normalization": ["ZScoreNormalization"] * 3,
    "channels": {"panel": "fixed", "dropout": [0.1, 0.1]},
    "tile_overlap": 40,
    "boundary_kernel": 3,
    "weight_kernel": 5,
    "boundary_beta": 3.2,
    "boundary_scales": {"1": 1.0, "2": 0.5},
    "boundary_pos_weight": 2.5,
    "boundary_loss_weight": 0.2,
    "boundary_weight_normalised": True,
    "gate": {"alpha": 1.0, "start": 0.1, "full": 0.3},
    "oversampling": 0.85,
    "decoder": DecoderPlan.default("interior", 18.0).to_dict() | {"minimum_area": 0.02},
    "foreground_decoder": DecoderPlan.default("distance", 18.0).to_dict(),
    "iterations": {"quick": 150, "standard": 5000, "full": 50000},
    "queries": 96,
}


def override(name: str, value: object) -> Decision:
    return apply_override(name, Decision(PLANNED[name], "So.", {"d50_px": 18.0}, limit="x"), value, PLANNED)


def test_every_decision_of_the_planner_can_be_set_or_is_measured() -> None:
    # The last stands in plans of a frozen encoder alone.
    assert {*FORMS, *MEASURED} == {*DECISIONS, "feature_cache"}
    assert set(PLANNED) == set(FORMS)
    assert {*DECODER_NUMBERS, "name"} == {field.name for field in fields(DecoderPlan)}


@pytest.mark.parametrize("name", PLANNED)
def test_what_was_planned_can_be_set_and_stays_as_it_is(name: str) -> None:
    decision = override(name, json.loads(json.dumps(PLANNED[name])))
    assert json.dumps(decision.value) == json.dumps(PLANNED[name])
    assert decision.overridden
    assert decision.limit is None
    assert decision.inputs == {"d50_px": 18.0}
    assert decision.because.startswith("You set it; planned was ")
    assert decision.because.endswith("So.")


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("patch_size", 96, [96, 96]),
        ("boundary_beta", 3, 3.0),
        ("gate", {"alpha": 2}, {"alpha": 2.0, "start": 0.1, "full": 0.3}),
        ("iterations", {"standard": 2000}, {"quick": 150, "standard": 2000, "full": 50000}),
        ("boundary_scales", {"16": 1, "4": 0.5}, {"4": 0.5, "16": 1.0}),
        ("normalization", "NoNormalization", ["NoNormalization"] * 3),
        ("decoder", {"seed_spacing": 1}, PLANNED["decoder"] | {"seed_spacing": 1.0}),
        ("tile_overlap", 64, 64),
        ("adapter", {"injection_blocks": [3, 1]}, {"injection_blocks": [1, 3]}),
        ("adapter", {"injection_blocks": []}, {"injection_blocks": []}),
    ],
)
def test_values_are_completed_and_stored_in_the_planned_type(name: str, value: object, stored: object) -> None:
    assert json.dumps(override(name, value).value) == json.dumps(stored)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("scale", 3, "from 1 to 2, not 3; planned was 1"),
        ("adapter", {"injection_blocks": [0]}, "different numbers from 1 to 4, not [0]"),
        ("adapter", {"injection_blocks": [2, 2]}, "different numbers from 1 to 4"),
        ("adapter", {"injection_blocks": 1}, "a list of different numbers from 1 to 4, not 1"),
        ("adapter", {"injection_blocks": [True]}, "not [true]"),
        ("scale", True, "not true"),
        ("patch_size", 100, "multiple of 32"),
        ("patch_size", [96, 128], "square"),
        ("patch_size", "large", 'not "large"'),
        ("patch_size", 96.0, "not 96.0"),
        ("batch_size", 0, "1 or more"),
        ("batch_size", True, "not true"),
        ("network_width", [16], "a list of 5"),
        ("network_width", [8, 8, 0, 8, 8], "Entry 3 of the decision 'network_width'"),
        ("encoder", {"deph": 4}, "no part 'deph'; did you mean depth?"),
        ("encoder", 4, "parts of it, such as"),
        ("encoder", {"frozen": 1}, "true or false"),
        ("encoder", {"name": "vit_tiniest"}, "vit_tiniest"),
        ("encoder", {"taps": [0, 2, 3, 6]}, "from 0 to 5"),
        ("encoder", {"taps": [3, 2, 1, 0]}, "in their order"),
        ("normalization", ["NoNormalization"], "a list of 3"),
        ("normalization", "None", "one of ZScoreNormalization"),
        ("tile_overlap", 65, "from 1 to 64"),
        ("boundary_kernel", 4, "an odd whole number from 3 to 9"),
        ("boundary_kernel", 1, "an odd whole number from 3 to 9"),
        ("weight_kernel", 17, "an odd whole number from 1 to 15"),
        ("boundary_beta", 11, "from 0 to 10, not 11; planned was 3.2"),
        ("boundary_beta", math.nan, "not NaN"),
        ("boundary_beta", math.inf, "not Infinity"),
        ("boundary_beta", "3", 'not "3"'),
        ("boundary_scales", {"3": 1.0}, "strides of 1, 2, 4, 8, 16"),
        ("boundary_scales", {}, "one to three strides"),
        ("boundary_scales", dict.fromkeys("1248", 1.0), "one to three strides"),
        ("boundary_scales", {"2": 0}, "Stride 2 of the decision 'boundary_scales' takes a number above 0"),
        ("boundary_pos_weight", 0, "above 0, up to 100"),
        ("boundary_loss_weight", 1.5, "from 0 to 1"),
        ("gate", {"alpha": 5}, "The part 'alpha' of the decision 'gate' takes a number from 0 to 4, not 5"),
        ("gate", {"start": 0.5}, "not before its 'start'"),
        ("oversampling", -0.1, "from 0 to 1"),
        ("decoder", {"name": "magic"}, "one of distance"),
        ("decoder", {"neck": math.nan}, "The part 'neck' of the decision 'decoder'"),
        ("decoder", {"diameter": 0}, "above 0"),
        ("foreground_decoder", {"name": "interior"}, "one of distance, not"),
        ("iterations", {"quick": 1.5}, "a whole number of 1 or more"),
        ("queries", 1001, "from 1 to 1000"),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence_that_names_the_decision(name, value, message: str) -> None:
    with pytest.raises(NucplanError) as caught:
        override(name, value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value) or "timm" in str(caught.value)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=6,
)


@pytest.mark.parametrize("name", sorted(set(PLANNED) - {"encoder"}))
@settings(max_examples=30, deadline=None)
@given(json_values)
def test_any_json_is_taken_or_refused_and_never_stored_as_another_type(name: str, value: object) -> None:
    def types(content: object) -> object:
        if isinstance(content, dict):
            return {type(part) for part in content.values()} if name == "boundary_scales" else sorted(content)
        return [type(entry) for entry in content] if isinstance(content, list) else type(content)

    try:
        stored = override(name, value).value
    except NucplanError:
        return
    assert types(stored) == types(PLANNED[name])
    json.dumps(stored, allow_nan=False)


def test_taps_follow_the_depth_unless_they_are_set() -> None:
    assert max(override("encoder", {"depth": 4}).value["taps"]) == 3
    assert override("encoder", {"depth": 4, "taps": [0, 1, 1, 2]}).value["taps"] == [0, 1, 1, 2]


def test_another_decoder_comes_with_its_own_fractions_and_keeps_the_sizes() -> None:
    assert PLANNED["decoder"]["neck"] != DecoderPlan.default("boundary", 18.0).neck
    stored = override("decoder", {"name": "boundary", "smoothing": 0.3}).value
    expected = DecoderPlan.default("boundary", 18.0).to_dict() | {"minimum_area": 0.02, "smoothing": 0.3}
    assert stored == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("patchsize", "no decision 'patchsize'; did you mean patch_size"),
        ("beta", "did you mean boundary_beta?"),
        ("qqq", "its decisions are scale, patch_size, batch_size"),
        ("oracle_ceiling", "measured and cannot be set"),
    ],
)
def test_a_name_that_cannot_be_set_lists_the_near_ones(name: str, message: str) -> None:
    with pytest.raises(NucplanError) as caught:
        check_names(["scale", name])
    assert message in str(caught.value)
