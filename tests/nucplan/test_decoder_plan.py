"""A decoder plan keeps what it was given and refuses what it does not know."""

from __future__ import annotations

import json

import pytest

from nucplan.decoder_plan import DECODERS, DecoderPlan, needs_boundary
from nucplan.errors import NucplanError


@pytest.mark.parametrize("name", DECODERS)
def test_the_plan_of_each_decoder_survives_json(name):
    plan = DecoderPlan.default(name, 17.3)
    assert DecoderPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert (plan.name, plan.diameter) == (name, 17.3)


def test_a_plan_without_a_name_is_one_of_the_distance_decoder():
    assert DecoderPlan.from_dict({"diameter": 12}) == DecoderPlan.default("distance", 12.0)


def test_all_but_the_distance_decoder_need_the_boundary():
    assert [name for name in DECODERS if not needs_boundary(name)] == ["distance"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"diameter": 12, "spcing": 1}, "spcing"),
        ({"neck": 0.8}, "misses 'diameter'"),
        ({"diameter": 0}, "above 0"),
        ({"diameter": 12, "neck": "0.8"}, "no number"),
        ({"diameter": 12, "neck": True}, "no number"),
        ({"diameter": 12, "foreground_threshold": 1}, "between 0 and 1"),
        ({"diameter": 12, "name": "bondary"}, "distance, boundary, tempered, interior"),
        ({"diameter": 12, "name": ["boundary"]}, "no instance decoder"),
    ],
)
def test_a_damaged_plan_is_refused_with_what_is_wrong(values, message):
    with pytest.raises(NucplanError, match=message):
        DecoderPlan.from_dict(values)


def test_an_unknown_decoder_is_refused_with_the_choices():
    for call in (needs_boundary, lambda name: DecoderPlan.default(name, 10)):
        with pytest.raises(NucplanError, match="distance, boundary, tempered, interior"):
            call("watershed")
