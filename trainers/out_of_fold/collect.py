"""Everything that a report says of one dataset: plain numbers, ready for JSON, and the pictures that need images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.layout import CHOICE, Dataset, require_plan
from nucplan.progress import Progress, silent
from nucplan.report.ablation import primary_scores
from nucplan.report.across_seeds import across_seeds, seed_noise
from nucplan.report.crops import compare_field
from nucplan.report.verdict import verdict
from nucplan.workflow.names import COST, TEST, choice_name, costing_name, scoring_name
from planners.explain import in_words
from trainers.out_of_fold.comparison import Compared, ReportRequest, compare
from trainers.out_of_fold.curves import costs, curves
from trainers.out_of_fold.fields import differing_fields
from trainers.out_of_fold.folds import training_command
from trainers.out_of_fold.job_files import content_of
from trainers.out_of_fold.runs import STOCK, distinct_folds
from trainers.out_of_fold.scores import OutOfFoldScores
from trainers.out_of_fold.states import FAILED, FINISHED, last_words
from trainers.out_of_fold.transfers import out_of_fold_scores

Pictures = dict[str, bytes]


def collect(dataset: Dataset, request: ReportRequest, progress: Progress = silent) -> tuple[dict[str, Any], Pictures]:
    """Numbers and pictures of a dataset; one that was not planned has the reason under ``missing`` and nothing else."""
    content: dict[str, Any] = {"name": dataset.name, "folder": dataset.folder_name, "missing": None}
    try:
        require_plan(dataset)
    except NucplanError as error:
        log = request.logs / f"plan.{dataset.folder_name}.log"
        return content | {"missing": last_words(log) if log.is_file() else str(error)}, {}
    scores, plans = OutOfFoldScores(dataset, typed=True), read_json(dataset.plans())
    seeds = [compare(scores, request, seed, progress) for seed in request.seeds]
    fields, pictures = _crops(scores, seeds[0], progress)
    if dataset.fingerprint_figure.is_file():
        pictures[f"{dataset.folder_name}/fingerprint"] = dataset.fingerprint_figure.read_bytes()
    content |= {
        **_together(scores, request, seeds),
        "data": _data(scores),
        "plan": in_words(plans),
        "warnings": plans["nucplan"].get("warnings", []),
        "boundary_width_px": scores.boundary_width,
        "seeds": [found.content for found in seeds],
        "failed": _failed([found.content for found in seeds]),
        "crops": fields,
        "curves": _curves(seeds),
        "out_of_fold": out_of_fold_scores(dataset, seeds[0]),
        **_costs(dataset, request, seeds[0]),
        "planned_cost": plans["nucplan"]["decisions"]["batch_size"]["from"],
        **_ensemble(dataset, request),
        "commands": [
            training_command(dataset, model, fold)
            for found in seeds
            for name, model in _own(found).items()
            for fold in found.finished[name][:1]
        ],
    }
    return content, pictures


def _together(scores: OutOfFoldScores, request: ReportRequest, seeds: Sequence[Compared]) -> dict[str, Any]:
    """All seeds together: the sentence on top, the comparisons that it speaks of, and the noise between seeds."""
    baseline, *_ = request.configs
    finished = [fold for fold in request.folds if all(fold in found.counts.get(baseline, {}) for found in seeds)]
    folds, asked = distinct_folds(scores.dataset, finished), distinct_folds(scores.dataset, request.folds)
    counts = [
        {name: {fold: of[fold] for fold in folds if fold in of} for name, of in found.counts.items()} for found in seeds
    ]
    classes, shares = len(scores.class_names), scores.test_shares(folds)
    found = across_seeds(request.configs, counts, scores.raw.info.groups, shares, len(asked), classes)
    primary = primary_scores(classes)
    return {
        "verdict": verdict(baseline, [one for one in found if one.title == primary[-1].title]),
        "together": [one.to_dict() for one in found],
        "noise": [{"title": score.title, "noise": seed_noise(score, counts)} for score in primary],
    }


def _data(scores: OutOfFoldScores) -> dict[str, Any]:
    info, found = scores.raw.info, read_json(scores.dataset.fingerprint)
    cases, test = scores.raw.cases(), scores.raw.cases("Ts")
    kept = ("nuclei", "mpp", "diameter_px", "diameter_um", "gap_px", "touching_share", "nuclei_per_256x256")
    return {name: found[name] for name in (*kept, "class_instances", "image_size")} | {
        "images": len(cases),
        "groups": len({info.groups.get(case, case) for case in cases}),
        "test_images": len(test),
        "test_groups": len({info.groups.get(case, case) for case in test}),
        "channels": list(info.channel_names),
        "source": info.source,
        "licence": info.licence,
    }


def _failed(seeds: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The jobs of trainings that are not finished, and why; one of stock nnU-Net, which has no seed, once."""
    folds = [fold for seed in seeds for run in seed["runs"] for fold in run["folds"]]
    jobs = {fold["job"]: fold for fold in folds if fold["state"] != FINISHED}
    return [{"job": job, "state": fold["state"], "reason": fold["reason"]} for job, fold in jobs.items()]


