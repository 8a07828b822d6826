"""Ranks across datasets, against counting by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucplan.report.ranks import ranks

means = st.one_of(st.none(), st.sampled_from([0.1, 0.2, 0.3, 0.4]))


def compared(first: dict[str, float | None]) -> dict:
    scores = [{"title": title, "primary": title != "other"} for title in ("Dice", "other", "PQ")]
    rows = [{"config": c, "cells": [{"mean": m}, {"mean": 0.0}, {"mean": 0.5}]} for c, m in first.items()]
    return {"scores": scores, "rows": rows}


@given(st.lists(st.fixed_dictionaries(dict.fromkeys("abc", means)), min_size=2, max_size=4))
def test_a_rank_is_one_more_than_the_better_ones_and_ties_share_it(datasets):
    found = ranks({str(k): compared(of) for k, of in enumerate(datasets)}, "abc")
    common = [config for config in "abc" if all(of[config] is not None for of in datasets)]
    if len(common) < 2:
        assert [one["titles"] for one in found] == [["PQ"]]
        return
    rows = {row["config"]: row for row in found[0]["rows"]}
    assert list(rows) == common
    for config in common:
        expected = [
            1 + sum(of[o] > of[config] for o in common) + (sum(of[o] == of[config] for o in common) - 1) / 2
            for of in datasets
        ]
        assert rows[config]["ranks"] == expected
        assert rows[config]["mean"] == pytest.approx(sum(expected) / len(expected))


def test_one_dataset_has_no_ranks():
    assert ranks({"one": compared({"a": 0.1, "b": 0.2})}, "ab") == []
