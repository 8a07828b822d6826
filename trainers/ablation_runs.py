"""The finished folds of several configs on one dataset: which can be compared, and what differs between them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.layout import FOLDS, Dataset
from trainers import CONFIGS, trainer_name

STOCK = "stock nnU-Net"
STOCK_MODEL = "nnUNetTrainerReference", "coreBorder"

# A config's folder in the results, with fold_0 to fold_4.
Models = Mapping[str, Path]


def compared_models(dataset: Dataset, configs: Sequence[str] | None, plans_name: str, reference: bool) -> Models:
    """The result folder of each config, in order; without ``configs`` of those that have a finished fold.

    Raises
    ------
    NucplanError
        If a config does not exist or none has a finished fold.
    """
    models = {config: dataset.model(trainer_name(config), plans_name) for config in configs or CONFIGS}
    if configs is None:
        models = {config: model for config, model in models.items() if finished_folds(model)}
    if not models:
        raise NucplanError(f"{dataset.results} has no finished fold of any config; train one with nucplan_train.")
    return models | ({STOCK: dataset.model(*STOCK_MODEL)} if reference else {})


def finished_folds(model: Path) -> tuple[int, ...]:
    """Folds whose out-of-fold predictions are there; that folder appears when it is complete."""
    return tuple(fold for fold in FOLDS if validation_folder(model, fold).is_dir())


def validation_folder(model: Path, fold: int) -> Path:
    return model / f"fold_{fold}" / "validation"


def shared_folds(dataset: Dataset, models: Models) -> tuple[int, ...]:
    """Folds that all models have finished; of folds with the same validation images (few groups) the first.

    Raises
    ------
    NucplanError
        If there is none.
    """
    finished = {name: finished_folds(model) for name, model in models.items()}
    shared = [fold for fold in FOLDS if all(fold in folds for folds in finished.values())]
    if not shared:
        there = "; ".join(f"{name}: {_listed(folds)}" for name, folds in finished.items())
        raise NucplanError(
            f"{dataset.folder_name} has no fold that all of these have finished ({there}); "
            "train one, or leave some out with --configs."
        )
    images = [fold["val"] for fold in read_json(dataset.splits)]
    return tuple(fold for fold in shared if images[fold] not in [images[other] for other in shared if other < fold])


def remarks(dataset: Dataset, models: Models, folds: Sequence[int]) -> list[str]:
    """What a reader has to know before comparing: folds that are missing, lengths and plans that differ."""
    return [*_missing_folds(models, folds), *_lengths(dataset, models, folds[0]), *_other_plans(models)]


def _missing_folds(models: Models, folds: Sequence[int]) -> list[str]:
    missing = {name: sorted(set(FOLDS) - set(finished_folds(model))) for name, model in models.items()}
    lines = [f"{name} has not finished {_listed(lost)}" for name, lost in missing.items() if lost]
    return [f"Folds compared: {_listed(folds)}; {'; '.join(lines)}."] if lines else []


def _lengths(dataset: Dataset, models: Models, fold: int) -> list[str]:
    found = {
        name: _reference_iterations(dataset, fold) if name == STOCK else _iterations(model / f"fold_{fold}")
        for name, model in models.items()
    }
    known = {name: length for name, length in found.items() if length is not None}
    if len(set(known.values())) > 1:
        return [f"Lengths DIFFER: {', '.join(f'{name} {length:,} iterations' for name, length in known.items())}."]
    return [f"{length:,} iterations ({', '.join(known)})." for length in set(known.values())]


def _iterations(folder: Path) -> int | None:
    """As the ``run.json`` of a fold says; None where there is none."""
    record = folder / "run.json"
    return read_json(record)["iterations"] if record.is_file() else None


def _reference_iterations(dataset: Dataset, fold: int) -> int | None:
    from planners.reference import reference_dataset
    from trainers.reference import fold_folder

    record = fold_folder(reference_dataset(dataset), fold) / "run.json"
    return math.prod(read_json(record)["epochs"]) if record.is_file() else None


def _listed(folds: Iterable[int]) -> str:
    return ", ".join(map(str, folds)) or "none"


def _other_plans(models: Models) -> list[str]:
    (first, plan), *others = ((name, _planned(model)) for name, model in models.items() if name != STOCK)
    changed = {name: [key for key in plan | other if plan.get(key) != other.get(key)] for name, other in others}
    return [f"{name} has another plan than {first} in {', '.join(keys)}." for name, keys in changed.items() if keys]


def _planned(model: Path) -> dict[str, Any]:
    decisions = read_json(model / "plans.json")["nucplan"]["decisions"]
    return {name: decision["value"] for name, decision in decisions.items()}
