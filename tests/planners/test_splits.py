"""Folds: groups whole, every case validated, sizes alike, deterministic, kept."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.errors import NucplanError
from planners.splits import load_or_make_splits, make_splits

grouped_cases = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 200), st.integers(0, 50)), min_size=2, max_size=60
)


def as_dataset(rows: list[tuple[int, int, int]]) -> tuple[dict[str, list[int]], dict[str, str]]:
    features = {f"case{k:02d}": [1, nuclei, rare] for k, (_, nuclei, rare) in enumerate(rows)}
    return features, {case: f"group{row[0]}" for case, row in zip(features, rows, strict=True)}


@settings(max_examples=80, deadline=None)
@given(grouped_cases.filter(lambda rows: len({row[0] for row in rows}) > 1))
def test_no_group_is_on_both_sides_and_no_fold_is_empty(rows: list[tuple[int, int, int]]) -> None:
    features, groups = as_dataset(rows)
    splits = make_splits(features, groups)
    assert len(splits.folds) == 5
    for fold in splits.folds:
        assert fold["train"]
        assert fold["val"]
        assert sorted(fold["train"] + fold["val"]) == sorted(features)
        assert not {groups[c] for c in fold["train"]} & {groups[c] for c in fold["val"]}
    assert (splits.note is None) == (len(set(groups.values())) >= 5)


@settings(max_examples=40, deadline=None)
@given(grouped_cases.filter(lambda rows: len({row[0] for row in rows}) >= 5), st.integers(0, 3))
def test_with_five_groups_every_case_is_validated_once(rows: list[tuple[int, int, int]], seed: int) -> None:
    features, groups = as_dataset(rows)
    splits = make_splits(features, groups, seed)
    assert sorted(case for fold in splits.folds for case in fold["val"]) == sorted(features)
    assert make_splits(dict(reversed(features.items())), groups, seed) == splits


def test_without_groups_folds_share_images_and_a_rare_class_evenly() -> None:
    features = {f"case{k:02d}": [1, 10, 5 if k % 10 == 0 else 0] for k in range(50)}
    folds = make_splits(features, {}).folds
    assert [len(fold["val"]) for fold in folds] == [10] * 5
    assert [sum(features[c][2] for c in fold["val"]) for fold in folds] == [5] * 5


def test_a_group_with_half_of_the_images_fills_one_fold_alone() -> None:
    features = {f"case{k:02d}": [1, 10] for k in range(40)}
    groups = {case: "large" if k < 20 else f"g{k}" for k, case in enumerate(features)}
    assert sorted(len(fold["val"]) for fold in make_splits(features, groups).folds) == [5, 5, 5, 5, 20]


def test_one_group_is_refused() -> None:
    with pytest.raises(NucplanError, match="one group"):
        make_splits({"a": [1], "b": [1]}, {"a": "x", "b": "x"})


def test_stored_folds_are_kept_for_the_same_cases_and_made_anew_for_others(tmp_path) -> None:
    path, features = tmp_path / "splits_final.json", {case: [1, 1] for case in "abcdef"}
    own = [{"train": list("abcde"), "val": ["f"]}] * 5
    path.write_text(json.dumps(own))
    assert load_or_make_splits(path, features, {}).folds == own
    load_or_make_splits(path, features | {"g": [1, 1]}, {})
    assert {case for fold in json.loads(path.read_text()) for case in fold["val"]} == set("abcdefg")


def test_stored_folds_that_leak_a_group_are_refused(tmp_path) -> None:
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps([{"train": ["a", "b"], "val": ["c"]}] * 5))
    with pytest.raises(NucplanError, match="group 'x' in training and in validation of fold 0"):
        load_or_make_splits(path, {case: [1] for case in "abc"}, {"a": "x", "c": "x"})
