"""The folds of a trained model: which are finished, what they left, and the command that trains one that is not."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from nucplan.files import read_json
from nucplan.layout import CONFIGURATION, FOLDS, PLANS_NAME, Dataset
from trainers import CONFIGS, trainer_name


def validation_folder(model: Path, fold: int) -> Path:
    return model / f"fold_{fold}" / "validation"


def is_finished(model: Path, fold: int) -> bool:
    """Whether the out-of-fold predictions of a fold are there: they come last, and all at once."""
    return validation_folder(model, fold).is_dir()


def finished_folds(model: Path) -> tuple[int, ...]:
    return tuple(fold for fold in FOLDS if is_finished(model, fold))


def iterations(model: Path, fold: int) -> int | None:
    """The length of a fold as its ``run.json`` says; None where there is none."""
    record = model / f"fold_{fold}" / "run.json"
    return read_json(record)["iterations"] if record.is_file() else None


def training_command(dataset: Dataset, model: Path, fold: int, length: int | None = None) -> str:
    """The command that trains a fold of ``model``, with all in which it differs from the defaults.

    It has the length of the model's other folds, or else ``length`` iterations, or else the usual budget.
    """
    trainer, plans_name, _ = model.name.split("__")
    config = next(name for name in CONFIGS if trainer_name(name) == trainer)
    length = next((known for other in finished_folds(model) if (known := iterations(model, other))), length)
    options = ["--config", config, *_plan_options(dataset, plans_name)]
    options += ["--iterations", str(length)] if length else []
    command = shlex.join(["nucplan_train", str(dataset.id), str(fold), *options])
    unknown = plans_name != PLANS_NAME and not dataset.plans(plans_name).is_file()
    return f"{command} and the seed, encoder or weights that {plans_name} stands for" if unknown else command


def _plan_options(dataset: Dataset, plans_name: str) -> list[str]:
    if plans_name == PLANS_NAME or not dataset.plans(plans_name).is_file():
        return []
    own, plans = (read_json(dataset.plans(name)) for name in (PLANS_NAME, plans_name))
    own_encoder, encoder = (
        content["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]["encoder"] for content in (own, plans)
    )
    made_with = plans["nucplan"]
    options = ["--encoder", encoder] if encoder != own_encoder else []
    # Weights that a dataset is planned for are those of all its trainings.
    own_weights = "weights" in made_with and "weights" not in own["nucplan"]
    options += ["--weights", made_with["weights"]["file"]] if own_weights else []
    own_blocks, blocks = (_injection_blocks(content) for content in (own, plans))
    options += ["--injection-blocks", ",".join(map(str, blocks))] if blocks != own_blocks else []
    return options + (["--seed", str(made_with["seed"])] if "seed" in made_with else [])


def _injection_blocks(plans: dict[str, Any]) -> list[int]:
    """Empty where the plan is older than the decision."""
    return plans["nucplan"].get("decisions", {}).get("adapter", {}).get("value", {}).get("injection_blocks", [])
