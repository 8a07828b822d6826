"""The configs of one dataset and seed against each other, as far as their folds are finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucplan.errors import NucplanError
from nucplan.layout import Dataset, plans_name
from nucplan.metrics.image import ImageCounts
from nucplan.metrics.scores import PQ_POOLED
from nucplan.metrics.summary import summarise
from nucplan.progress import Progress, silent
from nucplan.report.ablation import ablation, known
from trainers import trainer_name
from trainers.out_of_fold.decoders import decoders_of_baseline
from trainers.out_of_fold.rows import decoded_counts, decoded_rows
from trainers.out_of_fold.runs import STOCK, STOCK_MODEL, Models, remarks, shared_folds
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

    @property
    def logs(self) -> Path:
        return self.output / "logs"

    def models(self, dataset: Dataset, seed: int) -> Models:
        """The result folder of each config, whether or not there is anything in it."""
        models = {config: dataset.model(trainer_name(config), plans_name(seed)) for config in self.configs}
        return models | ({STOCK: dataset.model(*STOCK_MODEL)} if self.reference else {})


@dataclass(frozen=True)
class Compared:
    """Finished runs of one seed.

    Attributes
    ----------
    models
        Those with a finished fold.
    folds
        That all of these have finished; empty where nothing can be compared.
    content
        The numbers, ready for JSON: ``seed``, ``runs``, ``notes``, ``comparison`` or why there is none, ``classes``.
    """

    models: Models
    folds: tuple[int, ...]
    content: dict[str, Any]


def compare(scores: OutOfFoldScores, request: ReportRequest, seed: int, progress: Progress = silent) -> Compared:
    """Score all finished folds of a seed and compare the configs over those that all of them have."""
    asked = request.models(scores.dataset, seed)
    states = run_states(scores.dataset, asked, request.folds, seed, request.logs)
    states, counts = _scored(scores, asked, states, progress)
    models = {name: asked[name] for name in counts}
    content: dict[str, Any] = {"seed": seed, "runs": _runs(asked, states, counts), "notes": []}
    folds, refused = _common_folds(scores.dataset, models, request, counts)
    if refused is not None:
        return Compared(models, folds, content | {"comparison": None, "not_compared": refused, "classes": None})
    rows, failed = _with_other_decoder(scores, models, folds, counts, request.device, progress)
    content["notes"] = [*remarks(scores.dataset, models, folds), *failed]
    content["comparison"] = ablation(
        rows, scores.raw.info.groups, scores.test_share(folds), classes=len(scores.class_names)
    )
    content |= {"not_compared": None, "classes": _classes(scores, rows)}
    return Compared(models, folds, content)


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


def _common_folds(
    dataset: Dataset, models: Models, request: ReportRequest, counts: Counts
) -> tuple[tuple[int, ...], str | None]:
    """The folds that are compared, or why there are none."""
    if request.configs[0] not in models:
        return (), f"{request.configs[0]} has no finished fold, and the others are compared with it."
    wanted = [fold for fold in request.folds if all(fold in of for of in counts.values())]
    try:
        return shared_folds(dataset, models, wanted), None
    except NucplanError as error:
        return (), str(error)


def _with_other_decoder(
    scores: OutOfFoldScores, models: Models, folds: Sequence[int], counts: Counts, device: str, progress: Progress
) -> tuple[Counts, list[str]]:
    """The rows of the table, those of boundary configs decoded as the baseline included, and why some are not."""
    rows: Counts = {name: {fold: of[fold] for fold in folds} for name, of in counts.items()}
    problems = []
    for config, decoders in decoded_rows({}, decoders_of_baseline(scores.dataset, models, present=False)).items():
        try:
            rows |= decoded_counts(scores, models[config], folds, decoders, device, progress)
        except NucplanError as error:
            problems.append(f"{next(iter(decoders))} is left out: {error}")
    return rows, problems


def _classes(scores: OutOfFoldScores, rows: Mapping[str, Mapping[int, Sequence[ImageCounts]]]) -> dict | None:
    """Scores of each class under each config that has classes, of all compared images together."""
    names = scores.class_names
    tables = {}
    for config, folds in rows.items():
        images = [image for of_fold in folds.values() for image in of_fold]
        if names and all(image.per_class is not None for image in images):
            of_classes = summarise(images, names)["per_class"]
            tables[config] = {name: {key: known(value) for key, value in of.items()} for name, of in of_classes.items()}
    return {"names": list(names), "rows": tables} if tables else None
