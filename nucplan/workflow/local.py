"""Run jobs on this machine, so many at a time; what is done is skipped, what fails holds up only what needs it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nucplan.errors import NucplanError
from nucplan.workflow.jobs import Job, prerequisites

POLL_SECONDS = 0.05
# Time for a command to leave by itself; a training keeps its last checkpoint either way.
GRACE_SECONDS = 20


@dataclass(frozen=True)
class Outcome:
    """What became of the jobs, by name.

    Attributes
    ----------
    kept
        Were done before.
    finished
        Ran and are done now.
    failed
        Name -> why, in words that end a sentence.
    waiting
        Did not start, because a job that they need failed.
    """

    kept: tuple[str, ...]
    finished: tuple[str, ...]
    failed: dict[str, str]
    waiting: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return not self.failed and not self.waiting


def run_jobs(
    jobs: Sequence[Job], at_once: int, logs: Path, report: Callable[[str], None] = lambda _line: None
) -> Outcome:
    """Run all jobs that are not done.

    Parameters
    ----------
    jobs
        Each after those that it waits for.
    at_once
        How many run side by side.
    logs
        Folder for a text file per job with all that its command wrote; a later run of the job is added to it.
    report
        Called with one line when a job starts and when it ends.

    Raises
    ------
    KeyboardInterrupt
        As it came; the commands that run are told to stop first, and are waited for.
    """
    needs = prerequisites(jobs)
    pending = {job.name: job for job in jobs}
    kept: list[str] = []
    finished: list[str] = []
    failed: dict[str, str] = {}
    running: dict[str, _Running] = {}
    states: dict[str, tuple[bool, str | None]] = {}
    try:
        while True:
            for name in [name for name, process in running.items() if process.ended]:
                problem = running.pop(name).problem()
                report(f"{name}: {'done' if problem is None else f'FAILED: {problem}'}")
                if problem is None:
                    finished.append(name)
                else:
                    failed[name] = problem
            for job in list(pending.values()):
                if not _may_start(job, needs, {*kept, *finished}, failed):
                    continue
                # Looked at once: what is not done stays so until it has run.
                if job.name not in states:
                    states[job.name] = _state(job)
                done, problem = states[job.name]
                if done:
                    kept.append(job.name)
                elif problem is not None:
                    failed[job.name] = problem
                    report(f"{job.name}: FAILED: {problem}")
                elif len(running) < at_once:
                    report(f"{job.name}: {shlex.join(job.command)}")
                    try:
                        running[job.name] = _Running(job, logs)
                    except OSError as error:
                        failed[job.name] = f"it could not be started: {error}"
                        report(f"{job.name}: FAILED: {failed[job.name]}")
                else:
                    continue
                del pending[job.name]
            if not running:
                return Outcome(tuple(kept), tuple(finished), failed, tuple(pending))
            time.sleep(POLL_SECONDS)
    finally:
        _stop(running.values())


def _may_start(job: Job, needs: Mapping[str, Sequence[Job]], done: Collection[str], failed: Collection[str]) -> bool:
    """Whether all that the job waits for is done or, where it runs anyway, can no longer become done."""

    def is_lost(other: Job) -> bool:
        return other.name in failed or (not other.anyway and any(is_lost(needed) for needed in needs[other.name]))

    return all(other.name in done or (job.anyway and is_lost(other)) for other in needs[job.name])


def _state(job: Job) -> tuple[bool, str | None]:
    """Whether the job is done, and what keeps it from being run; files that cannot be read are a problem of theirs."""
    try:
        return job.done, job.refused_because()
    except (NucplanError, OSError) as error:
        return False, str(error)


class _Running:
    """A job whose command runs."""

    def __init__(self, job: Job, logs: Path) -> None:
        self.job = job
        self.log = log_file(logs, job.name)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            log.write(f"$ {shlex.join(job.command)}\n".encode())
            log.flush()
            # A group of its own: Ctrl-C reaches this process alone, which then stops the commands, each once.
            self.process = subprocess.Popen(
                resolve(job.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def problem(self) -> str | None:
        """Why an ended job is not done, or None."""
        if self.process.returncode != 0:
            return f"it left with {_cause(self.process.returncode)}, see {self.log}"
        try:
            reason = self.job.failed_because()
        except (NucplanError, OSError) as error:
            reason = str(error)
        return None if reason is None else f"it ended well, but {reason}, see {self.log}"


def log_file(logs: Path, name: str) -> Path:
    """Where the job ``name`` writes what its command says."""
    return logs / f"{name.replace('/', '.')}.log"


def resolve(command: Sequence[str]) -> list[str]:
    """The command with its program from this installation, which need not be on the PATH."""
    program, *arguments = command
    beside = Path(sys.executable).with_name(program)
    return [sys.executable if program == "python" else str(beside) if beside.is_file() else program, *arguments]


def _cause(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _stop(running: Iterable[_Running]) -> None:
    """Tell commands that their time is over, and wait for them; those that do not leave are killed."""
    alive = [process.process for process in running if not process.ended]
    for process in alive:
        process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    try:
        for process in alive:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0, deadline - time.monotonic()))
    finally:
        # Also where a second Ctrl-C cuts the wait short.
        for process in alive:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
