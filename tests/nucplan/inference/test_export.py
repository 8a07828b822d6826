"""A model that leaves the machine: it predicts the same, and says nothing of the data."""

from __future__ import annotations

import json
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


@pytest.fixture(scope="module")
def exported(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    assert export_model(model_folder, folder) == 2
    return folder


def test_it_predicts_the_same_maps_and_nuclei(exported, ensemble):
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    copy = Predictor.from_folder(exported, CPU)
    ours, theirs = ensemble.probabilities(image)[0], copy.probabilities(image)[0]
    assert np.array_equal(ours.semantic, theirs.semantic)
    assert np.array_equal(ours.boundary, theirs.boundary)
    assert np.array_equal(ensemble(image).labels, copy(image).labels)
    assert copy.class_names == ensemble.class_names


def test_it_holds_networks_and_nothing_of_the_data_or_the_machine(exported, model_folder, trained_root):
    assert {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()} == {
        "plans.json",
        "dataset.json",
        "origin.json",
        f"fold_0/{FINAL}",
        f"fold_1/{FINAL}",
    }
    cases = read_json(model_folder / "dataset.json")["nuclei"]["groups"]
    assert cases
    for path in exported.glob("*.json"):
        text = path.read_text()
        assert not [case for case in cases if f'"{case}"' in text]
        assert str(trained_root) not in text
    content = torch.load(exported / "fold_0" / FINAL, weights_only=True)
    assert set(content) == {"network_kwargs", "network_weights"}
    assert (exported / "fold_0" / FINAL).stat().st_size < (model_folder / "fold_0" / FINAL).stat().st_size / 1.8


def test_the_record_of_its_predictions_names_the_training(exported, ensemble):
    record = Predictor.from_folder(exported, CPU).record
    assert record["exported_from"] == {key: value for key, value in ensemble.record.items() if key != "mirror"}
    assert json.loads(json.dumps(record)) == record


def test_the_path_of_pretrained_weights_stays_at_home(model_folder, tmp_path):
    model = tmp_path / "model"
    (model / "fold_0").mkdir(parents=True)
    (model / "fold_0" / FINAL).symlink_to(model_folder / "fold_0" / FINAL)
    write_json(model / "dataset.json", read_json(model_folder / "dataset.json"))
    plans = read_json(model_folder / "plans.json")
    plans["nucplan"]["weights"] = {"file": "/home/somebody/uni.bin", "sha256": "0" * 64}
    write_json(model / "plans.json", plans)
    export_model(model, tmp_path / "out")
    assert read_json(tmp_path / "out" / "plans.json")["nucplan"]["weights"] == {"file": "uni.bin", "sha256": "0" * 64}


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
