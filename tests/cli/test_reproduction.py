"""``nucplan_benchmark --reproduce``: two runs of one manifest agree, and what differs first is named."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import numpy as np
import pytest

from nucplan.cli import plan_and_preprocess
from nucplan.cli.benchmark import main
from nucplan.files import read_json, write_json
from nucplan.images import read_label_map, write_label_map
from nucplan.reproduction.difference import first_difference

DATASET = "Dataset001_Tiny"
GRID = ("--configs", "boundary_attention", "--folds", "0", "--iterations", "2", "--device", "cpu")
TRAINING = "boundary_attention/seed_0/fold_0"


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def original(trained_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the manifest of a benchmark of one fold."""
    root = Path(shutil.copytree(trained_root, tmp_path_factory.mktemp("original") / "root"))
    assert main(["1", *GRID, "--root", str(root), "--output", str(root / "benchmark")]) == 0
    return root


@pytest.fixture(scope="module")
def reproduction(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a reproduction that ran."""
    folder = tmp_path_factory.mktemp("again") / "reproduction"
    before = times(original)
    assert reproduce(original, folder) == 0
    assert times(original) == before
    return folder


def reproduce(root: Path, output: Path, manifest: Path | None = None, *options: str) -> int:
    manifest = manifest or root / "benchmark" / "manifest.json"
    return main(["--reproduce", str(manifest), "--root", str(root), "--output", str(output), *options])


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    """The root of the benchmark, to be changed."""
    return Path(shutil.copytree(original, tmp_path / "root"))


def edited(original: Path, path: Path, **changes) -> Path:
    """The manifest with other values at ``section/dataset`` and below."""
    content = read_json(original / "benchmark" / "manifest.json")
    for place, value in changes.items():
        section, *keys = place.split("__")
        part = content[section][DATASET]
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value
    write_json(path, content)
    return path


def test_two_runs_of_one_manifest_agree_bit_for_bit(original, reproduction):
    first, second = (read_json(folder / "benchmark" / "manifest.json") for folder in (original, reproduction))
    assert first_difference(first, second) is None
    training = first["results"][DATASET][TRAINING]
    assert set(training["labels"]) == set(first["splits"][DATASET]["fold_0"]["val"]) != set()
    verdict = read_json(reproduction / "reproduction.json")
    assert verdict["agrees"]
    assert verdict["compared"] == "bit for bit"
    assert verdict["largest_score_differences"]["pq_pooled"] == 0


def test_the_same_command_keeps_what_is_done(original, reproduction, capsys):
    before = times(reproduction / "root")
    assert reproduce(original, reproduction) == 0
    assert "agrees with" in capsys.readouterr().out
    assert times(reproduction / "root") == before


def test_a_manifest_tells_of_no_user_host_or_path(original):
    text = (original / "benchmark" / "manifest.json").read_text()
    assert str(original) not in text
    assert str(original.parent) not in text
    assert not any(f'"{start}' in text or f" {start}" in text for start in ("/", "~"))
    assert socket.gethostname() not in text
    assert str(Path.home()) not in text


def test_a_changed_label_file_is_the_first_difference_and_nothing_is_run(copy, tmp_path, assert_refused):
    path = sorted((copy / "nnUNet_raw" / DATASET / "instancesTr").iterdir())[0]
    labels = read_label_map(path)
    write_label_map(path, np.where(labels == labels.max(), labels.max() + 1, labels))
    code = reproduce(copy, tmp_path / "again")
    assert_refused(code, f"because of the raw files: {DATASET}, instancesTr/{path.name} has changed; nothing was run")
    assert not (tmp_path / "again").exists()


def test_data_that_are_gone_are_named(copy, tmp_path, assert_refused):
    shutil.rmtree(copy / "nnUNet_raw" / DATASET)
    assert_refused(reproduce(copy, tmp_path / "again"), DATASET)
    assert not (tmp_path / "again").exists()


def test_another_plan_and_another_seed_are_the_first_differences(copy, tmp_path):
    def manifest(*options: str) -> dict:
        output = str(tmp_path / "other")
        assert main(["1", *GRID, "--root", str(copy), "--output", output, "--manifest", *options]) == 0
        return read_json(tmp_path / "other" / "manifest.json")

    first = read_json(copy / "benchmark" / "manifest.json")
    assert first_difference(first, manifest("--seeds", "1")) == "what was asked: seeds was [0] and is [1]"
    settings = ("oversampling=0.5", "patch_size=64", "batch_size=2", 'encoder={"depth": 2}')
    options = [f"--set={setting}" for setting in (*settings, "network_width=[4, 8, 8, 8, 8]")]
    assert plan_and_preprocess.main(["1", "--device", "cpu", "--root", str(copy), *options]) == 0
    assert first_difference(first, manifest()) == f"the plan: {DATASET}, oversampling was 0.85 and is 0.5"


def test_a_plan_that_comes_out_otherwise_ends_the_reproduction_before_any_training(
    original, reproduction, tmp_path, assert_refused
):
    manifest = edited(original, tmp_path / "manifest.json", plans__oversampling=0.5)
    again = Path(shutil.copytree(reproduction, tmp_path / "again", symlinks=True))
    shutil.copyfile(manifest, again / "original.json")
    shutil.rmtree(again / "root" / "nnUNet_results")
    assert_refused(reproduce(original, again, manifest), "the plan:", "oversampling was 0.5 and is 0.85")
    assert not (again / "root" / "nnUNet_results").exists()
    assert not read_json(again / "reproduction.json")["agrees"]


def test_the_first_training_that_differs_is_named(original, reproduction, tmp_path, assert_refused):
    manifest = edited(original, tmp_path / "manifest.json", **{f"results__{TRAINING}__weights": "0" * 64})
    before = read_json(reproduction / "original.json")
    # In place: in a copy the table would be made anew, by a command with another root.
    shutil.copyfile(manifest, reproduction / "original.json")
    code = reproduce(original, reproduction, manifest)
    write_json(reproduction / "original.json", before)
    assert_refused(code, f"differs first in the trainings: {DATASET}, {TRAINING}, weights has changed")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("1",), "leave out 1"),
        (("--configs", "baseline"), "leave out --configs"),
        (("--seeds=1",), "leave out --seeds"),
        (("--encoder", "uni"), "leave out --encoder"),
        (("--weights", "gone.bin"), "gone.bin does not exist"),
    ],
)
def test_what_the_manifest_says_cannot_be_given_beside_it(original, tmp_path, assert_refused, options, part):
    assert_refused(reproduce(original, tmp_path / "again", None, *options), part)


def test_a_folder_with_the_reproduction_of_another_manifest_is_refused(
    original, reproduction, tmp_path, assert_refused
):
    manifest = edited(original, tmp_path / "manifest.json", plans__oversampling=0.5)
    before = times(reproduction)
    assert_refused(reproduce(original, reproduction, manifest), "holds the reproduction of another manifest")
    assert times(reproduction) == before
