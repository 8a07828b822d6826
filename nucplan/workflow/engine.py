"""Run jobs by Snakemake, and by it on SLURM, Kubernetes or a cloud: each is submitted under its own name."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucplan.errors import NucplanError
from nucplan.files import write_json
from nucplan.workflow.jobs import Job, prerequisites
from nucplan.workflow.local import Outcome, log_file

SNAKEFILE = Path(__file__).with_name("Snakefile")
# A job that lost its machine or ran out of time goes on in a second attempt.
RETRIES = 1
# Shared file systems show what another machine wrote after a while.
LATENCY_SECONDS = 60


@dataclass(frozen=True)
class Engine:
    """How Snakemake runs the jobs.

    Attributes
    ----------
    executor
        ``slurm``, or None where the profile says it.
    profile
        Folder of a Snakemake profile, or None; what it says about retries and waiting then holds.
    at_once
        How many jobs are submitted at a time; None for all, or as the profile says.
    """

    executor: str | None = None
    profile: Path | None = None
    at_once: int | None = None

    def refuse_missing(self) -> None:
        """Look for what it needs.

        Raises
        ------
        NucplanError
            If Snakemake, the commands of SLURM or the profile are not here.
        """
        plugins = ["snakemake_executor_plugin_slurm"] if self.executor == "slurm" else []
        if any(importlib.util.find_spec(name) is None for name in ["snakemake", *plugins]):
            raise NucplanError('--executor slurm and --profile need Snakemake: pip install "nucplan[cluster]".')
        if self.executor == "slurm" and shutil.which("sbatch") is None:
            raise NucplanError("--executor slurm finds no sbatch; start it on a machine from which jobs are submitted.")
        if self.profile is not None and not any(self.profile.glob("config*.yaml")):
            raise NucplanError(f"--profile {self.profile} is no folder with a config.yaml; see docs/cluster.md.")

    def arguments(self) -> list[str]:
        """The options of Snakemake that stand for it."""
        found = ["--executor", self.executor] if self.executor else []
        found += ["--slurm-jobname-prefix", "nucplan"] if self.executor == "slurm" else []
        if self.profile is not None:
            found += ["--profile", str(self.profile.resolve())]
            return found if self.at_once is None else [*found, "--jobs", str(self.at_once)]
        found += ["--retries", str(RETRIES), "--latency-wait", str(LATENCY_SECONDS)]
        return [*found, "--jobs", str(self.at_once or "unlimited")]


def run_by_engine(
    jobs: Sequence[Job], command: Sequence[str], engine: Engine, output: Path, report: Callable[[str], None]
) -> Outcome:
    """Run all jobs that are not done.

    Parameters
    ----------
    jobs
        Each after those that it waits for.
    command
        The benchmark command that takes ``--index``; every job calls it with its number.
    output
        Folder of the benchmark; Snakemake works in a folder inside.
    report
        Called with one line for each job that failed.

    Raises
    ------
    KeyboardInterrupt
        As it came, after Snakemake has taken back what it submitted.
    """
    engine.refuse_missing()
    before = {job.name: _written(job) for job in jobs if _answer(job.unfinished_because) is None}
    folder = output / "engine" / hashlib.sha256(shlex.join(command).encode()).hexdigest()[:8]
    entries = _entries(jobs, command)
    for entry, job in zip(entries, jobs, strict=True):
        _mark(folder / entry["done"], job.name in before)
    # Snakemake starts nothing after a job that failed: what runs anyway has a call of its own when all others ended.
    for anyway in (False, True):
        chosen = [entry for entry, job in zip(entries, jobs, strict=True) if job.anyway == anyway]
        if anyway:
            # What it was done with may have been made anew since.
            for entry, job in zip(entries, jobs, strict=True):
                if job.anyway:
                    _mark(folder / entry["done"], _answer(job.unfinished_because) is None)
        if any(not (folder / entry["done"]).exists() for entry in chosen):
            _call_snakemake(chosen, engine, folder, "anyway.json" if anyway else "jobs.json")
    problems = {job.name: _problem(job, folder) for job in jobs}
    kept = {job.name for job in jobs if before.get(job.name) == _written(job)}
    outcome = _outcome(jobs, kept, problems)
    for name, problem in outcome.failed.items():
        log = log_file(output / "logs", name)
        report(f"{name}: FAILED: {problem}{f', see {log}' if log.exists() else ''}")
    return outcome


def _entries(jobs: Sequence[Job], command: Sequence[str]) -> list[dict[str, Any]]:
    """What the Snakefile reads about each job; files are relative to the folder in which Snakemake works."""
    needs = prerequisites(jobs)
    return [
        {
            "rule": _rule(job),
            "done": _done_file(job),
            "after": [] if job.anyway else [_done_file(other) for other in needs[job.name]],
            "command": [*command, "--index", str(index)],
            "folder": os.getcwd(),
            "cores": job.resources.cores,
            "resources": _resources(job),
        }
        for index, job in enumerate(jobs)
    ]


def _written(job: Job) -> list[int]:
    """When its outputs were written; of those that are there."""
    return [path.stat().st_mtime_ns for path in job.outputs if path.exists()]


def _rule(job: Job) -> str:
    return job.name.replace("/", ".")


def _done_file(job: Job) -> str:
    return f"done/{_rule(job)}"


def _resources(job: Job) -> dict[str, int]:
    """In Snakemake's words: MB and minutes; a GPU only where one is needed, since 0 is an amount as well."""
    needs = job.resources
    found = {"mem_mb": needs.memory_gib * 1024, "runtime": math.ceil(needs.hours * 60)}
    return found | ({"gpu": needs.gpus} if needs.gpus else {})


