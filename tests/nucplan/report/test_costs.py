"""Ratios of costs stand only where both trainings did the same work."""

from __future__ import annotations

import pytest

from nucplan.report.costs import GROUPS, conditions_text, cost_rows

TITLES = [column.title for columns in GROUPS.values() for column in columns]


@pytest.mark.parametrize(("features", "ratio"), [("computed", "2.00x"), ("stored", None), ("computed or stored", None)])
def test_a_training_on_stored_features_is_marked_and_not_held_against_one_that_computed_them(features, ratio):
    baseline = {"seconds_per_iteration": 0.5, "parameters": 10**6, "peak_memory_bytes": 2**30, "features": "computed"}
    costs = {"baseline": baseline, "other": baseline | {"seconds_per_iteration": 1.0, "features": features}}
    cells = dict(zip(TITLES, cost_rows(costs, None)["other"], strict=False))
    assert cells["features"].text == features
    assert cells["seconds per iteration"].times == ratio
    assert (cells["peak memory / GiB"].times is None) == (ratio is None)
    assert cells["parameters / million"].times == "1.00x"
    assert ("those without their encoder" in conditions_text(costs, None)) == (ratio is None)
