"""A model that leaves the machine: it predicts the same, and says nothing of the data."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from nucplan.errors import NucplanError
from nucplan.files import read_json, write_json
from nucplan.inference.export import export_model
from nucplan.inference.predictor import Predictor
from nucplan.layout import FINAL

CPU = torch.device("cpu")


SECRETS = ("patient_9", "case_17", "/home/somebody")


@pytest.fixture(scope="module")
def model(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with what hand-made datasets and plans may hold."""
    folder = tmp_path_factory.mktemp("results") / "model"
    for fold in (0, 1):
        (folder / f"fold_{fold}").mkdir(parents=True)
        (folder / f"fold_{fold}" / FINAL).symlink_to(model_folder / f"fold_{fold}" / FINAL)
    plans, dataset_json = read_json(model_folder / "plans.json"), read_json(model_folder / "dataset.json")
    plans["nucplan"]["warnings"] = ["In several pieces: 1 nucleus (case_17: id 39)."]
    plans["nucplan"]["weights"] = {"file": "/home/somebody/uni.bin", "sha256": "0" * 64}
    plans["nucplan"]["encoder_request"] = {"name": "uni", "marker_table": "/home/somebody/table.csv"}
    dataset_json["nuclei"]["groups"] = {"case_17": "patient_9"}
    dataset_json |= {"dataset": {"case_17": {"images": ["/home/somebody/a.png"]}}, "description": "patient_9"}
    write_json(folder / "plans.json", plans)
    write_json(folder / "dataset.json", dataset_json)
    return folder


@pytest.fixture(scope="module")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    assert export_model(model, folder) == 2
    return folder


def test_it_predicts_the_same_maps_and_nuclei(exported, ensemble):
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    copy = Predictor.from_folder(exported, CPU)
    ours, theirs = ensemble.probabilities(image)[0], copy.probabilities(image)[0]
    assert np.array_equal(ours.semantic, theirs.semantic)
    assert np.array_equal(ours.boundary, theirs.boundary)
    assert np.array_equal(ensemble(image).labels, copy(image).labels)
    assert copy.class_names == ensemble.class_names


def test_it_holds_networks_and_nothing_of_the_data_or_the_machine(exported, model):
    files = {path.relative_to(exported).as_posix(): path for path in exported.rglob("*") if path.is_file()}
    assert set(files) == {"plans.json", "dataset.json", "origin.json", f"fold_0/{FINAL}", f"fold_1/{FINAL}"}
    cases = torch.load(model / "fold_0" / FINAL, weights_only=True)["training_cases"]
    secrets = (*SECRETS, *cases, f".{socket.gethostname()}.", str(model.parent))
    for name, path in files.items():
        content = path.read_bytes()
        assert not [word for word in secrets if word.encode() in content], name
    assert set(torch.load(exported / "fold_0" / FINAL, weights_only=True)) == {"network_kwargs", "network_weights"}
    assert files[f"fold_0/{FINAL}"].stat().st_size < (model / "fold_0" / FINAL).stat().st_size / 1.8
    assert read_json(exported / "plans.json")["nucplan"]["weights"] == {"file": "uni.bin", "sha256": "0" * 64}


def test_the_record_of_its_predictions_names_the_training_wherever_it_lies(exported, model, tmp_path, monkeypatch):
    record = Predictor.from_folder(exported, CPU).record
    original = Predictor.from_folder(model, CPU).record
    assert record["exported_from"] == {key: value for key, value in original.items() if key != "mirror"}
    assert json.loads(json.dumps(record)) == record
    moved = shutil.copytree(exported, tmp_path / "elsewhere")
    monkeypatch.chdir(moved)
    assert Predictor.from_folder(Path(), CPU).record == record


def test_what_stands_at_the_target_is_left_as_it_is(model_folder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(NucplanError, match="exists already"):
        export_model(model_folder, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_damaged_fold_leaves_no_folder(model_folder, tmp_path):
    for fold in (0, 1):
        (tmp_path / "model" / f"fold_{fold}").mkdir(parents=True)
    (tmp_path / "model" / "fold_0" / FINAL).symlink_to(model_folder / "fold_0" / FINAL)
    torch.save({"network_weights": {}}, tmp_path / "model" / "fold_1" / FINAL)
    for name in ("plans.json", "dataset.json"):
        write_json(tmp_path / "model" / name, read_json(model_folder / name))
    with pytest.raises(NucplanError, match=f"fold_1/{FINAL} is not a checkpoint of nucplan"):
        export_model(tmp_path / "model", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
