"""Light jobs under faults: kills at random moments, a command that dies, a program that is not there, a full disk."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from nucplan.workflow.jobs import Job
from nucplan.workflow.local import run_jobs

# Writes its output step by step under another name, as long work does, and its start into a diary: with whether the
# output was there already. What it writes depends on its inputs alone.
STEPS = """
import os, pathlib, sys, time
name, folder, *inputs = sys.argv[1:]
output = pathlib.Path(folder, name)
with open(output.with_name("diary"), "a") as diary:
    diary.write(f"{name} {output.exists()}\\n")
half = output.with_suffix(".half")
with open(half, "w") as handle:
    for step in range(5):
        handle.write(f"{name} {step}\\n")
        time.sleep(0.02)
    handle.writelines(open(path).read() for path in inputs)
os.replace(half, output)
"""


def job(folder: Path, name: str, *inputs: str) -> Job:
    paths = tuple(folder / each for each in inputs)
    return Job(name, ("python", "-c", STEPS, name, str(folder), *map(str, paths)), paths, (folder / name,))


def grid(folder: Path) -> list[Job]:
    trainings = [job(folder, f"train{i}", "plan") for i in range(4)]
    return [job(folder, "plan"), *trainings, job(folder, "table", *(training.name for training in trainings))]


def start(folder: Path) -> subprocess.Popen:
    """Another process that runs the grid, two jobs at a time; it and all its commands are one session's children."""
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from test_faults import *\n"
        f"folder = Path({str(folder)!r})\n"
        "sys.exit(not run_jobs(grid(folder), 2, folder / 'logs').complete)\n"
    )
    return subprocess.Popen([sys.executable, "-c", program])


def kill_all(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGSTOP)
    # A run that has just ended has none.
    with suppress(FileNotFoundError):
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.killpg(int(child), signal.SIGKILL)
    process.kill()
    process.wait()


def results(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file() and path.name != "diary"}


def changes(folder: Path) -> list[str]:
    return (folder / "diary").read_text().splitlines() if (folder / "diary").exists() else []


def wait_for_starts(folder: Path, process: subprocess.Popen, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(changes(folder)) < count and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the commands of a run in /proc")
def test_five_kills_change_nothing_of_the_end_and_what_is_finished_is_not_started_again(tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    undisturbed.mkdir(), killed.mkdir()
    assert run_jobs(grid(undisturbed), 2, undisturbed / "logs").complete
    moments = random.Random(0)
    for _ in range(5):
        process = start(killed)
        wait_for_starts(killed, process, len(changes(killed)) + moments.randint(1, 2))
        time.sleep(moments.uniform(0, 0.15))
        kill_all(process)
    assert start(killed).wait(60) == 0
    assert results(killed) == results(undisturbed)
    assert not [line for line in changes(killed) if line.endswith("True")]
    assert len(changes(killed)) > len(changes(undisturbed))


def test_a_command_that_is_killed_fails_by_name_the_others_go_on_and_a_repeat_finishes(tmp_path):
    def kill_one(line: str) -> None:
        if line.startswith("train1: ") and "FAILED" not in line and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            threading.Thread(target=kill_when_started).start()

    def kill_when_started() -> None:
        while "train1 False" not in changes(tmp_path):
            time.sleep(0.002)
        for child in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
            if b"train1" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                os.kill(int(child), signal.SIGKILL)

    outcome = run_jobs(grid(tmp_path), 1, tmp_path / "logs", kill_one)
    assert list(outcome.failed) == ["train1"]
    assert "SIGKILL" in outcome.failed["train1"]
    assert outcome.finished == ("plan", "train0", "train2", "train3")
    assert outcome.waiting == ("table",)
    again = run_jobs(grid(tmp_path), 1, tmp_path / "logs", kill_one)
    assert again.complete
    assert again.finished == ("train1", "table")


def test_a_program_that_is_not_there_is_the_failure_of_its_job_alone(tmp_path):
    absent = Job("absent", ("no_such_program",), (), (tmp_path / "never",))
    outcome = run_jobs([absent, job(tmp_path, "other")], 1, tmp_path / "logs")
    assert outcome.finished == ("other",)
    assert "could not be started" in outcome.failed["absent"]
    assert "no_such_program" in outcome.failed["absent"]


def test_on_a_full_disk_jobs_fail_by_name_and_go_on_once_there_is_room(tmp_path, mounted):
    folder = mounted(tmp_path / "small", "size=64k")
    filler = folder / "filler"
    with pytest.raises(OSError, match="No space"), open(filler, "wb", buffering=0) as handle:
        while True:
            handle.write(bytes(1024))
    outcome = run_jobs(grid(folder), 1, folder / "logs")
    assert list(outcome.failed) == ["plan"]
    assert len(outcome.waiting) == 5
    filler.unlink()
    assert run_jobs(grid(folder), 1, folder / "logs").complete
    assert results(folder)["plan"].count("plan") == 5
