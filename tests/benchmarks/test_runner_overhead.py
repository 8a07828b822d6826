"""Going through a list of jobs costs little beside starting their commands by hand."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nucplan.layout import Dataset, resolve_roots
from nucplan.workflow.jobs import Job
from nucplan.workflow.local import run_jobs
from nucplan.workflow.study import Study

JOBS = 20
TOUCH = "import pathlib, sys; pathlib.Path(sys.argv[1]).touch()"
CASES = 600


def jobs_in(folder: Path) -> list[Job]:
    folder.mkdir()
    return [Job(f"job{i}", ("python", "-c", TOUCH, str(folder / str(i))), (), (folder / str(i),)) for i in range(JOBS)]


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def test_a_job_costs_less_than_a_second_more_than_its_command(benchmark, tmp_path):
    def directly() -> None:
        for job in jobs_in(tmp_path / "directly"):
            subprocess.run([sys.executable, *job.command[1:]], check=True)

    by_hand = seconds(directly)
    listed = jobs_in(tmp_path / "listed")
    ours = seconds(lambda: benchmark.pedantic(run_jobs, (listed, 1, tmp_path / "logs"), rounds=1))
    benchmark.extra_info["milliseconds_per_job"] = round(1000 * (ours - by_hand) / JOBS)
    assert ours - by_hand < JOBS


@pytest.fixture
def finished(tmp_path: Path) -> Study:
    """Three datasets of 600 cases with 3 configs x 5 folds x 3 seeds each, all of it done."""
    datasets = tuple(Dataset(resolve_roots(tmp_path), f"Dataset00{i}_Done") for i in (1, 2, 3))
    batch = {"batch_size": {"value": 2, "from": {"predicted_bytes": 1}}}
    plan = json.dumps({"configurations": {}, "nucplan": {"decisions": batch}})
    for dataset in datasets:
        for kind in ("images", "labels", "instances"):
            dataset.part(kind).mkdir(parents=True)
            for case in range(CASES):
                (dataset.part(kind) / f"{case:03d}.tif").touch()
        dataset.dataset_json.write_text("{}")
        dataset.preprocessed.mkdir(parents=True)
        dataset.plans().write_text(plan)
        dataset.made_from().write_text("{}")
    trainers = {config: f"trainer_{config}" for config in "abc"}
    study = Study(datasets, trainers, tmp_path / "out", seeds=(0, 1, 2), iterations=2, root=str(tmp_path))
    for job in study.jobs():
        for path in job.outputs:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_text(job.written or "")
        if job.plan is not None:
            job.plan.copy.write_text(plan)
    return study


def test_a_look_at_a_big_grid_that_is_done_costs_little_beside_a_look_at_its_files(benchmark, finished, fastest):
    found = benchmark.pedantic(lambda: run_jobs(finished.jobs(), 1, finished.output / "logs"), rounds=3)
    assert (len(found.kept), found.finished, found.failed) == (len(finished.jobs()), (), {})
    root = finished.datasets[0].roots.raw.parent

    def look() -> None:
        for path in root.rglob("*"):
            path.stat()

    ratio = fastest(lambda: run_jobs(finished.jobs(), 1, finished.output / "logs"), 3) / fastest(look, 3)
    benchmark.extra_info["times_a_look"] = round(ratio, 1)
    assert ratio < 20
