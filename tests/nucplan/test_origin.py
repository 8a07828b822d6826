"""A training is of the data that there are now, or it is refused; what older trainings do not tell is believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nucplan.files import read_json, write_json
from nucplan.layout import Dataset, Roots
from nucplan.origin import TrainedOn, training_data


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    found = Dataset(Roots(tmp_path / "raw", tmp_path / "preprocessed", tmp_path / "results"), "Dataset001_Tiny")
    write_json(found.made_from(), {"raw": "times", "plan": "p", "content": "c"})
    write_json(found.splits, [{"train": ["a"], "val": ["b"]}])
    write_json(found.plans(), {"configurations": {"2d": {"patch_size": [64, 64], "batch_size": 2, "spacing": [1, 1]}}})
    return found


def change(path: Path, **changes) -> None:
    write_json(path, read_json(path) | changes)


def test_times_and_what_the_plan_decides_elsewhere_do_not_count(dataset):
    before = training_data(dataset)
    change(dataset.made_from(), raw="other times")
    os.utime(dataset.splits, (1, 1))
    change(dataset.plans(), nucplan={})
    assert training_data(dataset) == before is not None


def test_files_folds_and_patches_count(dataset):
    found = [training_data(dataset)]
    change(dataset.made_from(), content="other")
    found.append(training_data(dataset))
    write_json(dataset.splits, [{"train": ["b"], "val": ["a"]}])
    found.append(training_data(dataset))
    change(dataset.plans(), configurations={"2d": {"patch_size": [64, 64], "batch_size": 3}})
    found.append(training_data(dataset))
    assert len(set(found)) == 4


@pytest.mark.parametrize(
    ("recorded", "held", "refused"),
    [("same", True, False), ("other", True, True), ("other", False, False), (None, True, False)],
)
def test_a_training_on_other_data_is_refused_where_there_is_one(dataset, tmp_path, recorded, held, refused):
    record, checkpoint = tmp_path / "fold_0" / "run.json", tmp_path / "fold_0" / "checkpoint"
    write_json(record, {"data": training_data(dataset) if recorded == "same" else recorded})
    if held:
        checkpoint.touch()
    problem = TrainedOn(record, dataset, (checkpoint,)).problem()
    assert (problem is not None) == refused
    if refused:
        assert str(record.parent) in problem
        assert "move that folder away" in problem


def test_data_of_an_older_nucplan_are_believed(dataset, tmp_path):
    record, checkpoint = tmp_path / "run.json", tmp_path / "checkpoint"
    write_json(record, {"data": "another"})
    checkpoint.touch()
    trained = TrainedOn(record, dataset, (checkpoint,))
    assert trained.problem() is not None
    write_json(dataset.made_from(), {"raw": "times", "plan": "p"})
    assert trained.problem() is None


def test_data_of_a_plan_with_a_name_of_its_own_are_found(dataset):
    configuration = read_json(dataset.plans())["configurations"]["2d"]
    named = {"2d": configuration | {"data_identifier": "nucplanPlans_NoNormalization_2d"}}
    change(dataset.plans(), configurations=named)
    assert training_data(dataset) is None
    write_json(dataset.made_from("nucplanPlans_NoNormalization_2d"), {"content": "c"})
    assert training_data(dataset) is not None
