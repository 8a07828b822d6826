"""MODEL may be the file of a CellViT: its nuclei, its record, its refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from nucplan.checkpoints import save_checkpoint
from nucplan.cli.predict import main
from nucplan.files import file_hash
from nucplan.images import read_image, read_label_map, write_image
from nucplan.networks.cellvit.model import CellViT
from nucplan.networks.cellvit.shape import PLAIN, CellViTShape

TINY = CellViTShape(
    kind=PLAIN,
    channels=32,
    depth=4,
    heads=1,
    hidden=64,
    gated=False,
    patch=16,
    grid=3,
    registers=0,
    window=0,
    global_blocks=(),
    neck=0,
    classes=6,
    binary=2,
    tissues=3,
)


def noise(height: int, width: int) -> np.ndarray:
    """Smooth spots of all colours, (height, width, 3) uint8."""
    spots = cv2.GaussianBlur(np.random.default_rng(0).random((height, width, 3)), (0, 0), 3)
    return cv2.normalize(spots, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CellViT that was never trained, as its trainer saves it; half of the pixels of noise are nuclear to it."""
    torch.manual_seed(0)
    network = CellViT(TINY).eval()
    with torch.inference_mode():
        binary = network.maps(torch.from_numpy(noise(96, 96)).permute(2, 0, 1)[None].float() / 255).binary
    state = network.state_dict()
    state["nuclei_binary_map_decoder.decoder0_header.2.bias"] -= binary.median(-1).values.median(-1).values[0]
    path = tmp_path_factory.mktemp("weights") / "CellViT-tiny.pth"
    torch.save({"arch": "CellViT256", "model_state_dict": state, "config": {}}, path)
    return path


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """RGB and grey, 8 and 16 bits, none with sides that the network's stride divides."""
    picture = noise(70, 90)
    write_image(tmp_path / "scenes" / "colour.png", picture)
    write_image(tmp_path / "scenes" / "deep.tif", picture[:50].astype(np.uint16) * 257)
    write_image(tmp_path / "scenes" / "grey.png", picture[:33, :41, 0])
    return tmp_path / "scenes"


@pytest.fixture
def predict(tmp_path: Path):
    """Run the command with ``tmp_path/nuclei`` as its output folder, where there is no nnU-Net folder at all."""

    def run(model: Path | str, source: Path, *options: str) -> int:
        root = ["--root", str(tmp_path / "no root")]
        return main([str(model), str(source), str(tmp_path / "nuclei"), "--device", "cpu", *root, *options])

    return run


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open()))


def test_pictures_of_all_kinds_get_nuclei_with_the_classes_of_the_checkpoint(
    checkpoint, scenes, predict, tmp_path, capsys
):
    assert predict(checkpoint, scenes) == 0
    out, shown = tmp_path / "nuclei", capsys.readouterr().out
    total = 0
    for picture in scenes.iterdir():
        labels = read_label_map(out / f"{picture.stem}.tif")
        assert labels.shape == read_image(picture).shape[:2]
        table = rows(out / f"{picture.stem}.csv")
        assert len(table) == labels.max()
        assert {row["class"] for row in table} <= {"neoplastic", "inflammatory", "connective", "dead", "epithelial"}
        total += len(table)
    assert total > 0
    assert f"{total} nuclei in 3 image(s), 1 network(s) averaged" in shown
    assert "assuming 0.25 um per pixel" in shown
    assert not (tmp_path / "no root").exists()


def test_the_licence_of_the_weights_is_one_line(checkpoint, scenes, predict, capsys):
    assert predict(checkpoint, scenes / "grey.png") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "licence of" in line]
    assert line.startswith(f"{checkpoint}: CellViT 256")
    assert "Commons Clause" in line


def test_the_record_holds_the_hash_of_the_file(checkpoint, scenes, predict, tmp_path):
    assert predict(checkpoint, scenes / "grey.png") == 0
    entry = json.loads((tmp_path / "nuclei" / "prediction.json").read_text())["images"]["grey"]
    assert entry["model"]["weights"] == file_hash(checkpoint)
    assert entry["model"]["decoder"]["kernel"] == 9


def test_other_weights_do_not_adopt_the_nuclei_of_the_first(
    checkpoint, scenes, predict, tmp_path, capsys, assert_refused
):
    content = torch.load(checkpoint, weights_only=True)
    content["model_state_dict"]["encoder.cls_token"] += 1
    torch.save(content, tmp_path / "other.pth")
    assert predict(checkpoint, scenes / "grey.png") == 0
    assert predict(checkpoint, scenes / "grey.png") == 0
    assert "done before" in capsys.readouterr().out
    assert_refused(predict(tmp_path / "other.pth", scenes / "grey.png"), "another model or other settings")


def test_mirroring_and_another_pixel_size_are_options(checkpoint, scenes, predict, tmp_path):
    assert predict(checkpoint, scenes / "colour.png") == 0
    plain = (tmp_path / "nuclei" / "colour.csv").read_text()
    assert predict(checkpoint, scenes / "colour.png", "--mirror", "--overwrite") == 0
    assert (tmp_path / "nuclei" / "colour.csv").read_text() != plain
    assert predict(checkpoint, scenes / "colour.png", "--mpp", "0.5", "--overwrite") == 0
    assert read_label_map(tmp_path / "nuclei" / "colour.tif").shape == (70, 90)
    table = rows(tmp_path / "nuclei" / "colour.csv")
    assert table
    assert all(float(row["area_um2"]) == pytest.approx(float(row["area_px"]) / 4, abs=1e-3) for row in table)


@pytest.mark.parametrize("options", [["--config", "baseline"], ["--plans", "other"], ["--explain-boundary"]])
def test_options_of_nucplans_own_models_are_refused(checkpoint, scenes, predict, tmp_path, options, assert_refused):
    assert_refused(
        predict(checkpoint, scenes, *options), "CellViT-tiny.pth", f"{options[0]} says nothing; leave it out"
    )
    assert not (tmp_path / "nuclei").exists()


def test_a_fold_of_nucplan_is_refused_with_the_way_out(scenes, predict, tmp_path, assert_refused):
    fold = tmp_path / "checkpoint_final.pth"
    save_checkpoint({"network_kwargs": {}, "network_weights": {"stem.weight": torch.zeros(2)}}, fold)
    assert_refused(predict(fold, scenes), str(fold), "one fold", "give the dataset as MODEL", "nucplan_export")
    assert not (tmp_path / "nuclei").exists()


def test_a_file_that_is_no_cellvit_is_refused(scenes, predict, tmp_path, assert_refused):
    (tmp_path / "notes.pth").write_text("no weights")
    assert_refused(predict(tmp_path / "notes.pth", scenes), "notes.pth is not a readable weights file")
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    assert_refused(predict(tmp_path / "other.pth", scenes), "other.pth is no CellViT checkpoint")
    assert not (tmp_path / "nuclei").exists()


@pytest.mark.parametrize("name", ["CellViT.pth", "weights/CellViT.pth", "CellViT.safetensors"])
def test_a_missing_file_is_called_a_file(scenes, predict, name, assert_refused):
    assert_refused(predict(name, scenes), f"There is no file {name}")
