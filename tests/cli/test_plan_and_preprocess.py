"""The command from a raw dataset to data that a trainer reads."""

from __future__ import annotations

import json
import re
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


counted: dict[str, object] = {}


@pytest.fixture(autouse=True)
def _count_each_network_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from planners import cost

    count = cost.count

    def remembered(*arguments: object) -> object:
        key = json.dumps(arguments)
        if key not in counted:
            counted[key] = count(*arguments)
        return counted[key]

    monkeypatch.setattr(cost, "count", remembered)


def run(dataset: Dataset, *arguments: str) -> int:
    return main(["7", "--root", str(dataset.roots.raw.parent), "--device", "cpu", *arguments])


def test_one_command_makes_everything_that_training_needs(dataset: Dataset, capsys: pytest.CaptureFixture) -> None:
    assert run(dataset, "--explain", "--set", "patch_size=96") == 0
    printed = capsys.readouterr().out
    assert re.search(r"^patch_size +96, 96 +You set it", printed, re.MULTILINE)
    assert "nucplan_train 7" in printed
    for name in ("nucplanPlans.json", "nucplan_fingerprint.json", "dataset_fingerprint.json", "dataset.json"):
        json.loads((dataset.preprocessed / name).read_text())
    assert len(json.loads(dataset.splits.read_text())) == 5
    assert len(list((dataset.preprocessed / "nucplanPlans_2d").glob("*_seg.b2nd"))) == 6


def test_images_and_nuclei_of_each_fold_are_shown(dataset: Dataset, capsys: pytest.CaptureFixture) -> None:
    assert run(dataset) == 0
    folds = {
        line.split()[-6]: line.split()[-5:] for line in capsys.readouterr().out.splitlines() if len(line.split()) > 5
    }
    held_out = [fold["val"] for fold in json.loads(dataset.splits.read_text())]
    assert folds["images"] == [str(len(cases)) for cases in held_out]
    assert folds["nuclei"] == [str(2 * len(cases)) for cases in held_out]


def test_warnings_of_the_plan_and_notes_of_the_folds_are_shown(
    dataset: Dataset, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from planners import planner

    content = json.loads(dataset.dataset_json.read_text())
    content["nuclei"]["groups"] = {case: "one" if case < "e" else "other" for case in "abcdef"}
    dataset.dataset_json.write_text(json.dumps(content))
    plan = planner.plan_dataset

    def warning(*arguments) -> dict:
        made = plan(*arguments)
        made["nucplan"]["warnings"] = ["The labels are odd."]
        return made

    monkeypatch.setattr(planner, "plan_dataset", warning)
    assert run(dataset) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note:  ")]
    assert notes[0] == "note:  The labels are odd."
    assert "2 groups only" in notes[1]
    assert "4 of 6 images, because the group 'one' has them all" in notes[2]


def test_a_second_call_keeps_the_data_and_the_plan(dataset: Dataset, capsys: pytest.CaptureFixture) -> None:
    run(dataset)
    plan = dataset.plans().read_bytes()
    capsys.readouterr()
    assert run(dataset, "--explain") == 0
    assert "up to date" in capsys.readouterr().out
    assert dataset.plans().read_bytes() == plan


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "patch_size"], "NAME=VALUE"),
        (["--set", "patchsize=96"], "no decision 'patchsize'; did you mean patch_size"),
        (["--set", "patch_size=large"], 'not "large"'),
        (["--set", "batch_size=2", "--set", "batch_size=3"], "gives 'batch_size' twice"),
    ],
)
def test_a_wrong_setting_ends_with_one_sentence(dataset, capsys, arguments: list[str], message: str) -> None:
    assert run(dataset, *arguments) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert not dataset.plans().exists()


def test_a_wrong_name_is_refused_before_anything_is_measured(dataset: Dataset) -> None:
    assert run(dataset, "--set", "patchsize=96") == 2
    assert not dataset.preprocessed.exists()


def test_folds_of_other_images_are_refused_and_kept(dataset: Dataset, capsys: pytest.CaptureFixture) -> None:
    run(dataset)
    for kind, name in (("images", "f_0000.png"), ("labels", "f.png"), ("instances", "f.tif")):
        (dataset.part(kind) / name).unlink()
    content = json.loads(dataset.dataset_json.read_text())
    dataset.dataset_json.write_text(json.dumps(content | {"numTraining": 5}))
    before = dataset.splits.read_bytes()
    assert run(dataset) == 2
    assert "has 1 case(s) (f) that the training images lack" in capsys.readouterr().err
    assert dataset.splits.read_bytes() == before


@pytest.mark.parametrize(
    "step",
    [
        "planners.fingerprint.write_json",
        "planners.splits.make_splits",
        "planners.planner.plan_dataset",
        "planners.preprocessor.preprocess",
        "nucplan.files._flush_to_disk",
    ],
)
def test_after_ctrl_c_no_file_is_half_written_and_the_next_call_ends_well(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(step, interrupted)
        assert run(dataset) == 130
    written = [path for path in dataset.preprocessed.rglob("*") if path.is_file()]
    assert not [path for path in written if "partial" in path.name]
    for path in written:
        if path.suffix == ".json":
            json.loads(path.read_text())
    assert run(dataset) == 0


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


def test_native_resolution_is_a_decision_of_the_user_and_contradicts_another_scale(dataset, capsys, monkeypatch):
    planned = []
    monkeypatch.setattr("nucplan.cli.plan_and_preprocess._plan_and_preprocess", lambda *given: planned.append(given[2]))
    command = ["7", "--device", "cpu", "--root", str(dataset.roots.raw.parent), "--native-resolution"]
    assert main([*command, "--set", "scale=2"]) == 2
    assert "--native-resolution enlarges no image, and --set scale=2 does" in capsys.readouterr().err
    assert planned == []
    assert main([*command, "--set", "patch_size=64"]) == main([*command, "--set", "scale=1"]) == 0
    assert planned == [{"patch_size": 64, "scale": 1}, {"scale": 1}]
