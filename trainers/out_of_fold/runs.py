"""The finished folds of several configs on one dataset: which can be compared, and what differs between them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.layout import FOLDS, Dataset
from trainers import CONFIGS, DEFAULT_CONFIG, trainer_name
from trainers.out_of_fold.folds import finished_folds, iterations, training_command

STOCK = "stock nnU-Net"
STOCK_MODEL = "nnUNetTrainerReference", "coreBorder"

# A config's folder in the results, with fold_0 to fold_4.
Models = Mapping[str, Path]


def compared_models(
    dataset: Dataset, configs: Sequence[str] | None, plans: Mapping[str, str], reference: bool
) -> Models:
    """The result folder of each config, in order; without ``configs`` of those that have a finished fold.

    Parameters
    ----------
    dataset, configs
    plans : mapping of config to the name of its plan
    reference : bool
        Whether stock nnU-Net is one of them.

    Raises
    ------
    NucplanError
        If a config does not exist or none has a finished fold.
    """
    trainers = {config: trainer_name(config) for config in configs or CONFIGS}
    models = {config: dataset.model(trainer, plans[config]) for config, trainer in trainers.items()}
    if configs is None:
        models = {config: model for config, model in models.items() if finished_folds(model)}
    if not models:
        command = training_command(
            dataset, dataset.model(trainer_name(DEFAULT_CONFIG), plans[DEFAULT_CONFIG]), FOLDS[0]
        )
        raise NucplanError(f"{dataset.results} has no finished fold of any config; train one, for example {command}.")
    return models | ({STOCK: dataset.model(*STOCK_MODEL)} if reference else {})


def shared_folds(dataset: Dataset, models: Models, wanted: Sequence[int] = FOLDS) -> tuple[int, ...]:
    """Those of the ``wanted`` folds that all models have finished.

    Of folds with the same validation images only the first; see `distinct_folds`.

    Raises
    ------
    NucplanError
        If there is none.
    """
    finished = {name: finished_folds(model) for name, model in models.items()}
    shared = [fold for fold in wanted if all(fold in folds for folds in finished.values())]
    if not shared:
        there = "; ".join(f"{name}: {_listed(folds)}" for name, folds in finished.items())
        raise NucplanError(
            f"{dataset.folder_name} has no fold {'' if len(wanted) == len(FOLDS) else f'of {_listed(wanted)} '}"
            f"that all of these have finished ({there}); {_way_out(dataset, models, finished, wanted)}."
        )
    return distinct_folds(dataset, shared)


def distinct_folds(dataset: Dataset, folds: Sequence[int]) -> tuple[int, ...]:
    """Of folds with the same validation images, which there are where groups are few, only the first."""
    images = [fold["val"] for fold in read_json(dataset.splits)]
    return tuple(fold for fold in folds if images[fold] not in [images[other] for other in folds if other < fold])


def _way_out(dataset: Dataset, models: Models, finished: Mapping[str, Sequence[int]], wanted: Sequence[int]) -> str:
    """How the wanted fold that most models have finished becomes one that all have."""
    fold = max(wanted, key=lambda fold: sum(fold in folds for folds in finished.values()))
    lacking = [name for name, folds in finished.items() if fold not in folds]
    length = next((known for model in models.values() if (known := iterations(model, fold))), None)
    if STOCK in lacking:
        option = f" --iterations {length}" if length else ""
        return f"run python -m trainers.run_reference {dataset.id} {fold}{option}, or leave out --reference"
    command = training_command(dataset, models[lacking[0]], fold, length)
    return f"run {command}, or leave out {lacking[0]} with --configs"


class Remark(NamedTuple):
    """A sentence on a comparison; a ``warning`` says that configs differ in more than what is compared."""

    text: str
    warning: bool = False


def remarks(dataset: Dataset, models: Models, folds: Sequence[int], unread: Collection[str] = ()) -> list[Remark]:
    """What a reader has to know before comparing: folds that are missing, lengths and plans that differ.

    Parameters
    ----------
    dataset, models, folds
    unread : collection of str
        Decisions of the plans that the comparison does not depend on.
    """
    return [*_missing_folds(models, folds), *_lengths(dataset, models, folds[0]), *_other_plans(models, unread)]


def _missing_folds(models: Models, folds: Sequence[int]) -> list[Remark]:
    missing = {name: sorted(set(FOLDS) - set(finished_folds(model))) for name, model in models.items()}
    lines = [f"{name} has not finished {_listed(lost)}" for name, lost in missing.items() if lost]
    return [Remark(f"Folds compared: {_listed(folds)}; {'; '.join(lines)}.")] if lines else []


def _lengths(dataset: Dataset, models: Models, fold: int) -> list[Remark]:
    found = {
        name: _reference_iterations(dataset, fold) if name == STOCK else iterations(model, fold)
        for name, model in models.items()
    }
    known = {name: length for name, length in found.items() if length is not None}
    if len(set(known.values())) > 1:
        listed = ", ".join(f"{name} {length:,} iterations" for name, length in known.items())
        return [Remark(f"Lengths DIFFER: {listed}.", warning=True)]
    return [Remark(f"{length:,} iterations ({', '.join(known)}).") for length in set(known.values())]


def _reference_iterations(dataset: Dataset, fold: int) -> int | None:
    from planners.reference import reference_dataset
    from trainers.reference import fold_folder

    record = fold_folder(reference_dataset(dataset), fold) / "run.json"
    return math.prod(read_json(record)["epochs"]) if record.is_file() else None


def _listed(folds: Iterable[int]) -> str:
    return ", ".join(map(str, folds)) or "none"


def _other_plans(models: Models, unread: Collection[str]) -> list[Remark]:
    (first, plan), *others = ((name, _planned(model, unread)) for name, model in models.items() if name != STOCK)
    changed = {name: [key for key in plan | other if plan.get(key) != other.get(key)] for name, other in others}
    return [
        Remark(f"{name} has another plan than {first} in {', '.join(keys)}.", warning=True)
        for name, keys in changed.items()
        if keys
    ]


def _planned(model: Path, unread: Collection[str]) -> dict[str, Any]:
    decisions = read_json(model / "plans.json")["nucplan"]["decisions"]
    return {name: decision["value"] for name, decision in decisions.items() if name not in unread}
