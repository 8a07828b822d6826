"""The decoder is one that gives the labels back, and its lengths follow the nuclei."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.instances import DECODERS, DecoderPlan
from planners import rules
from planners.oracle import Ceiling

GOOD = Ceiling(0.99, 0.98)
diameters = st.floats(3, 120)


def ceilings(**changed: Ceiling) -> dict[str, Ceiling]:
    return dict.fromkeys(DECODERS, GOOD) | changed


@pytest.mark.parametrize("name", DECODERS)
def test_the_planned_diameter_follows_the_scale(fingerprint_of, name) -> None:
    plan = rules.decoder_plan(fingerprint_of(d5=6, d50=7.5), 2, name)
    assert plan == DecoderPlan.default(name, 15)


@settings(max_examples=60, deadline=None)
@given(diameters, st.floats(0.1, 1), st.sampled_from([1, 2]))
def test_the_smallest_instance_is_under_half_of_the_area_of_the_smallest_nuclei(
    fingerprint_of, d50, share, upsampling
) -> None:
    d5 = share * d50
    plan = rules.decoder_plan(fingerprint_of(d5=d5, d25=d50, d50=d50), upsampling, "interior")
    assert 0 <= plan.minimum_area <= 0.06
    assert plan.minimum_area * d50**2 <= 0.5 * d5**2 + 1e-4 * d50**2


def test_decoders_that_lose_labels_are_ruled_out(fingerprint_of) -> None:
    decision = rules.decoder(fingerprint_of(), 1, ceilings(interior=Ceiling(0.96, 0.99), tempered=Ceiling(0.95, 0.99)))
    assert decision.value["name"] == "boundary"
    assert "ruled out: tempered, interior" in decision.because
    assert decision.limit is None


def test_blurred_ceilings_decide_and_near_equal_ones_go_by_network_output(fingerprint_of) -> None:
    better = rules.decoder(fingerprint_of(), 1, ceilings(boundary=Ceiling(0.99, 0.999)))
    equal = rules.decoder(fingerprint_of(), 1, ceilings(boundary=Ceiling(0.99, 0.985)))
    assert (better.value["name"], equal.value["name"]) == ("boundary", "tempered")


def test_a_decoder_is_named_even_where_none_gives_the_labels_back(fingerprint_of) -> None:
    poor = dict.fromkeys(DECODERS, Ceiling(0.6, 0.5)) | {"tempered": Ceiling(0.7, 0.65)}
    decision = rules.decoder(fingerprint_of(), 2, poor)
    assert decision.value["name"] == "tempered"
    assert decision.limit


def test_networks_without_a_boundary_are_decoded_from_the_foreground_alone(fingerprint_of) -> None:
    faithful = rules.foreground_decoder(fingerprint_of(), 1, ceilings())
    merged = rules.foreground_decoder(fingerprint_of(), 1, ceilings(distance=Ceiling(0.85, 0.8)))
    assert faithful.value["name"] == merged.value["name"] == "distance"
    assert faithful.limit is None
    assert "0.850" in merged.because
    assert merged.limit


def test_the_ceiling_is_a_number_beside_those_of_fixed_constants(fingerprint_of) -> None:
    others = {"core_border": Ceiling(0.95, 0.9), "fixed_40x": Ceiling(0.8, 0.7)}
    decision = rules.oracle_ceiling("interior", ceilings(), others, 7)
    assert decision.value == 0.99
    assert decision.inputs["fixed_40x"] == {"clean": 0.8, "blurred": 0.7}
    assert decision.inputs["ceilings"]["tempered"] == {"clean": 0.99, "blurred": 0.98}
    assert rules.oracle_ceiling("interior", ceilings(interior=Ceiling(0.9, 0.8)), others, 7).limit
