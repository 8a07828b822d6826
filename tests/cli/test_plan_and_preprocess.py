"""The command from a raw dataset to data that a trainer reads."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from nucplan.cli.plan_and_preprocess import main
from nucplan.layout import Dataset, resolve_roots


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Six grey 64 x 64 images of six groups, two square nuclei each."""
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(variable, "unset")
    made = Dataset(resolve_roots(tmp_path), "Dataset007_Squares")
    for kind in ("images", "labels", "instances"):
        made.part(kind).mkdir(parents=True)
    instances = np.zeros((64, 64), np.uint32)
    instances[10:24, 10:24], instances[30:44, 30:44] = 1, 2
    for case in "abcdef":
        image = np.random.default_rng(ord(case)).integers(0, 99, (64, 64), dtype=np.uint8)
        image[instances > 0] += 99
        cv2.imwrite(str(made.part("images") / f"{case}_0000.png"), image)
        cv2.imwrite(str(made.part("labels") / f"{case}.png"), (instances > 0).astype(np.uint8))
        tifffile.imwrite(made.part("instances") / f"{case}.tif", instances)
    content = {
        "channel_names": {"0": "DNA"},
        "labels": {"background": 0, "nucleus": 1},
        "numTraining": 6,
        "file_ending": ".png",
        "overwrite_image_reader_writer": "NaturalImage2DIO",
        "nuclei": {"mpp": 0.5, "groups": {case: case for case in "abcdef"}},
    }
    made.dataset_json.write_text(json.dumps(content))
    return made


def run(dataset: Dataset, *arguments: str) -> int:
    return main(["7", "--root", str(dataset.roots.raw.parent), "--device", "cpu", *arguments])


def test_one_command_makes_everything_that_training_needs(dataset: Dataset, capsys: pytest.CaptureFixture) -> None:
    assert run(dataset, "--explain", "--override", "patch_size=96") == 0
    printed = capsys.readouterr().out
    assert "patch_size = 96, 96  (set by you)" in printed
    assert "nucplan_train 7" in printed
    for name in ("nucplanPlans.json", "nucplan_fingerprint.json", "dataset_fingerprint.json", "dataset.json"):
        json.loads((dataset.preprocessed / name).read_text())
    assert len(json.loads(dataset.splits.read_text())) == 5
    assert len(list((dataset.preprocessed / "nucplanPlans_2d").glob("*_seg.b2nd"))) == 6


def test_a_second_call_keeps_the_data(dataset: Dataset, capsys: pytest.CaptureFixture) -> None:
    run(dataset)
    capsys.readouterr()
    assert run(dataset) == 0
    assert "up to date" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--override", "patch_size"], "NAME=VALUE"), (["--override", "patchsize=96"], "no decision 'patchsize'")],
)
def test_a_wrong_override_ends_with_one_sentence(dataset, capsys, arguments: list[str], message: str) -> None:
    assert run(dataset, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not dataset.plans().exists()


def test_a_missing_label_is_refused_before_anything_is_written(dataset: Dataset, capsys: pytest.CaptureFixture) -> None:
    (dataset.part("labels") / "c.png").unlink()
    assert run(dataset) == 2
    assert "c.png" in capsys.readouterr().err
    assert not dataset.preprocessed.exists()


def test_an_unknown_dataset_is_refused(dataset: Dataset, capsys: pytest.CaptureFixture) -> None:
    shutil.rmtree(dataset.raw)
    assert run(dataset) == 2
    assert "nucplan_convert" in capsys.readouterr().err


def test_help_needs_no_heavy_import() -> None:
    code = (
        "import sys; from nucplan.cli.plan_and_preprocess import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(sorted({'torch', 'numpy', 'nnunetv2', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
