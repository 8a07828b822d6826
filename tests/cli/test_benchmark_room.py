"""The benchmark looks at its folders and at the disk before it starts the first job."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from nucplan.cli.benchmark import main
from nucplan.workflow import local
from nucplan.workflow.local import Outcome

OPTIONS = ("--configs", "boundary_attention", "--folds", "0,1", "--iterations", "2", "--device", "cpu")


def benchmark(root: Path, *options: str) -> int:
    return main(["1", "--root", str(root), *OPTIONS, *options])


def times(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of jobs that were to run; none of them does."""
    names: list[str] = []

    def pretend(jobs, *_) -> Outcome:
        names.extend(job.name for job in jobs if not job.done)
        return Outcome((), tuple(names), {}, ())

    monkeypatch.setattr(local, "run_jobs", pretend)
    return names


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What the disk is said to have left, in bytes."""
    left = {"bytes": 0}
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=left["bytes"]))
    return left


def test_a_disk_without_room_for_the_checkpoints_is_refused_before_any_work(root, free, started, assert_refused):
    before = times(root)
    free["bytes"] = 20_000_000
    assert_refused(benchmark(root), "has 0.02 GiB left", "checkpoints of 2 trainings take about 0.04 GiB; free some")
    assert started == []
    assert times(root) == before
    free["bytes"] = 60_000_000
    assert benchmark(root) == 0
    assert started[0] == "train/Dataset001_Tiny/boundary_attention/fold_0"


def test_only_what_is_left_needs_room(trained_root, free, started):
    free["bytes"] = 0
    assert benchmark(trained_root) == 0
    assert started == [*(f"{job}/Dataset001_Tiny" for job in ("choose", "test", "cost")), "manifest", "report"]


def test_a_disk_that_holds_any_network_is_not_measured_against_this_one(root, free, started, monkeypatch):
    monkeypatch.setattr("trainers.checkpoint_size.bytes_to_come", lambda *_: pytest.fail("a network was built"))
    free["bytes"] = 2**40
    assert benchmark(root) == 0


def test_a_small_disk_is_refused_for_real(root, mounted, started, assert_refused):
    results = mounted(root / "nnUNet_results", "size=8m")
    assert_refused(benchmark(root), "nnUNet_results has 0.01 GiB left")
    assert list(results.iterdir()) == []


@pytest.mark.parametrize("folder", ["nnUNet_results", "nnUNet_preprocessed/Dataset001_Tiny", "elsewhere"])
def test_a_folder_that_is_read_only_is_refused_before_any_work(root, mounted, started, folder, assert_refused):
    there = root / folder
    kept = shutil.copytree(there, root / "kept") if there.is_dir() else None
    mounted(there, "size=64m")
    if kept is not None:
        shutil.copytree(kept, there, dirs_exist_ok=True)
    subprocess.run(["mount", "-o", "remount,ro", str(there)], check=True)
    assert_refused(benchmark(root, "--output", str(root / "elsewhere")), f"{there} cannot be written; make it writable")
    assert started == []


def test_what_is_done_may_lie_in_a_folder_that_is_read_only(trained_root, tmp_path, monkeypatch, capsys):
    jobs = []
    monkeypatch.setattr(local, "run_jobs", lambda given, *_: jobs.extend(given) or Outcome((), (), {}, ()))
    root = shutil.copytree(trained_root, tmp_path / "root")
    assert benchmark(root) == 0
    monkeypatch.undo()
    for job in jobs:
        for path in job.outputs:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(job.written or "")
    monkeypatch.setattr("os.access", lambda *_: False)
    assert benchmark(root) == 0
    assert "0 jobs done now, 8 done before" in capsys.readouterr().out
