"""Jobs that a real SLURM runs: each under its name and on its own GPU; what fails holds up only what needs it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from nucplan.workflow.arrays import sbatch_script
from nucplan.workflow.engine import Engine, run_by_engine
from nucplan.workflow.jobs import Job
from nucplan.workflow.local import Outcome

STAND_IN = Path(__file__).with_name("stand_in.py")


@pytest.fixture
def run(slurm, tmp_path, monkeypatch):
    """Run the stand-in benchmark by the engine."""
    monkeypatch.setenv("PATH", slurm.environment["PATH"])
    engine = Engine("slurm", slurm.profile)

    def once() -> Outcome:
        command = ["python", str(STAND_IN), str(tmp_path)]
        return run_by_engine(stand_in_jobs(tmp_path), command, engine, tmp_path / "output", print)

    return once


def stand_in_jobs(folder: Path) -> list[Job]:
    sys.path.insert(0, str(STAND_IN.parent))
    try:
        import stand_in
    finally:
        sys.path.pop(0)
    return stand_in.jobs(folder)


def diary(folder: Path) -> list[list[str]]:
    """What ran, in turn: name and CUDA_VISIBLE_DEVICES."""
    return [line.split(" ") for line in (folder / "diary").read_text().splitlines()]


def test_each_job_has_its_name_and_its_gpu_one_that_fails_is_tried_twice_and_a_repeat_starts_what_is_missing(
    run, slurm, tmp_path
):
    seen, over = set(), threading.Event()

    def watch() -> None:
        while not over.wait(0.3):
            seen.update(slurm.queue())

    watcher = threading.Thread(target=watch)
    watcher.start()
    outcome = run()
    over.set()
    watcher.join()
    assert Counter(name for name, _ in diary(tmp_path)) == {"first": 1, "second": 1, "bad": 2, "report": 1}
    assert set(outcome.finished) == {"test/first", "test/second", "test/report"}
    assert list(outcome.failed) == ["test/bad"]
    assert {"test.first", "test.second", "test.bad"} <= seen
    devices = {name: device for name, device in diary(tmp_path)}
    assert {devices["first"], devices["second"]} == {"0", "1"}
    assert devices["bad"] == ""

    (tmp_path / "mended").touch()
    (tmp_path / "diary").unlink()
    again = run()
    assert again.complete
    assert set(again.kept) == {"test/first", "test/second"}
    assert [name for name, _ in diary(tmp_path)] == ["bad", "report"]


def test_the_array_script_runs_the_same_jobs_and_a_second_submission_what_is_missing(slurm, tmp_path):
    command = [sys.executable, str(STAND_IN), str(tmp_path)]
    script = tmp_path / "array.sh"
    script.write_text(sbatch_script(stand_in_jobs(tmp_path), command))

    def submit() -> Counter:
        (tmp_path / "diary").write_text("")
        subprocess.run(["bash", str(script)], env=slurm.environment, cwd=tmp_path, check=True)
        slurm.wait()
        return Counter(name for name, _ in diary(tmp_path))

    assert submit() == {"first": 1, "second": 1, "bad": 1, "report": 1}
    (tmp_path / "mended").touch()
    assert submit() == {"bad": 1, "report": 1}
    assert all(job.done for job in stand_in_jobs(tmp_path))
