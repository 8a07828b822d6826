"""A plan that follows from the machine is made as on the machine of the manifest; what follows from data is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nucplan.errors import NucplanError
from nucplan.files import write_json
from nucplan.layout import Dataset, resolve_roots
from nucplan.reproduction import reproduce
from nucplan.reproduction.manifest import plans_and_splits
from nucplan.workflow.local import Outcome
from nucplan.workflow.study import Study

NAME = "Dataset001_Tiny"


class Planner:
    """Stands for the command that plans, on a machine with room for a batch of 4 patches."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, jobs, at_once, logs, report) -> Outcome:
        for job in jobs:
            if not job.outputs[0].is_file():
                self.runs += 1
                settings = dict(word.removeprefix("--set=").split("=") for word in job.command if "--set" in word)
                write_plan(job.outputs[0], {name: json.loads(value) for name, value in settings.items()})
        return Outcome((), (), {}, ())


def write_plan(path: Path, settings: dict[str, int], oversampling: float = 0.85) -> None:
    usual = {"batch_size": 4, "oversampling": oversampling}
    decisions = {
        name: {"value": settings.get(name, value), "from": {"predicted_bytes": 1}}
        | ({"overridden": True} if name in settings else {})
        for name, value in usual.items()
    }
    write_json(path, {"configurations": {"2d": settings.get("batch_size", 4)}, "nucplan": {"decisions": decisions}})


@pytest.fixture
def study(tmp_path: Path) -> Study:
    dataset = Dataset(resolve_roots(tmp_path / "root"), NAME)
    return Study((dataset,), {"baseline": "Baseline"}, tmp_path / "benchmark", iterations=2, device="cpu")


def manifest(study: Study, settings: dict[str, int], oversampling: float = 0.85) -> dict:
    (dataset,) = study.datasets
    write_plan(dataset.plans(), settings, oversampling)
    found = plans_and_splits([dataset])
    dataset.plans().unlink()
    return found


def plan_again(study: Study, original: dict, other_machine: bool, monkeypatch) -> tuple[int, list[str]]:
    planner, notes = Planner(), []
    monkeypatch.setattr(reproduce, "run_jobs", planner)
    reproduce._plan(original, study, 1, notes.append, other_machine)
    return planner.runs, notes


def test_what_a_user_set_is_set_again(study, monkeypatch):
    original = manifest(study, {"oversampling": 0.5})
    assert plan_again(study, original, False, monkeypatch) == (1, [])
    assert plans_and_splits(study.datasets) == original


@pytest.mark.parametrize("other_machine", [True, False])
def test_another_machine_is_told_the_batch_of_the_first_one(study, monkeypatch, other_machine):
    original = manifest(study, {"batch_size": 2})
    original["planning"][NAME]["overrides"] = {}
    runs, notes = plan_again(study, original, other_machine, monkeypatch)
    assert (runs, len(notes)) == ((2, 1) if other_machine else (1, 0))
    assert (plans_and_splits(study.datasets)["plans"] == original["plans"]) == other_machine


def test_decisions_that_follow_from_the_data_are_not_forced(study, monkeypatch):
    original = manifest(study, {}, oversampling=0.5)
    plan_again(study, original, True, monkeypatch)
    assert plans_and_splits(study.datasets)["plans"][NAME]["oversampling"] == 0.85


def test_a_planning_that_fails_is_named(study, monkeypatch):
    failed = Outcome((), (), {f"plan/{NAME}": "it left with exit code 2"}, ())
    monkeypatch.setattr(reproduce, "run_jobs", lambda *_: failed)
    with pytest.raises(NucplanError, match=f"plan/{NAME} failed in the reproduction: it left with exit code 2"):
        reproduce._plan({"planning": {}}, study, 1, print, False)


def test_data_are_linked_and_a_link_follows_data_that_moved(study, tmp_path):
    for place in ("first", "second"):
        source = Dataset(resolve_roots(tmp_path / place), NAME)
        write_json(source.dataset_json, {"place": place})
        reproduce._link(study.datasets, [source])
        (dataset,) = study.datasets
        assert dataset.dataset_json.read_text() == source.dataset_json.read_text()
        assert dataset.raw.is_symlink()
