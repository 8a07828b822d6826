"""Hashes follow what files say: values, names and pixels, not archives, times and places."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nucplan.checkpoints import save_checkpoint
from nucplan.images import write_label_map
from nucplan.layout import Dataset, Roots
from nucplan.reproduction.environment import environment
from nucplan.reproduction.hashes import content_hash, pixels_hash, raw_hashes, source_hash, weights_hash

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(1, dtype=torch.int64)}


def saved(path: Path, weights: dict, **more) -> str:
    save_checkpoint({"network_weights": weights, **more}, path)
    return weights_hash(path)


def test_weights_are_told_by_value_and_not_by_the_rest_of_the_checkpoint(tmp_path):
    first = saved(tmp_path / "a.pth", WEIGHTS)
    assert saved(tmp_path / "b.pth", dict(reversed(WEIGHTS.items())), optimizer_state={"step": 3}) == first


@pytest.mark.parametrize(
    "change",
    [
        {"a": WEIGHTS["a"].nextafter(torch.tensor(9.0))},
        {"a": WEIGHTS["a"].reshape(3, 2)},
        {"a": WEIGHTS["a"].to(torch.bfloat16)},
        {"a": WEIGHTS["a"].view(torch.int32)},
        {"b": torch.tensor(2)},
        {"c": torch.zeros(0)},
    ],
    ids=["last bit", "shape", "precision", "type", "scalar", "name"],
)
def test_any_change_of_a_tensor_is_seen(tmp_path, change):
    assert saved(tmp_path / "a.pth", WEIGHTS) != saved(tmp_path / "b.pth", WEIGHTS | change)


def test_label_maps_are_told_by_their_pixels(tmp_path):
    labels = np.arange(12).reshape(3, 4)
    hashes = []
    for number, array in enumerate([labels, labels.astype(np.uint16), labels.reshape(4, 3), labels + 1]):
        write_label_map(tmp_path / f"{number}.tif", array)
        hashes.append(pixels_hash(tmp_path / f"{number}.tif"))
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_times_and_paths_of_records_do_not_count(tmp_path):
    def of(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return content_hash(tmp_path / name)

    record = {"choice": {"seconds": 3, "pq": 0.7}, "rows": [{"time": 1}]}
    other = {"rows": [{"time": 2}], "choice": {"pq": 0.7, "seconds": 4}}
    assert of("a.json", json.dumps(record)) == of("b.json", json.dumps(other))
    assert of("a.json", json.dumps(record)) != of("c.json", json.dumps(record).replace("0.7", "0.8"))


def test_raw_files_are_named_relative_to_their_dataset_and_hidden_ones_left_out(tmp_path):
    dataset = Dataset(Roots(tmp_path, tmp_path, tmp_path), "Dataset001_Tiny")
    for name in ("dataset.json", "labelsTr/a.png", "labelsTr/.DS_Store", ".cache/b"):
        (dataset.raw / name).parent.mkdir(parents=True, exist_ok=True)
        (dataset.raw / name).write_text("x")
    assert list(raw_hashes(dataset)) == ["dataset.json", "labelsTr/a.png"]


def test_parts_that_are_links_are_hashed_as_well(tmp_path):
    dataset = Dataset(Roots(tmp_path, tmp_path, tmp_path), "Dataset001_Tiny")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").write_text("x")
    dataset.raw.mkdir()
    (dataset.raw / "imagesTr").symlink_to(tmp_path / "elsewhere")
    assert list(raw_hashes(dataset)) == ["imagesTr/a.png"]


def test_the_source_has_one_hash():
    assert source_hash() == source_hash()


def test_the_environment_is_plain_json_and_tells_no_host_user_or_path():
    import socket

    text = json.dumps(environment("cpu"))
    assert all(word not in text for word in (socket.gethostname(), str(Path.home())))
    assert environment("cpu")["gpu"] is None
