"""Equal manifests agree; any single change is named; causes are named before what follows from them."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.reproduction.difference import WORDS, _leaves, differences, first_difference, score_differences

names = st.text("abcdef_0", min_size=1, max_size=4)
values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), names, st.lists(st.integers(), max_size=3)
)
trees = st.dictionaries(names, st.recursive(values, lambda inner: st.dictionaries(names, inner, max_size=3)))
examples = settings(max_examples=80, deadline=None)
manifests = st.fixed_dictionaries(dict.fromkeys(WORDS, st.one_of(trees, values)))


@examples
@given(manifests)
def test_equal_manifests_agree(manifest):
    assert first_difference(manifest, deepcopy(manifest)) is None


@examples
@given(manifests, st.data())
def test_any_single_changed_leaf_is_named_and_nothing_else(manifest, data):
    leaves = [(section, path) for section in WORDS for path, _ in _leaves(manifest[section])]
    section, path = data.draw(st.sampled_from(leaves))
    changed = replaced(manifest, (section, *path), data.draw(st.sampled_from(["removed", "changed"])))
    (found,) = differences(manifest, changed)
    assert found == first_difference(manifest, changed)
    assert found.startswith(f"{WORDS[section]}: {', '.join(path)}")


def replaced(manifest: dict, path: tuple[str, ...], how: str) -> dict:
    """A copy in which one leaf is another value, or missing where that leaves no empty object behind."""
    changed = deepcopy(manifest)
    place = changed
    for key in path[:-1]:
        place = place[key]
    if how == "removed" and len(place) > 1 and len(path) > 1:
        del place[path[-1]]
    else:
        place[path[-1]] = ["another", place[path[-1]]]
    return changed


@examples
@given(manifests, manifests)
def test_both_directions_name_the_same_things(one, other):
    assert len(list(differences(one, other))) == len(list(differences(other, one)))


def manifest(**changes) -> dict:
    whole = {
        "raw": {"Dataset001_Tiny": {"labelsTr/a.png": "0" * 64}},
        "study": {"seeds": [0]},
        "plans": {"Dataset001_Tiny": {"decoder": {"neck": 0.7}}},
        "results": {"Dataset001_Tiny": {"baseline/seed_0/fold_0": training("0" * 64, 0.7)}},
    }
    return whole | changes


def training(weights: str, pq: float | None) -> dict:
    return {"weights": weights, "scores": {"pq_pooled": pq, "merges": 3}}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"raw": {"Dataset001_Tiny": {"labelsTr/a.png": "1" * 64}}},
            "the raw files: Dataset001_Tiny, labelsTr/a.png has changed",
        ),
        ({"study": {"seeds": [1]}}, "what was asked: seeds was [0] and is [1]"),
        (
            {"plans": {"Dataset001_Tiny": {"decoder": {"neck": 0.6}}}},
            "the plan: Dataset001_Tiny, decoder, neck was 0.7 and is 0.6",
        ),
    ],
)
def test_the_cause_is_named_before_the_results_that_follow_from_it(changes, named):
    results = {"Dataset001_Tiny": {"baseline/seed_0/fold_0": training("1" * 64, 0.1)}}
    assert first_difference(manifest(), manifest(results=results, **changes)) == named
    assert "the trainings" in first_difference(manifest(), manifest(results=results))


@pytest.mark.parametrize(("there", "here"), [(1, True), (0, False), (1, 1.0), ({}, []), (None, False)])
def test_values_that_python_takes_as_equal_differ(there, here):
    assert first_difference({"study": {"a": there}}, {"study": {"a": here}}) is not None


def test_files_that_are_missing_or_new_are_told_apart():
    assert first_difference(manifest(), manifest(raw={"Dataset001_Tiny": {}})).endswith("labelsTr/a.png is missing")
    more = {"Dataset001_Tiny": {"labelsTr/a.png": "0" * 64, "labelsTr/b.png": "0" * 64}}
    assert first_difference(manifest(), manifest(raw=more)).endswith("labelsTr/b.png is new")


@pytest.mark.parametrize(("pq", "agree"), [(0.7, True), (0.715, True), (0.73, False), (None, False)])
def test_with_a_tolerance_scores_count_and_weights_do_not(pq, agree):
    repeated = manifest(results={"Dataset001_Tiny": {"baseline/seed_0/fold_0": training("1" * 64, pq)}})
    assert (first_difference(manifest(), repeated, tolerance=0.02) is None) == agree
    assert first_difference(manifest(), repeated) is not None


def test_a_training_that_is_missing_is_a_difference_at_any_tolerance():
    repeated = manifest(results={"Dataset001_Tiny": {}})
    assert "pq_pooled is missing" in first_difference(manifest(), repeated, tolerance=1)


def test_the_largest_difference_of_each_score_is_told():
    repeated = manifest(results={"Dataset001_Tiny": {"baseline/seed_0/fold_0": training("1" * 64, 0.5)}})
    assert score_differences(manifest(), repeated) == {"pq_pooled": pytest.approx(0.2)}


# Of a plan that a nucplan without adapters and markers made.
OLD_PLANS = {
    "Dataset001_Tiny": {
        "scale": 2, "network_width": [4, 8], "encoder": {"depth": 2, "frozen": False, "name": "vit", "taps": [0, 1]},
        "normalization": ["RGBTo01Normalization"] * 3, "patch_size": [64, 64], "batch_size": 2, "tile_overlap": 16,
        "iterations": {"full": 2, "quick": 1, "standard": 2}, "queries": 100, "configurations": "0" * 64,
    }
}  # fmt: skip


@pytest.mark.parametrize(
    ("decided", "differs"),
    [
        ({"adapter": {"injection_blocks": [1, 2, 3, 4]}, "marker_normalization": None, "channels": None}, False),
        ({"adapter": {"injection_blocks": [1, 2]}}, True),
        ({"channels": {"panel": "varying"}}, True),
        ({"queries": None}, True),
        ({"another": None}, True),
    ],
)
def test_a_manifest_without_a_decision_agrees_with_one_that_says_the_same(decided, differs):
    new = deepcopy(OLD_PLANS)
    new["Dataset001_Tiny"] |= decided
    found = first_difference({"plans": OLD_PLANS}, {"plans": new})
    assert (found is not None) == differs
    assert (first_difference({"plans": new}, {"plans": OLD_PLANS}) is not None) == differs
