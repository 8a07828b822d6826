"""Snakemake as a runner of jobs: the same order, failures and repeats as on this machine without it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nucplan.errors import NucplanError
from nucplan.workflow import engine
from nucplan.workflow.engine import Engine, run_by_engine
from nucplan.workflow.jobs import Job, Resources
from nucplan.workflow.local import Outcome

# A job: appends its name to a diary, fails while there is a file of its name and .broken, and writes its output.
WORK = """
import pathlib, sys, time
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
with open(folder / "diary", "a") as diary:
    diary.write(name + "\\n")
while (folder / (name + ".slow")).exists():
    time.sleep(0.05)
if (folder / (name + ".broken")).exists():
    sys.exit(75)
(folder / name).touch()
"""
# What nucplan_benchmark does with --index: runs one job of the list.
BENCHMARK = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_engine import jobs_of
from nucplan.workflow.local import run_jobs
folder, names, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[4])
sys.exit(not run_jobs([jobs_of(folder, names)[number]], 1, folder / "logs").complete)
"""


def jobs_of(folder: Path, text: str) -> list[Job]:
    """Jobs as they stand in a text: ``a b:a`` are a and b, which reads what a writes; ``c!:a`` runs anyway."""
    found = []
    for word in text.split():
        name, _, after = word.partition(":")
        anyway, name = name.endswith("!"), name.rstrip("!")
        inputs = tuple(folder / other for other in after.split(",") if other)
        command = ("python", "-c", WORK, str(folder), name)
        found.append(Job(f"test/{name}", command, inputs, (folder / name,), anyway=anyway))
    return found


def diary(folder: Path) -> list[str]:
    return (folder / "diary").read_text().split() if (folder / "diary").exists() else []


def arguments(folder: Path, text: str) -> tuple:
    command = ["python", "-c", BENCHMARK.format(tests=str(Path(__file__).parent)), str(folder), text]
    profile = folder / "profile"
    profile.mkdir(exist_ok=True)
    (profile / "config.yaml").write_text("executor: local\ncores: 2\nretries: 1\n")
    return jobs_of(folder, text), command, Engine(profile=profile), folder / "output"


def run(folder: Path, text: str) -> Outcome:
    pytest.importorskip("snakemake", reason='Snakemake is not installed: pip install "nucplan[cluster]"')
    return run_by_engine(*arguments(folder, text), print)


def test_everything_runs_once_and_after_what_it_needs(tmp_path):
    text = "plan train0:plan train1:plan report!:train0,train1"
    outcome = run(tmp_path, text)
    assert outcome.complete
    first, *middle, last = diary(tmp_path)
    assert (first, sorted(middle), last) == ("plan", ["train0", "train1"], "report")
    again = run(tmp_path, text)
    assert (len(again.kept), again.finished, len(diary(tmp_path))) == (4, (), 4)


def test_a_failure_is_tried_twice_holds_up_only_what_needs_it_and_a_repeat_runs_what_is_missing(tmp_path):
    text = "bad needs:bad other report!:needs"
    (tmp_path / "bad.broken").touch()
    outcome = run(tmp_path, text)
    assert sorted(diary(tmp_path)) == ["bad", "bad", "other", "report"]
    assert (list(outcome.failed), outcome.waiting) == (["test/bad"], ("test/needs",))
    assert set(outcome.finished) == {"test/report", "test/other"}
    (tmp_path / "bad.broken").unlink()
    (tmp_path / "diary").unlink()
    assert run(tmp_path, text).complete
    assert diary(tmp_path) == ["bad", "needs", "report"]


def test_what_runs_anyway_runs_again_when_what_it_reads_was_made_anew_in_the_same_call(tmp_path):
    text = "a:raw b:a report!:b"
    (tmp_path / "raw").touch()
    assert run(tmp_path, text).complete
    time.sleep(0.01)
    (tmp_path / "raw").touch()
    outcome = run(tmp_path, text)
    assert (outcome.complete, outcome.kept) == (True, ())
    assert diary(tmp_path) == ["a", "b", "report"] * 2


