"""A dataset that was planned with weights: trained, gone on with, and refused where the weights are other ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nucplan.cli import convert, plan_and_preprocess, train
from nucplan.datasets.synthetic import write_synthetic
from nucplan.files import read_json
from nucplan.layout import FINAL, LATEST, Dataset, find_dataset, resolve_roots
from nucplan.networks.encoders.timm_vit import TimmViT
from nucplan.origin import training_data
from nucplan.workflow.jobs import PlanCopy

SETTINGS = {"patch_size": 64, "batch_size": 2, "network_width": [4, 8, 8, 8, 8]}


def write_weights(path: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    save_file(TimmViT("test_vit", 3).vit.state_dict(), path)
    return path


def run(root: Path, *options: str) -> int:
    return train.main(["1", "0", "--iterations", "2", "--device", "cpu", "--root", str(root), *options])


def plan(root: Path, weights: Path, *options: str, **settings) -> int:
    chosen = [f"--set={name}={json.dumps(value)}" for name, value in (SETTINGS | settings).items()]
    encoder = ["--encoder", "test_vit", "--weights", str(weights)]
    return plan_and_preprocess.main(["1", "--device", "cpu", "--root", str(root), *encoder, *chosen, *options])


@pytest.fixture
def planned(root: Path, tmp_path: Path) -> Dataset:
    assert plan(root, write_weights(tmp_path / "vit.safetensors")) == 0
    return find_dataset(resolve_roots(root), 1)


def test_a_finished_training_is_of_the_plan_and_needs_the_weights_no_more(root, planned, tmp_path, capsys) -> None:
    assert training_data(planned) is not None
    assert run(root, "--config", "baseline") == 0
    (model,) = planned.results.glob("*")
    assert PlanCopy(planned.plans(), model / "plans.json").same()
    assert read_json(model / "fold_0" / "run.json")["data"] == training_data(planned)

    (tmp_path / "vit.safetensors").rename(tmp_path / "moved.safetensors")
    # Finished, and cut off after its last epoch.
    assert run(root, "--config", "baseline") == 0
    (model / "fold_0" / FINAL).rename(model / "fold_0" / LATEST)
    assert run(root, "--config", "baseline") == 0
    assert (model / "fold_0" / FINAL).is_file()
    # A new fold starts from the file, and goes on where it is planned anew at its new place.
    capsys.readouterr()
    new_fold = ["1", "1", "--iterations", "2", "--device", "cpu", "--root", str(root), "--config", "baseline"]
    assert train.main(new_fold) == 2
    assert "is not there; put it back" in capsys.readouterr().err
    assert plan(root, tmp_path / "moved.safetensors") == 0
    assert train.main(new_fold) == 0


def test_other_weights_under_the_same_name_are_refused(root, planned, tmp_path, capsys) -> None:
    write_weights(tmp_path / "vit.safetensors", seed=1)
    assert run(root) == 2
    assert "is not the file that the plan was made with" in capsys.readouterr().err
    assert not list(planned.results.rglob("checkpoint*"))


@pytest.mark.parametrize(("options", "changes"), [([], False), (["--train-encoder"], True)])
def test_the_planned_encoder_is_trained_on_request(root, planned, tmp_path, options, changes) -> None:
    assert run(root, "--config", "baseline", *options) == 0
    (model,) = planned.results.glob("*")
    assert ("_trained__" in model.name) == changes
    trained = torch.load(model / "fold_0" / FINAL, weights_only=True)["network_weights"]
    wanted = TimmViT("test_vit", 3).vit
    torch.manual_seed(0)
    wanted = TimmViT("test_vit", 3).vit.state_dict()
    same = all(torch.equal(trained[f"encoder.vit.{name}"], tensor) for name, tensor in wanted.items())
    assert same != changes


@pytest.mark.parametrize("trained", ["planning", "training", None])
def test_grey_images_are_shown_to_a_pretrained_encoder_in_three_channels(tmp_path, monkeypatch, trained) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, "")
    root = tmp_path / "root"
    write_synthetic(tmp_path / "source", images=6, size=64, seed=1, images_per_slide=1)
    make_grey(tmp_path / "source")
    assert convert.main(["folder", str(tmp_path / "source"), "1", "Grey", "--root", str(root)]) == 0
    weights = write_weights(tmp_path / "vit.safetensors")
    frozen = {"encoder": {"frozen": False}} if trained == "planning" else {}
    assert plan(root, weights, **frozen) == 0
    assert run(root, *(["--train-encoder"] if trained == "training" else [])) == 0
    (checkpoint,) = root.rglob(FINAL)
    kernel = torch.load(checkpoint, weights_only=True)["network_weights"]["encoder.vit.patch_embed.proj.weight"]
    assert kernel.shape[1] == 3


def make_grey(source: Path) -> None:
    import cv2

    for path in (source / "images").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"normalization": "ZScoreNormalization"}, "normalization"), ({"encoder": {"depth": 2}}, "depth")],
)
def test_what_the_weights_decide_cannot_be_set_beside_them(root, tmp_path, capsys, settings, word) -> None:
    assert plan(root, write_weights(tmp_path / "vit.safetensors"), **settings) == 2
    assert f"The weights decide {word}" in capsys.readouterr().err.replace("the encoder's ", "")


@pytest.mark.parametrize("options", [["--cache-features"], ["--cache-limit", "3"]])
def test_stored_features_of_an_encoder_that_is_trained_are_refused(root, planned, capsys, options) -> None:
    assert run(root, "--train-encoder", *options) == 2
    assert "this one is trained" in capsys.readouterr().err


def test_the_command_of_another_fold_repeats_what_its_plan_has(root, planned) -> None:
    from trainers.out_of_fold.folds import training_command

    options = ["--train-encoder", "--decoder-stride", "2"]
    assert run(root, *options) == 0
    (model,) = planned.results.glob("*")
    command = training_command(planned, model, 1)
    assert "--weights" not in command
    assert all(option in command for option in ("--train-encoder", "--decoder-stride 2"))
    shutil.rmtree(model)
    assert run(root, "--cache-features") == 0
    (model,) = planned.results.glob("*")
    assert training_command(planned, model, 1).count("--cache-features") == ("cached" in model.name)
