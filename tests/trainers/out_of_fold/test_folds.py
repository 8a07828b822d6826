"""Which folds are finished, and whether the command that trains a missing one is the right one."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from nucplan.cli import train
from nucplan.files import read_json, write_json
from nucplan.layout import CONFIGURATION, Dataset, find_dataset, resolve_roots
from trainers import CONFIGS, DEFAULT_CONFIG, trainer_name
from trainers.out_of_fold.folds import finished_folds, iterations, training_command


@pytest.fixture
def trained(trained_root: Path) -> Dataset:
    return find_dataset(resolve_roots(trained_root), 1)


@pytest.fixture
def planned(root: Path) -> Dataset:
    return find_dataset(resolve_roots(root), 1)


def test_a_fold_is_finished_when_its_predictions_are_there(trained):
    model = trained.model(trainer_name(DEFAULT_CONFIG))
    assert finished_folds(model) == (0, 1)
    assert [iterations(model, fold) for fold in (0, 1, 2)] == [2, 2, None]


@pytest.mark.parametrize("config", CONFIGS)
def test_the_command_names_the_config_and_the_length_of_the_other_folds(trained, config):
    command = training_command(trained, trained.model(trainer_name(config)), 3, length=70)
    length = 2 if config == DEFAULT_CONFIG else 70
    assert command == f"nucplan_train 1 3 --config {config} --iterations {length}"


def test_without_any_finished_fold_the_length_is_the_usual_one(planned):
    command = training_command(planned, planned.model(trainer_name("boundary")), 0)
    assert command == "nucplan_train 1 0 --config boundary"


def test_the_command_trains_into_the_very_folder(planned, monkeypatch):
    """Also with a seed and an encoder of its own."""
    options = ["--config", "boundary", "--seed", "3", "--encoder", "vit_small_patch16_224"]
    requests = []

    def train_fold(dataset, fold, request, plans, device, wait=False):
        requests.append((request, plans))
        folder = dataset.model(trainer_name(request.config), plans["plans_name"]) / f"fold_{fold}"
        summary = {"pq_pooled": None, "dice_image_mean": None, "merges": 0, "splits": 0}
        write_json(folder / "run.json", {"iterations": 4})
        write_json(folder / "validation" / "summary.json", {"nuclei": {"summary": summary}})
        return folder

    monkeypatch.setattr("trainers.run.train_fold", train_fold)
    root = ["--device", "cpu", "--root", str(planned.roots.raw.parent)]
    assert train.main(["1", "0", *options, "--iterations", "4", *root]) == 0
    (model,) = planned.results.iterdir()
    command = training_command(planned, model, 2)
    assert train.main([*shlex.split(command)[1:], *root]) == 0
    assert requests[0] == requests[1]
    assert finished_folds(model) == (0, 2)


def test_weights_are_named_and_plans_that_are_gone_are_told(planned):
    plans = read_json(planned.plans())
    plans["nucplan"]["weights"] = {"file": "/models/uni 2.bin", "sha256": "0"}
    plans["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]["encoder_frozen"] = True
    model = planned.model(trainer_name("boundary"), "nucplanPlans_weights0")
    gone = training_command(planned, model, 1)
    assert gone.endswith("--config boundary and the seed, encoder or weights that nucplanPlans_weights0 stands for")
    write_json(planned.plans("nucplanPlans_weights0"), plans)
    command = training_command(planned, model, 1)
    assert command == "nucplan_train 1 1 --config boundary --weights '/models/uni 2.bin'"
