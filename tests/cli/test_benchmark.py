"""The command: what it lists, what it runs and keeps, what it refuses before any work."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from nucplan.cli.benchmark import main
from nucplan.files import read_json
from nucplan.images import read_label_map, write_label_map

LENGTH = ("--iterations", "2", "--device", "cpu")
DATASET = "Dataset001_Tiny"


def benchmark(root: Path, *options: str) -> int:
    return main(["1", "--root", str(root), *LENGTH, *options])


def times(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def trained(trained_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_root, tmp_path / "trained"))


def test_a_dry_run_lists_the_grid_with_what_is_done_and_touches_nothing(trained_root, capsys):
    before = times(trained_root)
    assert benchmark(trained_root, "--dry-run", "--seeds", "0,1", "--reference", "nnunet") == 0
    *lines, total = capsys.readouterr().out.splitlines()
    names = [line.split("  (")[0].split()[-1] for line in lines]
    # Why a job runs, for those that do, with no more of a path than is needed.
    assert [line.endswith(")") for line in lines] == [" done " not in line for line in lines]
    assert "fold_1/checkpoint_final.pth is not there)" in lines[names.index(f"train/{DATASET}/baseline/fold_1")]
    assert str(trained_root) not in "".join(lines)
    assert len(set(names)) == 1 + 3 * 5 * 2 + 5 + 5
    assert names[:4] == [f"plan/{DATASET}"] + [
        f"train/{DATASET}/{c}/fold_0" for c in ("baseline", "boundary", "boundary_attention")
    ]
    assert f"train/{DATASET}/boundary/seed_1/fold_4" in names
    assert [name for name, line in zip(names, lines, strict=True) if " done " in line] == [
        f"plan/{DATASET}",
        f"train/{DATASET}/boundary_attention/fold_0",
        f"train/{DATASET}/boundary_attention/fold_1",
    ]
    assert "41 jobs, 3 done; the others take" in total
    assert times(trained_root) == before


def test_it_trains_what_is_missing_ends_in_a_report_and_then_keeps_everything(trained, capsys):
    options = ("--configs", "baseline,boundary_attention", "--folds", "0")
    assert benchmark(trained, *options) == 0
    assert "6 jobs done now, 2 done before" in capsys.readouterr().out
    folder = trained / "nnUNet_results" / "benchmarks" / DATASET
    (found,) = read_json(folder / "report.json")["datasets"]
    assert found["failed"] == []
    assert "boundary_<wbr>attention, decoder of baseline" in (folder / "report.html").read_text()
    before = times(trained)
    assert benchmark(trained, *options) == 0
    assert "0 jobs done now, 8 done before" in capsys.readouterr().out
    assert times(trained) == before


def test_a_report_of_other_configs_or_folds_is_made_anew(trained, capsys):
    assert benchmark(trained, "--configs", "boundary_attention", "--folds", "0") == 0
    assert benchmark(trained, "--configs", "boundary_attention", "--folds", "0,1") == 0
    assert "4 jobs done now, 4 done before" in capsys.readouterr().out
    (found,) = trained.rglob("report.json")
    assert read_json(found)["folds"] == [0, 1]


def test_folds_of_another_length_are_refused_before_any_work(trained_root, assert_refused):
    before = times(trained_root)
    code = main(["1", "--root", str(trained_root), "--iterations", "4", "--device", "cpu"])
    assert_refused(code, "fold_0 holds a training of another length than 4 iterations")
    assert times(trained_root) == before


def test_a_job_of_the_list_runs_alone_and_says_what_it_needs_first(trained, capsys):
    (trained / "nnUNet_preprocessed" / DATASET / "nucplanPlans.json").touch()
    made_from = trained / "nnUNet_preprocessed" / DATASET / "nucplanPlans_2d_made_from.json"
    made_from.unlink()
    assert benchmark(trained, "--configs", "boundary_attention", "--index", "1") == 2
    assert f"needs plan/{DATASET}, which is not done: {made_from} is not there" in capsys.readouterr().err


def test_the_report_is_made_by_its_number_also_where_folds_are_missing(trained, capsys):
    assert benchmark(trained, "--configs", "boundary_attention", "--folds", "0,1,2", "--index", "8") == 0
    assert "1 jobs done now" in capsys.readouterr().out
    (found,) = read_json(next(trained.rglob("report.json")))["datasets"]
    assert [job["job"] for job in found["failed"]] == [f"train/{DATASET}/boundary_attention/fold_2"]


def test_a_fold_that_cannot_be_trained_fails_by_name_and_is_named_in_the_report(trained, capsys):
    plans = trained / "nnUNet_results" / DATASET / "nnUNetTrainerNucBoundaryAttention__nucplanPlans__2d" / "plans.json"
    plans.write_text(plans.read_text().replace('"batch_size": 2', '"batch_size": 3'))
    shutil.rmtree(plans.parent / "fold_0")
    for _ in range(2):
        # What is missing is tried again by every call, and named by every report.
        assert benchmark(trained, "--configs", "boundary_attention", "--folds", "0") == 2
        printed = capsys.readouterr()
        assert f"1 jobs failed (train/{DATASET}/boundary_attention/fold_0); 3 more wait for them" in printed.err
        assert "2 jobs done now, 1 done before" in printed.out
        (found,) = read_json(next(trained.rglob("report.json")))["datasets"]
        (job,) = found["failed"]
        assert job["job"] == f"train/{DATASET}/boundary_attention/fold_0"
        assert "holds folds of another plan" in job["reason"]
    (log,) = trained.rglob(f"train.{DATASET}.boundary_attention.fold_0.log")
    assert "holds folds of another plan" in log.read_text()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--configs", "baseline,best"), "There is no config 'best'"),
        (("--configs", "baseline,baseline"), "twice"),
        (("--folds", "0,5"), "different numbers from 0 to 4"),
        (("--folds", "0,,1"), "--folds 0,,1 is not a list of different numbers"),
        (("--seeds", "0,0"), "--seeds 0,0 is not a list of different numbers"),
        (("--jobs", "0"), "--jobs 0 is less than 1"),
        (("--folds", "0,00"), "--folds 0,00 is not a list of different numbers"),
        (("--print-sbatch", "--device", "auto"), "add --device cuda or --device cpu"),
        (("--executor", "slurm", "--device", "auto"), "--executor slurm asks for GPUs or not as --device says"),
        (("--profile", "missing"), "--profile"),
        (("--index", "99"), "--index 99 is not one of the jobs"),
    ],
)
def test_bad_input_is_refused_before_any_work(trained_root, assert_refused, options, part):
    before = times(trained_root)
    assert_refused(benchmark(trained_root, *options), part)
    assert times(trained_root) == before


def test_an_unknown_dataset_is_refused(tiny_root, assert_refused):
    assert_refused(main(["1", "Missing", "--root", str(tiny_root), *LENGTH]), "Dataset 'Missing' does not exist")


def test_a_command_without_a_dataset_says_what_to_name(tiny_root, assert_refused):
    assert_refused(main(["--root", str(tiny_root), *LENGTH]), "No dataset was given")


def test_the_array_script_calls_this_command_with_an_index(trained_root, capsys):
    assert benchmark(trained_root, "--print-sbatch", "--folds", "0") == 0
    script = capsys.readouterr().out
    assert script.startswith("#!/bin/bash")
    assert f"nucplan_benchmark 1 --root {trained_root} --iterations 2 --device cpu --folds 0 --index" in script


def test_trainings_on_labels_that_were_edited_since_are_refused_by_name(trained, capsys):
    labels = sorted((trained / "nnUNet_raw" / DATASET / "instancesTr").iterdir())
    edit(labels[0])
    options = ("--configs", "boundary_attention", "--folds", "0")
    assert benchmark(trained, *options) == 2
    shown = capsys.readouterr()
    assert f"train/{DATASET}/boundary_attention/fold_0: FAILED" in shown.out
    assert "was trained on other images, labels, folds or patches" in shown.out
    before = times(trained)
    assert benchmark(trained, *options) == 2
    assert "move that folder away to train anew" in capsys.readouterr().err
    assert times(trained) == before


def edit(label_file: Path) -> None:
    """Give one nucleus another number, which no statistic of the dataset shows."""
    labels = read_label_map(label_file)
    write_label_map(label_file, np.where(labels == labels.max(), labels.max() + 1, labels))
