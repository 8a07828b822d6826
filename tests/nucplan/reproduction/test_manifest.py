"""A manifest that is damaged, of another kind or of a later format is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from nucplan.errors import NucplanError
from nucplan.files import write_json
from nucplan.layout import Dataset, resolve_roots
from nucplan.reproduction.grid import words
from nucplan.reproduction.manifest import FORMAT, SECTIONS, manifest_of, overrides, plans_and_splits, read_manifest
from nucplan.workflow.study import Study

GRID = {
    "datasets": ["Dataset001_Tiny"], "configs": ["baseline", "boundary"], "folds": [0, 1], "seeds": [0],
    "budget": "quick", "iterations": None, "reference": False,
}  # fmt: skip
WHOLE = {"format": FORMAT, **{section: {} for section in SECTIONS}, "study": GRID}


def test_a_whole_manifest_is_read(tmp_path):
    write_json(tmp_path / "manifest.json", WHOLE)
    assert read_manifest(tmp_path / "manifest.json") == WHOLE


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ([], "is no manifest"),
        ({}, "is no manifest"),
        ({"format": "1"}, "is no manifest"),
        ({**WHOLE, "format": FORMAT + 1}, "install a newer nucplan"),
        ({**WHOLE, "raw": []}, "is no manifest"),
        ({**WHOLE, "study": {**GRID, "folds": []}}, "is no manifest"),
        ({**WHOLE, "study": {**GRID, "seeds": ["0"]}}, "is no manifest"),
        ({**WHOLE, "study": {**GRID, "budget": "rm"}}, "is no manifest"),
        ({**WHOLE, "study": {**GRID, "datasets": ["../elsewhere"]}}, "is no manifest"),
        ({**WHOLE, "study": {**GRID, "datasets": ["Dataset001_../elsewhere"]}}, "is no manifest"),
        ({**WHOLE, "study": {**GRID, "transfer_to": ["../elsewhere"]}}, "is no manifest"),
        ({**WHOLE, "study": {**GRID, "transfer_to": "Dataset002_B"}}, "is no manifest"),
        ({**WHOLE, "study": {**GRID, "native_resolution": "yes"}}, "is no manifest"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(tmp_path, content, part):
    write_json(tmp_path / "manifest.json", content)
    with pytest.raises(NucplanError, match=part) as error:
        read_manifest(tmp_path / "manifest.json")
    assert str(tmp_path / "manifest.json") in str(error.value)


def test_scores_of_other_datasets_are_results_and_what_prediction_costs_is_none(tmp_path):
    dataset, other = (Dataset(resolve_roots(tmp_path), name) for name in ("Dataset001_A", "Dataset002_B"))
    study = Study((dataset,), {"baseline": "B"}, tmp_path / "out", iterations=2, device="cpu", transfer_to=(other,))
    for each in (dataset, other):
        write_json(each.dataset_json, {})
    for name in ("transfer_Dataset002_B.json", "cost.json"):
        write_json(tmp_path / "out" / "Dataset001_A" / name, {"score": 1})
    found = manifest_of(study)
    assert set(found["raw"]) == {"Dataset001_A", "Dataset002_B"}
    assert set(found["choices"]["Dataset001_A"]) == {"transfer_Dataset002_B.json"}
    write_json(tmp_path / "out" / "Dataset001_A" / "cost.json", {"score": 2})
    assert manifest_of(study) == found
    write_json(tmp_path / "out" / "Dataset001_A" / "transfer_Dataset002_B.json", {"score": 2})
    assert manifest_of(study)["choices"] != found["choices"]


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(NucplanError, match="is missing"):
        read_manifest(tmp_path / "manifest.json")
    (tmp_path / "manifest.json").write_text('{"format": 1')
    with pytest.raises(NucplanError, match="not valid JSON"):
        read_manifest(tmp_path / "manifest.json")


def test_the_words_of_a_grid_are_those_of_the_command():
    assert words(GRID) == [
        "Dataset001_Tiny",
        "--configs=baseline,boundary",
        "--folds=0,1",
        "--seeds=0",
        "--budget=quick",
    ]
    longer = GRID | {"iterations": 7, "reference": True}
    assert words(longer)[-2:] == ["--iterations=7", "--reference=nnunet"]
    options = {"native_resolution": True, "injection_blocks": [1, 2], "transfer_to": ["Dataset002_B"]}
    assert words(GRID | options) == [
        *words(GRID),
        "--native-resolution",
        "--injection-blocks=1,2",
        "--transfer-to=Dataset002_B",
    ]


def test_what_a_user_set_in_a_plan_gives_the_same_plan_again(root: Path):
    from nucplan.cli import plan_and_preprocess
    from nucplan.layout import find_dataset, resolve_roots

    dataset = find_dataset(resolve_roots(root), 1)
    before = plans_and_splits([dataset])
    settings = dict(overrides(before, dataset.folder_name))
    assert set(settings) == {"patch_size", "batch_size", "encoder", "network_width"}
    options = [f"--set={name}={value}".replace("'", '"').replace("False", "false") for name, value in settings.items()]
    assert plan_and_preprocess.main(["1", "--device", "cpu", "--root", str(root), *options]) == 0
    assert plans_and_splits([dataset]) == before
