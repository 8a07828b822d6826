"""The family of decoders: what each reads, what is tried, and what varies."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from nucplan.decoder_candidates import FIELDS, LADDERS, Candidate, candidates, variations
from nucplan.decoder_plan import DECODERS, DecoderPlan
from nucplan.instances import NucleusProbabilities, decode

# What follows from the annotation, and is never searched.
GIVEN = {"name", "diameter", "disc_area", "minimum_area", "minimum_pixels", "maximum_hole", "minimum_seed"}


class Recording(DecoderPlan):
    """A plan that knows which of its attributes were read."""

    def __getattribute__(self, name: str):
        if not name.startswith("_"):
            object.__getattribute__(self, "__dict__").setdefault("_read", set()).add(name)
        return super().__getattribute__(name)


@pytest.mark.parametrize("name", DECODERS)
def test_the_fields_of_a_decoder_are_those_that_it_reads(name):
    discs = np.zeros((48, 64), np.uint8)
    for column in (20, 34):
        cv2.circle(discs, (column, 24), 9, 1, -1)
    inside = cv2.GaussianBlur(discs.astype(np.float32), (0, 0), 1)
    maps = NucleusProbabilities(np.stack([1 - inside, inside]), 4 * inside * (1 - inside))
    plan = Recording(18.0, name)
    vars(plan).pop("_read", None)
    assert len(decode(maps, plan).table)
    assert vars(plan)["_read"] - GIVEN == set(FIELDS[name])


@pytest.mark.parametrize("name", DECODERS)
def test_a_candidate_says_all_of_a_plan_but_what_the_annotation_says(name):
    plan = DecoderPlan(17.0, name, seed_spacing=0.45, neck=0.66, minimum_area=0.01)
    assert Candidate.of(plan).plan(DecoderPlan(31.0, minimum_area=0.02)).minimum_area == 0.02
    again = Candidate.of(plan).plan(DecoderPlan(17.0, minimum_area=0.01))
    assert (again.name, again.diameter, again.seed_spacing, again.neck) == (name, 17.0, 0.45, 0.66)
    assert Candidate.of(again) == Candidate.of(plan)


def test_the_grid_starts_with_the_plan_and_has_every_decoder_with_its_defaults_once():
    plan = DecoderPlan(20.0, "interior", neck=0.55)
    found = candidates(plan, has_boundary=True)
    assert found[0] == Candidate.of(plan)
    assert len(found) == len(set(found)) < 100
    assert {Candidate.of(DecoderPlan.default(name, 1.0)) for name in DECODERS} <= set(found)


def test_without_a_boundary_only_the_outline_parts_nuclei():
    found = candidates(DecoderPlan(20.0), has_boundary=False)
    assert {candidate.name for candidate in found} == {"distance"}


def test_two_sets_with_the_decoder_of_one_have_the_same_candidates():
    small, large = DecoderPlan(9.0, minimum_area=0.02), DecoderPlan(40.0)
    assert candidates(small, True) == candidates(large, True)


@pytest.mark.parametrize("name", DECODERS)
def test_variations_differ_in_one_field_and_hold_the_candidate_between_its_neighbours(name):
    centre = Candidate.of(DecoderPlan.default(name, 1.0))
    assert set(variations(centre)) == set(FIELDS[name])
    for field, row in variations(centre).items():
        assert [one.values[field] for one in row] == sorted(LADDERS[field])
        assert all({**one.values, field: 0} == {**centre.values, field: 0} for one in row)
        near = variations(centre, reach=1)[field]
        assert near == row[max(0, row.index(centre) - 1) : row.index(centre) + 2]


def test_a_value_off_the_ladder_has_neighbours_on_it():
    row = variations(Candidate.of(DecoderPlan(1.0, neck=0.75)), reach=1)["neck"]
    assert [one.values["neck"] for one in row] == [0.7, 0.75, 0.8]


def test_another_decoder_is_farther_than_any_other_fraction():
    own = Candidate.of(DecoderPlan.default("interior", 1.0))
    near, far = (Candidate.of(DecoderPlan(1.0, "interior", neck=neck, smoothing=0.05)) for neck in (0.7, 0.95))
    other = Candidate.of(DecoderPlan(1.0, "tempered", neck=0.6, smoothing=0.05))
    assert own.steps_from(own) < near.steps_from(own) < far.steps_from(own) < other.steps_from(own)
