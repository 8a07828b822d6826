"""The configs of one dataset and seed against each other, as far as their folds are finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucplan.errors import NucplanError
from nucplan.layout import Dataset
from nucplan.metrics.image import ImageCounts
from nucplan.metrics.scores import PQ_POOLED
from nucplan.metrics.summary import summarise
from nucplan.progress import Progress, silent
from nucplan.report.ablation import ablation, known
from nucplan.workflow.names import plan_of
from trainers import trainer_name
from trainers.out_of_fold.decoders import decoders_of_baseline
from trainers.out_of_fold.rows import decoded_counts, decoded_rows, under_same_decoder
from trainers.out_of_fold.runs import STOCK, STOCK_MODEL, Models, Remark, distinct_folds, remarks
from trainers.out_of_fold.scores import OutOfFoldScores
from trainers.out_of_fold.states import FAILED, FINISHED, RunState, run_states

Counts = dict[str, dict[int, list[ImageCounts]]]


@dataclass(frozen=True)
class ReportRequest:
    """What a benchmark asked for: the first config is compared with; ``output`` holds the report and ``logs``."""

    configs: tuple[str, ...]
    folds: tuple[int, ...]
    seeds: tuple[int, ...]
    reference: bool
    output: Path
    device: str
    command: str = ""
    injection_blocks: tuple[int, ...] | None = None
    transfer_to: tuple[Dataset, ...] = ()

    @property
    def logs(self) -> Path:
        return self.output / "logs"

    def models(self, dataset: Dataset, seed: int) -> Models:
        """The result folder of each config, whether or not there is anything in it."""
        plans = {config: plan_of(config, seed, self.injection_blocks) for config in self.configs}
        models = {config: dataset.model(trainer_name(config), plan) for config, plan in plans.items()}
        return models | ({STOCK: dataset.model(*STOCK_MODEL)} if self.reference else {})


@dataclass(frozen=True)
class Compared:
    """Finished runs of one seed.

    Attributes
    ----------
    models
        Those with a finished fold.
    folds
        Of the baseline, on which the others are compared with it; empty where it has none.
    finished
        Config -> its finished folds.
    content
        The numbers, ready for JSON: ``seed``, ``runs``, ``notes``, ``comparison`` or why there is none, ``classes``.
    counts
        Config -> fold -> counts of its validation images.
    """

    models: Models
    folds: tuple[int, ...]
    finished: dict[str, list[int]]
    content: dict[str, Any]
    counts: Counts


def compare(scores: OutOfFoldScores, request: ReportRequest, seed: int, progress: Progress = silent) -> Compared:
    """Score all finished folds of a seed and compare each config with the first over the folds that both have."""
    asked = request.models(scores.dataset, seed)
    states = run_states(scores.dataset, asked, request.folds, seed, request.logs)
    states, counts = _scored(scores, asked, states, progress)
    models = {name: asked[name] for name in asked if name in counts}
    content: dict[str, Any] = {"seed": seed, "runs": _runs(asked, states, counts), "notes": [], "classes": None}
    content |= {"comparison": None, "not_compared": None}
    baseline, *_ = request.configs
    folds = distinct_folds(scores.dataset, list(counts.get(baseline, {})))
    if folds:
        rows, notes = _rows(scores, models, folds, counts, request.device, progress)
        content["notes"] = [note._asdict() for note in notes]
        shares = scores.test_shares(folds)
        content["comparison"] = ablation(
            rows, scores.raw.info.groups, shares, len(scores.class_names), untested=[STOCK, *under_same_decoder(rows)]
        )
        content["classes"] = _classes(scores, rows)
    else:
        content["not_compared"] = f"{baseline} has no finished fold, and the others are compared with it."
    return Compared(models, folds, {name: list(of) for name, of in counts.items()}, content, counts)


def _scored(
    scores: OutOfFoldScores, models: Models, states: Sequence[RunState], progress: Progress
) -> tuple[list[RunState], Counts]:
    """Counts of what is finished; a fold whose files do not fit becomes a failed one."""
    counts: Counts = {}
    settled = []
    for state in progress(states, f"Scoring {scores.dataset.name}"):
        if state.state == FINISHED:
            try:
                found = scores.of_files(models[state.config], state.fold)
                counts.setdefault(state.config, {})[state.fold] = found
            except NucplanError as error:
                state = state._replace(state=FAILED, reason=str(error))
        settled.append(state)
    return settled, counts


def _runs(models: Models, states: Sequence[RunState], counts: Counts) -> list[dict[str, Any]]:
    """Each config with its folds, and the pooled PQ of those that are finished."""
    return [
        {
            "config": name,
            "folds": [
                {"fold": s.fold, "job": s.job, "state": s.state, "reason": s.reason, "pq": _pq(counts, name, s.fold)}
                for s in states
                if s.config == name
            ],
        }
        for name in models
    ]


def _pq(counts: Counts, name: str, fold: int) -> float | None:
    images = counts.get(name, {}).get(fold)
    return None if images is None else known(PQ_POOLED(images))


def _rows(
    scores: OutOfFoldScores, models: Models, folds: Sequence[int], counts: Counts, device: str, progress: Progress
) -> tuple[Counts, list[Remark]]:
    """The rows of the table, those of boundary configs decoded as the baseline included, and what to know of them."""
    rows = {name: {fold: counts[name][fold] for fold in folds if fold in counts[name]} for name in models}
    rows = {name: of for name, of in rows.items() if of}
    notes = remarks(scores.dataset, models, folds)
    own = {name: models[name] for name in rows}
    for config, decoders in decoded_rows({}, decoders_of_baseline(scores.dataset, own, present=False)).items():
        try:
            rows |= decoded_counts(scores, models[config], list(rows[config]), decoders, device, progress)
        except NucplanError as error:
            notes.append(Remark(f"{next(iter(decoders))} is left out: {error}"))
    return rows, notes


def _classes(scores: OutOfFoldScores, rows: Counts) -> dict[str, Any] | None:
    """Scores of each class under each config that has classes and all folds, of all compared images together."""
    names = scores.class_names
    tables = {}
    for config, folds in rows.items():
        images = [image for of_fold in folds.values() for image in of_fold]
        is_whole = len(folds) == len(next(iter(rows.values())))
        if names and is_whole and all(image.per_class is not None for image in images):
            of_classes = summarise(images, names)["per_class"]
            tables[config] = {name: {key: known(value) for key, value in of.items()} for name, of in of_classes.items()}
    return {"names": list(names), "rows": tables} if tables else None
