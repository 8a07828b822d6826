"""The manifest of a benchmark: its data, plan, folds, code, machine and commands, and a hash of every result."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.layout import CHOICE, FINAL, Dataset
from nucplan.origin import json_hash
from nucplan.plans import essence, overridden
from nucplan.progress import Progress, silent
from nucplan.reproduction.encoders import encoder_record, is_record, without_folders
from nucplan.reproduction.environment import code, environment
from nucplan.reproduction.grid import grid, words
from nucplan.reproduction.hashes import content_hash, pixels_hash, raw_hashes, weights_hash
from nucplan.schedule import BUDGETS

if TYPE_CHECKING:
    from nucplan.workflow.study import Study

FORMAT = 1
# What is read to repeat a benchmark.
SECTIONS = ("raw", "study", "code", "environment", "plans", "planning", "splits")
LISTS = {"datasets": str, "configs": str, "folds": int, "seeds": int}
OPTIONAL = {"injection_blocks": list, "native_resolution": bool, "transfer_to": list}


def manifest_of(
    study: Study, progress: Progress = silent, raw: Mapping[str, Mapping[str, str]] | None = None
) -> dict[str, Any]:
    """What the study was made from and what there is of its results; trainings that are not finished are left out.

    Parameters
    ----------
    raw
        Hashes of the raw files by dataset, where they are known already (`raw_hashes`).

    Returns
    -------
    dict
        Plain JSON, with no path, name or address of a machine or its users.

    Raises
    ------
    NucplanError
        If a file of a finished training is damaged.
    """
    planned = [dataset for dataset in study.datasets if dataset.plans().is_file()]
    # As they would be called in a folder of their own.
    jobs = replace(study, root=None, output=Path()).jobs()
    return {
        "format": FORMAT,
        "command": shlex.join(["nucplan_benchmark", *words(grid(study))]),
        # Before anything that takes long: a GPU that was asked for may not be there.
        "environment": environment(study.device),
        "raw": raw or {dataset.folder_name: raw_hashes(dataset, progress) for dataset in study.read},
        "study": grid(study),
        "code": code(),
        "commands": {job.name: shlex.join(without_folders(job.command)) for job in jobs},
        **plans_and_splits(planned),
        "results": {dataset.folder_name: _results(study, dataset, progress) for dataset in study.datasets},
        "reference": {dataset.folder_name: _reference(study, dataset) for dataset in study.datasets},
        "choices": {dataset.folder_name: _choices(study, dataset) for dataset in study.datasets},
    }


def plans_and_splits(datasets: Sequence[Dataset]) -> dict[str, dict[str, Any]]:
    """Plans, how they came about, and the folds, by dataset."""
    from nucplan.workflow.jobs import plan_hash

    found: dict[str, dict[str, Any]] = {"plans": {}, "planning": {}, "splits": {}}
    for dataset in datasets:
        plans, name = read_json(dataset.plans()), dataset.folder_name
        decisions = plans["nucplan"]["decisions"]
        found["plans"][name] = {decision: content["value"] for decision, content in decisions.items()} | {
            "configurations": json_hash(plans["configurations"])
        }
        if (weights := essence(plans)["weights"]) is not None:
            found["plans"][name]["weights"] = weights
        # Reasons and costs name the machine; equal decisions give equal results all the same.
        found["planning"][name] = {"overrides": overridden(plans), "hash": plan_hash(dataset.plans())}
        if (encoder := encoder_record(plans)) is not None:
            found["planning"][name]["encoder"] = encoder
        if dataset.splits.is_file():
            # Patches are drawn from the training cases in their order.
            folds = {f"fold_{number}": fold for number, fold in enumerate(read_json(dataset.splits))}
            found["splits"][name] = {
                k: {"val": fold["val"], "train": json_hash(fold["train"])} for k, fold in folds.items()
            }
    return found


def _results(study: Study, dataset: Dataset, progress: Progress) -> dict[str, Any]:
    folders = {
        f"{config}/seed_{seed}/fold_{fold}": study.model(dataset, config, seed) / f"fold_{fold}"
        for seed in study.seeds
        for fold in study.folds
        for config in study.trainers
    }
    there = {name: folder for name, folder in folders.items() if _finished(folder)}
    return {name: _training(there[name]) for name in progress(there, f"Hashing results of {dataset.folder_name}")}


def _finished(folder: Path) -> bool:
    return (folder / FINAL).is_file() and (folder / "validation" / "summary.json").is_file()


def _training(folder: Path) -> dict[str, Any]:
    # Trainings of an older nucplan have no record.
    run = read_json(folder / "run.json") if (folder / "run.json").is_file() else {}
    validation = folder / "validation"
    summary = read_json(validation / "summary.json")
    return {
        "iterations": run.get("iterations"),
        "precision": run.get("precision"),
        "weights": weights_hash(folder / FINAL),
        "labels": _label_hashes(validation),
        "scores": summary["nuclei"]["summary"],
        "all_scores": json_hash(summary),
    }


def _label_hashes(folder: Path) -> dict[str, str]:
    return {path.stem: pixels_hash(path) for path in sorted(folder.glob("*.tif"))}


def _reference(study: Study, dataset: Dataset) -> dict[str, Any]:
    """Stock nnU-Net draws without a seed, so its weights are not compared."""
    if study.reference is None:
        return {}
    folders = {fold: dataset.model(*study.reference) / f"fold_{fold}" / "validation" for fold in study.folds}
    return {
        f"fold_{fold}": {"labels": _label_hashes(folder), "scores": read_json(folder / "metrics.json")["summary"]}
        for fold, folder in folders.items()
        if (folder / "metrics.json").is_file()
    }


def _choices(study: Study, dataset: Dataset) -> dict[str, str]:
    """The choice of the ensemble, and the scores of the test part and of other datasets."""
    targets = (study.transfer_file(dataset, other) for other in study.transfer_to if other != dataset)
    found = (dataset.results / CHOICE, study.test_file(dataset), *targets)
    return {path.name: content_hash(path) for path in found if path.is_file()}


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest of this or an earlier format.

    Raises
    ------
    NucplanError
        If the file is missing, damaged, of a later format, or anything else than a manifest.
    """
    content = read_json(path)
    number = content.get("format") if isinstance(content, dict) else None
    if isinstance(number, int) and number > FORMAT:
        raise NucplanError(f"{path} is of format {number}, this nucplan reads up to {FORMAT}; install a newer nucplan.")
    if number != FORMAT or not _is_whole(content):
        raise NucplanError(f"{path} is no manifest of nucplan_benchmark, or is damaged; fetch it again.")
    return content


