"""Trainings that a real SLURM runs: none is done twice, and one that runs out of time goes on from its checkpoint."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nucplan.files import read_json
from nucplan.layout import FINAL, LATEST

CONFIG = "baseline"
MODEL = Path("nnUNet_results/Dataset001_Tiny/nnUNetTrainerNucBaseline__nucplanPlans__2d")
# Two epochs: room to stop after the first one.
ITERATIONS, EPOCHS = 52, 2
# Nothing takes so long, on the slowest machine.
PATIENCE_SECONDS = 600


@pytest.fixture
def small(tiny_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_root, tmp_path / "root"))


@pytest.fixture
def start(slurm, small):
    """Start the benchmark with its trainings on SLURM."""
    started = []

    def begin(folds: str) -> subprocess.Popen:
        code = "import sys; from nucplan.cli.benchmark import main; sys.exit(main())"
        options = ["--configs", CONFIG, "--folds", folds, "--iterations", str(ITERATIONS), "--device", "cpu"]
        options += ["--root", str(small), "--executor", "slurm", "--profile", str(slurm.profile)]
        started.append(subprocess.Popen([sys.executable, "-c", code, "1", *options], env=slurm.environment))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait()


def wait_until(there: Callable[[], bool], driver: subprocess.Popen) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not there():
        assert driver.poll() is None, "the benchmark ended before that"
        assert time.monotonic() < deadline, "that never came"
        time.sleep(0.05)


def pause(fold: Path, driver: subprocess.Popen) -> int:
    """Stop the training of a fold after its first checkpoint, and say which process it is."""
    wait_until((fold / LATEST).exists, driver)
    number = read_json(fold / "lock.json")["process"]
    os.kill(number, signal.SIGSTOP)
    return number


def log(root: Path, fold: int) -> str:
    """All that the job of a fold wrote, in all of its runs."""
    (path,) = root.rglob(f"train.Dataset001_Tiny.{CONFIG}.fold_{fold}.log")
    return path.read_text()


def epochs(root: Path, fold: int) -> int:
    """How many epochs were trained, in all runs together."""
    return sum("cross_entropy" in line for line in log(root, fold).splitlines())


def test_the_grid_completes_and_after_a_killed_driver_nothing_is_trained_twice(start, small):
    driver = start("0,1")
    trainings = [pause(small / MODEL / f"fold_{fold}", driver) for fold in (0, 1)]
    (snakemake,) = subprocess.run(["pgrep", "-P", str(driver.pid)], capture_output=True, text=True).stdout.split()
    for number in (driver.pid, int(snakemake)):
        os.kill(number, signal.SIGKILL)
    driver.wait()
    again = start("0,1")
    wait_until(lambda: all("; waiting for it." in log(small, fold) for fold in (0, 1)), again)
    for number in trainings:
        os.kill(number, signal.SIGCONT)
    assert again.wait(PATIENCE_SECONDS) == 0
    assert [epochs(small, fold) for fold in (0, 1)] == [EPOCHS, EPOCHS]
    assert all((small / MODEL / f"fold_{fold}" / FINAL).is_file() for fold in (0, 1))
    assert list(small.rglob("report.json"))


def test_a_training_over_its_time_limit_goes_on_from_its_checkpoint(start, slurm, small):
    driver = start("0")
    pause(small / MODEL / "fold_0", driver)
    number = slurm.call("squeue", "-h", "-o", "%i").strip()
    slurm.call("scontrol", "update", f"jobid={number}", "EndTime=now")
    assert driver.wait(PATIENCE_SECONDS) == 0
    assert "JobState=TIMEOUT" in slurm.call("scontrol", "show", "job", number)
    assert log(small, 0).count("$ nucplan_train") == 2
    assert f"Fold 0 goes on after epoch 1 of {EPOCHS}." in log(small, 0)
