"""Folds: groups whole, alike in images, classes and nuclear sizes, deterministic; stored ones kept and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nucplan.errors import NucplanError
from planners.splits import Splits, case_features, load_or_make_splits, make_splits

# Of each case: its group, its nuclei of a common class and of two that may be rare, and its median diameter.
cases_of_groups = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 200), st.integers(0, 2), st.integers(0, 2), st.integers(5, 40)),
    min_size=2,
    max_size=60,
)


def record(nuclei: Mapping[str, int], diameter: float | None = 12) -> dict:
    """What a fingerprint knows of a case, as far as the folds read it."""
    quantiles = {percent: diameter for percent in ("5", "25", "50", "75", "95")} if diameter else None
    return {"nuclei": sum(nuclei.values()), "class_instances": dict(nuclei), "diameter_px": quantiles}


def as_dataset(rows: list[tuple[int, int, int, int, int]]) -> tuple[dict, dict[str, str]]:
    """Records and groups of the cases."""
    records = {
        f"case{k:02d}": record({"common": common, "a": a, "b": b}, diameter if common + a + b else None)
        for k, (_, common, a, b, diameter) in enumerate(rows)
    }
    return records, {case: f"group{row[0]}" for case, row in zip(records, rows, strict=True)}


def groups_with(name: str, records: Mapping, groups: Mapping[str, str]) -> set[str]:
    return {groups[case] for case, record in records.items() if record["class_instances"][name]}


def sizes(splits: Splits) -> list[int]:
    return [len(fold["val"]) for fold in splits.folds]


@settings(max_examples=80, deadline=None)
@given(cases_of_groups.filter(lambda rows: len({row[0] for row in rows}) > 1))
def test_no_group_is_on_both_sides_and_no_fold_is_empty(rows: list) -> None:
    records, groups = as_dataset(rows)
    for fold in make_splits(case_features(records), groups).folds:
        assert fold["train"]
        assert fold["val"]
        assert sorted(fold["train"] + fold["val"]) == sorted(records)
        assert not {groups[c] for c in fold["train"]} & {groups[c] for c in fold["val"]}


@settings(max_examples=40, deadline=None)
@given(cases_of_groups.filter(lambda rows: len({row[0] for row in rows}) >= 5), st.integers(0, 3))
def test_with_five_groups_every_case_is_validated_once(rows: list, seed: int) -> None:
    records, groups = as_dataset(rows)
    splits = make_splits(case_features(records), groups, seed)
    assert sorted(case for fold in splits.folds for case in fold["val"]) == sorted(records)
    assert make_splits(case_features(dict(reversed(records.items()))), groups, seed) == splits


@settings(max_examples=80, deadline=None)
@given(cases_of_groups.filter(lambda rows: len({row[0] for row in rows}) >= 5))
def test_a_class_that_is_in_five_groups_is_validated_in_every_fold(rows: list) -> None:
    # The common class is everywhere: three rare classes may ask for the impossible, two never do.
    records, groups = as_dataset([(group, common + 1, *rest) for group, common, *rest in rows])
    folds = make_splits(case_features(records), groups).folds
    for name in ("a", "b"):
        if len(groups_with(name, records, groups)) >= 5:
            assert all(any(records[case]["class_instances"][name] for case in fold["val"]) for fold in folds)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 200), st.integers(5, 40)), min_size=25, max_size=80))
@example([(k % 6, 1, 5 + k) for k in range(60)])
def test_fold_sizes_differ_by_no_more_than_the_largest_group(rows: list[tuple[int, int, int]]) -> None:
    records, groups = as_dataset([(group, nuclei, 0, 0, diameter) for group, nuclei, diameter in rows])
    members = list(groups.values())
    if len(set(members)) >= 5:
        found = sizes(make_splits(case_features(records), groups))
        assert max(found) - min(found) <= max(members.count(group) for group in members)
    alone = sizes(make_splits(case_features(records), {}))
    assert max(alone) - min(alone) <= 1


def test_the_number_of_images_counts_before_that_of_nuclei() -> None:
    features = {f"case{k}": {"nuclei": [100 if k < 4 else 20]} for k in range(9)}
    assert sorted(sizes(make_splits(features, {}))) == [1, 2, 2, 2, 2]


def test_images_nuclei_a_rare_class_and_sizes_are_spread_evenly() -> None:
    rows = [(k, 10 + 90 * (k % 10 == 0), 5 * (k % 10 == 3), 0, 8 + 5 * (k % 3)) for k in range(60)]
    records, groups = as_dataset(rows)
    splits = make_splits(case_features(records), groups)
    assert sizes(splits) == [12] * 5
    for fold in splits.folds:
        held_out = [records[case] for case in fold["val"]]
        assert sum(r["class_instances"]["a"] > 0 for r in held_out) in (1, 2)
        assert sum(r["nuclei"] > 50 for r in held_out) in (1, 2)
        for diameter in (8, 13, 18):
            assert sum(r["diameter_px"]["50"] == diameter for r in held_out) == 4


def test_a_case_without_nuclei_is_in_no_third_and_equal_sizes_are_in_one() -> None:
    features = case_features({"a": record({"x": 3}), "b": record({"x": 0}, None), "c": record({"x": 2})})
    assert features["b"]["size_third"] == [0, 0, 0]
    assert features["a"]["size_third"] == features["c"]["size_third"]
    nothing = case_features({"a": record({"x": 0}, None), "b": record({"x": 0}, None)})
    assert sizes(make_splits(nothing, {})) == [1] * 5


def test_thirds_are_of_equal_size_where_diameters_differ() -> None:
    features = case_features({f"c{k}": record({"x": 1}, 5 + k) for k in range(12)})
    assert [sum(f["size_third"][third] for f in features.values()) for third in range(3)] == [4, 4, 4]


def test_a_group_with_most_images_fills_one_fold_alone_and_the_note_says_so() -> None:
    rows = [("X" if k < 25 else k, 10, 0, 0, 10) for k in range(40)]
    records, groups = as_dataset(rows)
    splits = make_splits(case_features(records), groups)
    assert sorted(sizes(splits)) == [3, 4, 4, 4, 25]
    largest = sizes(splits).index(25)
    assert splits.notes == [f"Fold {largest} is validated on 25 of 40 images, because the group 'groupX' has them all."]


def test_few_groups_are_held_out_in_turn_and_the_note_says_which_folds_are_equal(tmp_path: Path) -> None:
    records, groups = as_dataset([(k % 2, 5, 0, 0, 10) for k in range(8)])
    made = load_or_make_splits(tmp_path / "splits.json", case_features(records), groups)
    assert made.folds[0] == made.folds[2] == made.folds[4] != made.folds[1] == made.folds[3]
    assert len(made.notes) == 1
    assert "2 groups only" in made.notes[0]
    assert "folds 0, 2 and 4 are equal, and folds 1 and 3 are equal" in made.notes[0]
    assert load_or_make_splits(tmp_path / "splits.json", case_features(records), groups) == made


def test_one_group_is_refused() -> None:
    records, groups = as_dataset([(0, 5, 0, 0, 10)] * 3)
    with pytest.raises(NucplanError, match="one group"):
        make_splits(case_features(records), groups)


@pytest.fixture
def stored(tmp_path: Path):
    """``stored(content, groups)``: load splits of the cases a to f from a file with ``content``."""

    def load(content: object, groups: Mapping[str, str] | None = None) -> Splits:
        path = tmp_path / "splits_final.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return load_or_make_splits(path, case_features({case: record({"x": 1}) for case in "abcdef"}), groups or {})

    return load


def folds_of(*held_out: str) -> list[dict[str, list[str]]]:
    return [{"train": sorted(set("abcdef") - set(part)), "val": list(part)} for part in held_out]


def test_stored_folds_are_kept(stored) -> None:
    own = folds_of("ab", "c", "d", "e", "f")
    assert stored(own) == Splits(own, [])


def test_repeated_folds_are_fine_with_few_groups_and_refused_with_many(stored) -> None:
    repeated = folds_of("ab", "cd", "ef", "ab", "cd")
    groups = dict(zip("abcdef", "ppqqrr", strict=True))
    assert "3 groups only" in stored(repeated, groups).notes[0]
    with pytest.raises(NucplanError, match=r"validates 4 case\(s\) \(a, b, c, ...\) more than once"):
        stored(repeated)


good = folds_of("ab", "c", "d", "e", "f")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ({"train": []}, "something else"),
        ([{"train": ["a"]}] * 5, "something else"),
        ([{"train": [1], "val": [2]}] * 5, "something else"),
        (good[:3], "holds 3 folds"),
        ([{"train": ["g", *f["train"]], "val": f["val"]} for f in good], r"has 1 case\(s\) \(g\)"),
        ([{side: [c for c in f[side] if c != "d"] for side in f} for f in good], r"lacks 1 case\(s\) \(d\)"),
        ([{"train": [*"abcdef"], "val": []}, *good[1:]], "nothing to validate on in fold 0"),
        ([*good[:4], {"train": [*"abcdef"], "val": ["f"]}], r"\(f\) more than once in fold 4"),
        (folds_of("ab", "bc", "d", "e", "f"), r"validates 1 case\(s\) \(b\) more than once"),
        (folds_of("a", "c", "d", "e", "f"), r"never validates 1 case\(s\) \(b\)"),
    ],
)
def test_stored_folds_that_do_not_fit_are_refused_with_the_way_out(stored, content: object, message: str) -> None:
    with pytest.raises(NucplanError, match=message) as caught:
        stored(content)
    assert "splits_final.json" in str(caught.value)
    assert "delete it" in str(caught.value)


def test_stored_folds_that_leak_a_group_are_refused(stored) -> None:
    with pytest.raises(NucplanError, match="group 'x' in training and in validation of fold 0"):
        stored(good, {"a": "x", "c": "x"})
