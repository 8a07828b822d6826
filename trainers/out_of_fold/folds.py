"""The folds of a trained model: which are finished, what they left, and the command that trains one that is not."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from nucplan.files import read_json
from nucplan.layout import CONFIGURATION, FOLDS, PLANS_NAME, Dataset
from nucplan.plans import LIMIT_GIB
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
    options = [*_encoder_options(own, plans), *_cache_options(plans)]
    own_blocks, blocks = (_injection_blocks(content) for content in (own, plans))
    options += ["--injection-blocks", ",".join(map(str, blocks))] if blocks != own_blocks else []
    return options + (["--seed", str(plans["nucplan"]["seed"])] if "seed" in plans["nucplan"] else [])


def _encoder_options(own: dict[str, Any], plans: dict[str, Any]) -> list[str]:
    own_network, network = (
        content["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"] for content in (own, plans)
    )
    own_weights, weights = (content["nucplan"].get("weights") or {} for content in (own, plans))
    options = ["--encoder", network["encoder"]] if network["encoder"] != own_network["encoder"] else []
    # Those that were planned with need no option, and take none.
    options += ["--weights", weights["file"]] if weights and not own_weights else []
    frozen_before = own_network.get("encoder_frozen") or not own_weights
    trained = weights and frozen_before and not network.get("encoder_frozen", True)
    options += ["--train-encoder"] if trained else []
    options += ["--with-decoder"] if weights.get("decoder") else []
    stride = network.get("decoder_stride", 1)
    return options + (["--decoder-stride", str(stride)] if stride != 1 else [])


def _cache_options(plans: dict[str, Any]) -> list[str]:
    """What makes the last part of the plan's name (`planners.feature_cache`)."""
    part = plans.get("plans_name", "").rpartition("_")[2]
    if part == "live":
        return ["--no-cache-features"]
    if part != "cached":
        return []
    inputs = plans["nucplan"]["decisions"]["feature_cache"].get("from", {})
    limit = inputs.get("limit_bytes", 0) / 2**30
    return ["--cache-features", *(["--cache-limit", f"{limit:g}"] if limit > LIMIT_GIB else [])]


def _injection_blocks(plans: dict[str, Any]) -> list[int]:
    """Empty where the plan is older than the decision."""
    return plans["nucplan"].get("decisions", {}).get("adapter", {}).get("value", {}).get("injection_blocks", [])
