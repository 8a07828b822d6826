"""Running jobs here: order, failures, interruptions, and nothing done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nucplan.workflow.jobs import Job, PlanCopy
from nucplan.workflow.local import run_jobs

# Each command appends its name to a diary when it starts, so the diary tells what ran, how often and in which order.
WRITE = """
import os, pathlib, sys, time
name, folder, seconds, *outputs = sys.argv[1:]
pathlib.Path(folder, "process").write_text(f"{name} {os.getpid()}")
with open(pathlib.Path(folder, "diary"), "a") as diary:
    diary.write(name + "\\n")
time.sleep(float(seconds))
for output in outputs:
    pathlib.Path(output).touch()
"""
FAIL = "import sys; print('the reason'); sys.exit(7)"


def writing(folder: Path, name: str, *inputs: str, seconds: float = 0, outputs: tuple[str, ...] = ()) -> Job:
    paths = tuple(folder / output for output in outputs or (name,))
    command = ("python", "-c", WRITE, name, str(folder), str(seconds), *map(str, paths))
    return Job(name, command, tuple(folder / path for path in inputs), paths)


def failing(folder: Path, name: str) -> Job:
    return Job(name, ("python", "-c", FAIL), (), (folder / name,))


def diary(folder: Path) -> list[str]:
    return (folder / "diary").read_text().split() if (folder / "diary").exists() else []


def diamond(folder: Path) -> list[Job]:
    return [
        writing(folder, "plan"),
        *(writing(folder, f"train{fold}", "plan") for fold in range(3)),
        writing(folder, "table", "train0", "train1", "train2"),
    ]


@pytest.mark.parametrize("at_once", [1, 3])
def test_everything_runs_once_and_after_what_it_needs(tmp_path, at_once):
    outcome = run_jobs(diamond(tmp_path), at_once, tmp_path / "logs")
    assert outcome.complete
    assert diary(tmp_path)[0] == "plan"
    assert diary(tmp_path)[-1] == "table"
    assert sorted(diary(tmp_path)) == ["plan", "table", "train0", "train1", "train2"]
    again = run_jobs(diamond(tmp_path), at_once, tmp_path / "logs")
    assert (len(again.kept), again.finished) == (5, ())
    assert len(diary(tmp_path)) == 5


def test_only_what_depends_on_a_changed_file_runs_again(tmp_path):
    run_jobs(diamond(tmp_path), 1, tmp_path / "logs")
    (tmp_path / "train1").unlink()
    outcome = run_jobs(diamond(tmp_path), 1, tmp_path / "logs")
    assert outcome.finished == ("train1", "table")


def test_a_failure_holds_up_only_what_needs_it(tmp_path):
    jobs = [failing(tmp_path, "bad"), writing(tmp_path, "needs", "bad"), writing(tmp_path, "other")]
    outcome = run_jobs(jobs, 1, tmp_path / "logs")
    assert (outcome.finished, outcome.waiting) == (("other",), ("needs",))
    assert "exit code 7" in outcome.failed["bad"]
    assert "the reason" in (tmp_path / "logs" / "bad.log").read_text()
    assert not outcome.complete


def anyway(job: Job) -> Job:
    return replace(job, anyway=True)


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_job_that_runs_anyway_waits_until_all_that_it_reads_is_done_or_cannot_be(tmp_path, at_once):
    jobs = [
        failing(tmp_path, "bad"),
        writing(tmp_path, "needs", "bad"),
        writing(tmp_path, "slow", seconds=0.3),
        anyway(writing(tmp_path, "report", "needs", "slow")),
    ]
    outcome = run_jobs(jobs, at_once, tmp_path / "logs")
    assert diary(tmp_path) == ["slow", "report"]
    assert (outcome.finished, list(outcome.failed), outcome.waiting) == (("slow", "report"), ["bad"], ("needs",))
    assert not outcome.complete


def test_a_job_that_ran_over_a_gap_runs_again_until_the_gap_is_closed_and_then_is_kept(tmp_path):
    first = [failing(tmp_path, "bad"), anyway(writing(tmp_path, "report", "bad"))]
    for _ in range(2):
        assert run_jobs(first, 1, tmp_path / "logs").finished == ("report",)
    mended = [writing(tmp_path, "bad"), anyway(writing(tmp_path, "report", "bad"))]
    assert run_jobs(mended, 1, tmp_path / "logs").finished == ("bad", "report")
    assert run_jobs(mended, 1, tmp_path / "logs").kept == ("bad", "report")


def test_what_needs_a_job_that_ran_anyway_does_not_wait_for_what_failed(tmp_path):
    jobs = [failing(tmp_path, "bad"), anyway(writing(tmp_path, "report", "bad")), writing(tmp_path, "copy", "report")]
    assert run_jobs(jobs, 1, tmp_path / "logs").finished == ("report", "copy")


def test_a_job_that_runs_anyway_fails_where_its_command_does(tmp_path):
    outcome = run_jobs([anyway(failing(tmp_path, "report"))], 1, tmp_path / "logs")
    assert list(outcome.failed) == ["report"]


def test_a_command_that_ends_well_without_its_output_has_failed(tmp_path):
    job = Job("lazy", ("python", "-c", "pass"), (), (tmp_path / "never",))
    assert "never is not there" in run_jobs([job], 1, tmp_path / "logs").failed["lazy"]


def test_files_that_cannot_be_read_are_the_failure_of_their_job_alone(tmp_path):
    (tmp_path / "plan.json").write_text("{ half")
    (tmp_path / "copy.json").write_text("{ half")
    (tmp_path / "made").touch()
    broken = Job(
        "broken", ("x",), (), (tmp_path / "made",), plan=PlanCopy(tmp_path / "plan.json", tmp_path / "copy.json")
    )
    outcome = run_jobs([broken, writing(tmp_path, "other")], 1, tmp_path / "logs")
    assert outcome.finished == ("other",)
    assert "plan.json is not valid JSON" in outcome.failed["broken"]


def test_no_more_run_at_once_than_allowed(tmp_path):
    counting = (
        "import pathlib, sys, time; d = pathlib.Path(sys.argv[1]); me = d / f'run_{sys.argv[2]}'; me.touch();"
        "n = len(list(d.glob('run_*'))); time.sleep(0.2); me.unlink(); (d / f'seen_{sys.argv[2]}_{n}').touch();"
        "(d / sys.argv[2]).touch()"
    )
    jobs = [
        Job(f"j{i}", ("python", "-c", counting, str(tmp_path), f"j{i}"), (), (tmp_path / f"j{i}",)) for i in range(6)
    ]
    assert run_jobs(jobs, 2, tmp_path / "logs").complete
    assert max(int(path.name.rsplit("_")[-1]) for path in tmp_path.glob("seen_*")) == 2


def driver(folder: Path) -> subprocess.Popen:
    """Another process that runs a slow job and then a fast one."""
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from test_local import *\n"
        f"folder = Path({str(folder)!r})\n"
        "run_jobs([writing(folder, 'slow', seconds=30), writing(folder, 'next', 'slow')], 1, folder / 'logs')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL, start_new_session=True)
    while not diary(folder):
        assert process.poll() is None
        time.sleep(0.05)
    return process


def test_ctrl_c_stops_the_commands_that_run_and_starts_no_other(tmp_path):
    process = driver(tmp_path)
    process.send_signal(signal.SIGINT)
    process.wait(20)
    name, number = (tmp_path / "process").read_text().split()
    assert name == "slow"
    with pytest.raises(ProcessLookupError):
        os.kill(int(number), 0)
    assert diary(tmp_path) == ["slow"]
    assert not (tmp_path / "slow").exists()