def _own(found: Compared) -> dict[str, Path]:
    """The models that are nucplan's."""
    return {name: model for name, model in found.models.items() if name != STOCK}


def _curves(seeds: Sequence[Compared]) -> list[dict[str, Any]]:
    """The curves of each training, failed ones as far as they came."""
    return [
        {"config": name, "seed": found.content["seed"], "fold": fold, "columns": columns}
        for found in seeds
        for name, model in _own(found).items()
        for fold in _started(found, name)
        if (columns := curves(model / f"fold_{fold}")) is not None
    ]


def _started(found: Compared, config: str) -> list[int]:
    (run,) = (run for run in found.content["runs"] if run["config"] == config)
    return [fold["fold"] for fold in run["folds"] if fold["state"] in (FINISHED, FAILED)]


def _crops(scores: OutOfFoldScores, found: Compared, progress: Progress) -> tuple[list[dict[str, Any]], Pictures]:
    """Fields on which the configs of the first seed differ most, and their pictures."""
    fields, pictures = [], {}
    whole = {name: model for name, model in found.models.items() if set(found.folds) <= set(found.finished[name])}
    for rank, chosen in enumerate(differing_fields(scores, whole, found.folds, progress), start=1):
        raw, case = scores.raw, chosen.case
        predictions = {
            name: scores.labels(model, chosen.fold, case)
            for name, model in found.models.items()
            if chosen.fold in found.finished[name]
        }
        sheet = compare_field(raw.image(case), raw.instances(case), predictions, chosen.field, raw.ignored(case))
        name = f"{scores.dataset.folder_name}/crop_{rank}"
        pictures[name] = _png(sheet)
        fields.append(
            {
                "picture": name,
                "case": case,
                "group": raw.info.groups.get(case, case),
                "fold": chosen.fold,
                "rows": [chosen.field.rows.start, chosen.field.rows.stop],
                "columns": [chosen.field.columns.start, chosen.field.columns.stop],
                "touching": chosen.field.touching,
                "differing": chosen.differing,
            }
        )
    return fields, pictures


def _png(picture: np.ndarray) -> bytes:
    _, encoded = cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return encoded.tobytes()


def _ensemble(dataset: Dataset, request: ReportRequest) -> dict[str, Any]:
    """The choice and the scores of the test part, where they are of these very networks; else why not."""
    inference, no_inference = content_of(dataset.results / CHOICE, choice_name(dataset), dataset, request)
    scores = request.output / dataset.folder_name / TEST
    test, no_test = content_of(scores, scoring_name(dataset), dataset, request)
    return {"inference": inference, "no_inference": no_inference, "test": test, "no_test": no_test}


def _costs(dataset: Dataset, request: ReportRequest, found: Compared) -> dict[str, Any]:
    """What the trainings left of their cost, and what prediction was measured to cost, or why it is not there."""
    path = request.output / dataset.folder_name / COST
    measured, not_measured = content_of(path, costing_name(dataset), dataset, request)
    trained = {name: costs(model, found.finished[name]) for name, model in _own(found).items()}
    return {"costs": trained, "measured_cost": measured, "not_measured": not_measured}
