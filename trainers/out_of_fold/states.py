"""What became of the folds that a benchmark asked for: finished, failed and why, or not run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nucplan.layout import Dataset
from nucplan.workflow.local import log_file
from nucplan.workflow.names import REFERENCE, training_name
from trainers.out_of_fold.folds import is_finished
from trainers.out_of_fold.runs import STOCK, Models

FINISHED, FAILED, NOT_RUN = "finished", "failed", "not run"


class RunState(NamedTuple):
    """One training: the ``job``, its ``state`` (finished, failed or not run) and, where it failed, the ``reason``."""

    config: str
    fold: int
    job: str
    state: str
    reason: str | None


def run_states(dataset: Dataset, models: Models, folds: Sequence[int], seed: int, logs: Path) -> list[RunState]:
    """The state of each fold of each model, configs first; a failure is one whose job left a log and no result."""
    return [_state(dataset, name, model, fold, seed, logs) for name, model in models.items() for fold in folds]


def _state(dataset: Dataset, config: str, model: Path, fold: int, seed: int, logs: Path) -> RunState:
    job = training_name(dataset, REFERENCE, fold) if config == STOCK else training_name(dataset, config, fold, seed)
    if is_finished(model, fold):
        return RunState(config, fold, job, FINISHED, None)
    log = log_file(logs, job)
    if not log.is_file():
        return RunState(config, fold, job, NOT_RUN, None)
    return RunState(config, fold, job, FAILED, last_words(log))


def last_words(log: Path) -> str:
    """The last line of a log, which is the sentence that a command ends with when it fails."""
    # A progress bar ends its lines with carriage returns, which splitlines knows.
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "no word")