def _is_whole(content: Mapping[str, Any]) -> bool:
    if not all(isinstance(content.get(section), dict) for section in SECTIONS):
        return False
    asked = content["study"]
    lists = all(
        isinstance(asked.get(name), list) and asked[name] and all(isinstance(item, kind) for item in asked[name])
        for name, kind in LISTS.items()
    )
    length = asked.get("budget") in BUDGETS and isinstance(asked.get("iterations"), int | None)
    options = all(isinstance(asked.get(name, kind()), kind) for name, kind in OPTIONAL.items())
    if not (lists and length and options and "reference" in asked):
        return False
    planned = [part.get("encoder") for part in content["planning"].values() if isinstance(part, dict)]
    if not all(encoder is None or is_record(encoder) for encoder in planned):
        return False
    return all(_is_dataset(str(name)) for name in [*asked["datasets"], *asked.get("transfer_to", [])])


def _is_dataset(name: str) -> bool:
    # It becomes a folder: a manifest from a stranger may not name one elsewhere.
    return re.fullmatch(r"Dataset\d{3}_[A-Za-z0-9_-]+", name) is not None


def overrides(original: Mapping[str, Any], dataset: str) -> Iterator[tuple[str, Any]]:
    """What a user had set in the plan of a dataset."""
    yield from original["planning"].get(dataset, {}).get("overrides", {}).items()
