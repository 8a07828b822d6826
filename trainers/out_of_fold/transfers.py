"""How models do on another dataset, beside how they do on their own and how the other one's own models do there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nucplan.layout import Dataset
from nucplan.metrics.scores import ABLATION_SCORES, AP, DETECTION_F1, PQ_POOLED
from nucplan.report.ablation import known
from nucplan.workflow.names import transfer_name, transferring_name
from trainers.out_of_fold.comparison import Compared, ReportRequest
from trainers.out_of_fold.job_files import content_of
from trainers.out_of_fold.runs import distinct_folds

TRANSFER_SCORES = (PQ_POOLED, AP, DETECTION_F1, *(score for score in ABLATION_SCORES if score is not PQ_POOLED))
# Numbers of events on different images: there is nothing to subtract.
COUNTS = tuple(score.title for score in TRANSFER_SCORES if score.is_count)


def out_of_fold_scores(dataset: Dataset, found: Compared) -> dict[str, dict[str, float | None]]:
    """`TRANSFER_SCORES` by title of each config, of all out-of-fold images together."""
    scores = {}
    for config, folds in found.counts.items():
        images = [image for fold in distinct_folds(dataset, list(folds)) for image in folds[fold]]
        scores[config] = {score.title: known(score(images)) for score in TRANSFER_SCORES}
    return scores


def transfers(
    datasets: Sequence[Dataset], contents: Sequence[Mapping[str, Any]], request: ReportRequest
) -> list[dict[str, Any]]:
    """Every dataset of a report with each other one that was asked for.

    Parameters
    ----------
    datasets, contents
        Those of the report, and what `trainers.out_of_fold.collect.collect` says of them.
    request
        With ``transfer_to``.

    Returns
    -------
    list of dict
        ``dataset``, ``to`` and ``missing``, which is why there are no scores, or None. Then what
        `trainers.score_transfer` wrote of the images, ``native_part``, and ``rows``. A row has its ``name``, whether it
        is ``chosen``, scores ``per_class`` and, by title, ``scores``: ``own`` (out of fold, on ``dataset``), ``there``
        (on ``to``), their ``difference``, and ``native``, that of the same config trained on ``to``; None stands for
        what is not known.
    """
    by_folder = {content["folder"]: content for content in contents}
    return [
        _transfer(dataset, other, by_folder, request)
        for dataset in datasets
        for other in request.transfer_to
        if other != dataset
    ]


def _transfer(
    dataset: Dataset, other: Dataset, contents: Mapping[str, Mapping[str, Any]], request: ReportRequest
) -> dict[str, Any]:
    path = request.output / dataset.folder_name / transfer_name(other)
    found, missing = content_of(path, transferring_name(dataset, other), dataset, request)
    pair = {"dataset": dataset.name, "to": other.name, "missing": missing}
    if found is None:
        return pair
    kept = ("part", "images", "groups", "mpp", "enlarged", "classes")
    here, there = contents[dataset.folder_name], contents.get(other.folder_name, {})
    rows = [_row(row, _own(row, here), _native(row, there, found["part"])) for row in found["rows"]]
    return pair | {name: found[name] for name in kept} | {"rows": rows}


def _row(row: Mapping[str, Any], own: Mapping[str, float | None], native: Mapping[str, float | None]) -> dict[str, Any]:
    scores = {}
    for title, there in row["scores"].items():
        here = own.get(title)
        comparable = here is not None and there is not None and title not in COUNTS
        scores[title] = {
            "own": here,
            "there": there,
            "difference": there - here if comparable else None,
            "native": native.get(title),
        }
    return {"name": row["name"], "chosen": row["chosen"], "scores": scores, "per_class": row["per_class"]}


def _own(row: Mapping[str, Any], content: Mapping[str, Any]) -> Mapping[str, float | None]:
    """The scores of a row by title, out of fold on the dataset that it was trained on."""
    if not row["chosen"]:
        (config,) = row["configs"]
        return content.get("out_of_fold", {}).get(config, {})
    inference = content.get("inference") or {}
    evidence = inference.get("evidence", {})
    # The score of the choice itself flatters it; a nested choice there is with two folds or more.
    scored = evidence.get("nested") or evidence.get("chosen") or {}
    return {inference["measure"]: scored.get("score")} if "measure" in inference else {}


def _native(row: Mapping[str, Any], content: Mapping[str, Any], part: str) -> Mapping[str, float | None]:
    """The scores, on the same images, of the same row of models that were trained on their dataset."""
    if part == "training":
        return _own(row, content)
    rows = (content.get("test") or {}).get("rows", ())
    return next((other["scores"] for other in rows if other["name"] == row["name"]), {})
