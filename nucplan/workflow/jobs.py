"""Jobs as data: what to call, which files it reads and writes, what it needs. Files are the state; nothing else is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.origin import TrainedOn
from nucplan.plans import essence, shared_essence
from nucplan.workflow.decided import Decided, PlannedFor


@dataclass(frozen=True)
class Resources:
    """What a job asks of a machine.

    Attributes
    ----------
    gpus, cores
        Numbers of devices.
    memory_gib
        Of the computer, not of its GPU.
    hours
        After which a cluster may end the job.
    """

    gpus: int = 0
    cores: int = 2
    memory_gib: int = 8
    hours: float = 1.0


@dataclass(frozen=True)
class PlanCopy:
    """A plan, and the copy of it that lies beside what was made with it.

    Results hold as long as both say the same, whenever the plan was written: planning the same data again changes the
    file's time and nothing else. The plan of a ``variant``, which its folder names, has an architecture of its own.
    """

    plan: Path
    copy: Path
    variant: bool = False

    def same(self) -> bool:
        """Whether both are there and differ in nothing that a result depends on."""
        if not (self.plan.is_file() and self.copy.is_file()):
            return False
        if self.variant:
            return shared_essence(read_json(self.plan)) == shared_essence(read_json(self.copy))
        return plan_hash(self.plan) == plan_hash(self.copy)


@dataclass(frozen=True)
class Length:
    """How long a training that may lie in a folder was, and how long it is asked to be.

    Attributes
    ----------
    record
        JSON file of the training with its number of ``iterations``.
    iterations
        What is asked; None where there is no plan yet that tells.
    holds
        Without one of these files the folder holds no training, whatever the record says.
    """

    record: Path
    iterations: int | None
    holds: tuple[Path, ...]

    def differs(self) -> bool:
        """Whether another length was trained."""
        if self.iterations is None or not self.record.is_file() or not any(path.is_file() for path in self.holds):
            return False
        return read_json(self.record).get("iterations") != self.iterations


@dataclass(frozen=True)
class Job:
    """One command of a benchmark.

    Attributes
    ----------
    name
        Unique, like a path: ``train/Dataset002_Tissue/boundary/fold_3``.
    command
        Program and arguments.
    inputs, outputs
        Files. A job waits for those jobs that write its inputs, and is done when its outputs are there and none is
        older than an input.
    after
        Files that have to be there before it starts, whenever they were written.
    plan
        A further input that counts by its content; see `PlanCopy`.
    length
        Of the training that the outputs belong to; see `Length`.
    data
        What that training learned from; see `TrainedOn`.
    decided
        What a user decided of the plan that this job makes; see `nucplan.workflow.decided`.
    written
        Text that the first output holds where this very command made it, or None where that does not matter.
    anyway
        It starts as soon as all jobs that it waits for are settled, done or not, and works with what is there. As long
        as something is missing it is not done, so that a later run makes it anew.
    resources
        What it asks of a machine.
    seconds
        Expected time, or None where nothing is known yet.
    """

    name: str
    command: tuple[str, ...]
    inputs: tuple[Path, ...] = ()
    outputs: tuple[Path, ...] = ()
    after: tuple[Path, ...] = ()
    plan: PlanCopy | None = None
    length: Length | None = None
    data: TrainedOn | None = None
    decided: tuple[Decided | PlannedFor, ...] = ()
    written: str | None = None
    anyway: bool = False
    resources: Resources = field(default_factory=Resources)
    seconds: float | None = None

    @property
    def reads(self) -> tuple[Path, ...]:
        """All files that have to be there before it starts."""
        return (*self.inputs, *self.after, *([] if self.plan is None else [self.plan.plan]))

    def unfinished_because(self) -> str | None:
        """Why it has to run, in words that end a sentence; None if it is done."""
        absent = next((path for path in self.inputs if not path.exists()), None)
        reason = self._outdated_because()
        if reason is None and absent is not None:
            return f"{absent}, from which it is made, is not there"
        return reason

    def failed_because(self) -> str | None:
        """Why its command, which ended well, did not do its work; None if it did."""
        return self._outdated_because() if self.anyway else self.unfinished_because()

    def _outdated_because(self) -> str | None:
        """Why its outputs do not stand for those inputs that are there."""
        missing = [path for path in self.outputs if not path.exists()]
        if missing:
            return f"{missing[0]} is not there"
        if self.plan is not None and not self.plan.same():
            return f"{self.plan.copy} is not the plan of {self.plan.plan}"
        if self.data is not None and self.data.problem() is not None:
            return f"{self.data.record.parent} was trained on other data"
        if (difference := next(filter(None, (one.difference() for one in self.decided)), None)) is not None:
            return difference
        if self.written is not None and self.written not in self.outputs[0].read_text(encoding="utf-8"):
            return f"{self.outputs[0]} was made by another command"
        oldest = min(self.outputs, key=_time)
        newer = [path for path in self.inputs if path.exists() and _time(path) > _time(oldest)]
        return f"{oldest} is older than {newer[0]}" if newer else None

    def refused_because(self) -> str | None:
        """Why it can neither be kept nor run, as a sentence; None where nothing stands against it."""
        if self.data is not None and (problem := self.data.problem()) is not None:
            return problem
        if (problem := next(filter(None, (one.problem() for one in self.decided)), None)) is not None:
            return problem
        if self.length is None or not self.length.differs():
            return None
        return (
            f"{self.length.record.parent} holds a training of another length than {self.length.iterations} iterations; "
            "give the length that it has, or move that folder away to train anew."
        )

    @property
    def done(self) -> bool:
        return self.unfinished_because() is None


def plan_hash(path: Path) -> str:
    """SHA-256 of what results depend on in a plan (`nucplan.plans.essence`)."""
    return hashlib.sha256(json.dumps(essence(read_json(path)), sort_keys=True).encode()).hexdigest()


def prerequisites(jobs: Sequence[Job]) -> dict[str, tuple[Job, ...]]:
    """For each job, by name, the jobs of the list that write what it reads.

    Raises
    ------
    NucplanError
        If two jobs have one name or one output, or jobs wait for each other.
    """
    writers: dict[Path, Job] = {}
    names: set[str] = set()
    for job in jobs:
        taken = next((path for path in job.outputs if path in writers), None)
        if job.name in names or taken is not None:
            raise NucplanError(f"The benchmark has job '{job.name}' twice; name each dataset, config and seed once.")
        names.add(job.name)
        writers |= dict.fromkeys(job.outputs, job)
    found = {job.name: _unique([writers[path] for path in job.reads if path in writers]) for job in jobs}
    _refuse_circles(found)
    return found


def _unique(jobs: Sequence[Job]) -> tuple[Job, ...]:
    return tuple({job.name: job for job in jobs}.values())


def _refuse_circles(waits_for: Mapping[str, Sequence[Job]]) -> None:
    settled: set[str] = set()
    while len(settled) < len(waits_for):
        free = {name for name, jobs in waits_for.items() if all(job.name in settled for job in jobs)} - settled
        if not free:
            raise NucplanError(f"These jobs wait for each other: {', '.join(sorted(set(waits_for) - settled))}.")
        settled |= free


def _time(path: Path) -> int:
    return path.stat().st_mtime_ns