def _mark(path: Path, done: bool) -> None:
    """Tell Snakemake what is done; called in the order of the jobs, so that none is older than what it waits for."""
    if done:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    else:
        path.unlink(missing_ok=True)


def _call_snakemake(entries: Sequence[dict[str, Any]], engine: Engine, folder: Path, name: str) -> None:
    write_json(folder / name, entries)
    # The files that Snakemake sees were written a moment ago: its own record of an earlier call, which may have been
    # killed, says less. As a command, since its Python interface moves.
    state = ["--nolock", "--ignore-incomplete", "--rerun-triggers", "mtime", "--keep-going"]
    words = ["--snakefile", str(SNAKEFILE), "--directory", str(folder), "--config", f"jobs={(folder / name).resolve()}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", *words, *state, *engine.arguments()],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        # Shells start what runs in the background deaf to Ctrl-C.
        preexec_fn=_hear_interrupts,
    )
    try:
        process.wait()
    finally:
        # On Ctrl-C Snakemake takes back what it submitted; on SIGTERM it would wait for all that runs.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            process.wait()


def _hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _outcome(jobs: Sequence[Job], kept: Collection[str], problems: Mapping[str, str | None]) -> Outcome:
    """What became of the jobs, as their files tell."""
    needs = prerequisites(jobs)
    done = [job.name for job in jobs if problems[job.name] is None]
    # As in a run on this machine: a job that others hold up did not fail.
    waiting = [
        job.name
        for job in jobs
        if job.name not in done and not job.anyway and any(problems[other.name] for other in needs[job.name])
    ]
    return Outcome(
        kept=tuple(name for name in done if name in kept),
        finished=tuple(name for name in done if name not in kept),
        failed={job.name: problems[job.name] for job in jobs if job.name not in {*done, *waiting}},
        waiting=tuple(waiting),
    )


def _problem(job: Job, folder: Path) -> str | None:
    """Why a job is not done after Snakemake has left."""
    problem = _answer(job.failed_because)
    # What a job that runs anyway wrote earlier stays, and says nothing about this time.
    if problem is None and job.anyway and not (folder / _done_file(job)).exists():
        return "its command did not end well"
    return problem


def _answer(look: Callable[[], str | None]) -> str | None:
    """What a question about files gives; files that cannot be read are a problem as well."""
    try:
        return look()
    except (NucplanError, OSError) as error:
        return str(error)