def test_files_say_what_is_done_whatever_snakemake_remembers(tmp_path):
    text = "a b:a c:b"
    run(tmp_path, text)
    (tmp_path / "b").unlink()
    assert run(tmp_path, text).finished == ("test/b", "test/c")
    assert diary(tmp_path)[3:] == ["b", "c"]
    # Done by another command: nothing to do here.
    (tmp_path / "other").mkdir()
    for name in "abc":
        (tmp_path / "other" / name).touch()
        time.sleep(0.01)
    assert run(tmp_path / "other", text).finished == ()


@pytest.fixture
def driver(tmp_path):
    """A process that runs a first job and then a slow one, and the Snakemake that it called."""
    pytest.importorskip("snakemake")
    (tmp_path / "slow.slow").touch()
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from nucplan.cli.time_limit import ended_by_scheduler\n"
        "from test_engine import run\n"
        "with ended_by_scheduler():\n"
        f"    run(Path({str(tmp_path)!r}), 'first slow:first last:slow')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    while "slow" not in diary(tmp_path):
        assert process.poll() is None
        time.sleep(0.05)
    (child,) = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    return process, int(child)


def test_after_a_killed_driver_the_same_call_goes_on(tmp_path, driver):
    process, snakemake = driver
    process.kill()
    process.wait()
    os.kill(snakemake, signal.SIGKILL)
    (tmp_path / "slow.slow").unlink()
    assert run(tmp_path, "first slow:first last:slow").complete
    assert diary(tmp_path).count("first") == 1


def test_a_driver_that_is_ended_takes_back_what_runs_and_starts_no_other(tmp_path, driver):
    process, snakemake = driver
    process.terminate()
    process.wait(60)
    with pytest.raises(ProcessLookupError):
        os.kill(snakemake, 0)
    (tmp_path / "slow.slow").unlink()
    assert diary(tmp_path) == ["first", "slow"]


@pytest.mark.parametrize(
    ("profile", "options"),
    [
        (None, "--retries 1 --latency-wait 60 --jobs unlimited"),
        ("here", "--profile {here}"),
    ],
)
def test_a_profile_decides_what_it_can_decide(tmp_path, profile, options):
    found = Engine("slurm", tmp_path if profile else None).arguments()
    assert " ".join(found).endswith(options.format(here=tmp_path))
    assert found[:2] == ["--executor", "slurm"]
    assert Engine("slurm", tmp_path, at_once=3).arguments()[-2:] == ["--jobs", "3"]


def test_a_job_asks_for_what_it_needs_in_the_words_of_snakemake(tmp_path):
    jobs = [
        replace(job, resources=Resources(gpus=gpus, cores=4, memory_gib=2, hours=1.01))
        for job, gpus in zip(jobs_of(tmp_path, "a b:a"), (0, 1), strict=True)
    ]
    first, second = engine._entries(jobs, ["nucplan_benchmark", "1"])
    assert first["resources"] == {"mem_mb": 2048, "runtime": 61}
    assert second["resources"] == {"mem_mb": 2048, "runtime": 61, "gpu": 1}
    assert (second["rule"], second["after"], second["cores"]) == ("test.b", ["done/test.a"], 4)
    assert second["command"] == ["nucplan_benchmark", "1", "--index", "1"]


def test_what_is_not_installed_is_named_with_the_way_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(NucplanError, match=r'pip install "nucplan\[cluster\]"'):
        Engine("slurm").refuse_missing()
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda _name: True)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NucplanError, match="finds no sbatch"):
        Engine("slurm").refuse_missing()
    with pytest.raises(NucplanError, match="is no folder with a config.yaml"):
        Engine(profile=tmp_path / "absent").refuse_missing()
