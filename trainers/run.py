"""Train one fold: from the dataset's plan to a finished checkpoint and its out-of-fold predictions."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from nucplan.datasets.raw import RawDataset
from nucplan.devices import peak_memory
from nucplan.errors import NucplanError
from nucplan.files import read_json, write_json
from nucplan.layout import CONFIGURATION, FINAL, FOLDS, LATEST, Dataset, require_plan
from nucplan.locks import fold_lock
from nucplan.networks.nucleus_net import NucleusNet
from nucplan.networks.start import load_weights
from nucplan.networks.weights_file import reading_once
from nucplan.origin import TrainedOn, training_data
from nucplan.plans import essence
from nucplan.precision import precision_name
from nucplan.progress import progress
from planners.feature_cache import network_of, plan_feature_cache, preprocessed_shapes, refuse_changing_features
from planners.preprocessor import preprocess
from planners.variants import Variant, derive_plans
from trainers import trainer_class


@dataclass(frozen=True)
class TrainingRequest:
    """What a user asks for; ``iterations`` wins over ``budget``."""

    config: str
    budget: str = "standard"
    iterations: int | None = None
    variant: Variant = Variant()


def prepare(dataset: Dataset, request: TrainingRequest) -> dict:
    """The plan of this request, on disk, with its data preprocessed.

    Raises
    ------
    NucplanError
        If the dataset was not planned, the encoder or its weights do not exist or do not fit each other or the
        config, or the variant is about a part that the config has not; then nothing was written.
    """
    require_plan(dataset)
    _refuse_needless_injection(request)
    base, fingerprint, variant = read_json(dataset.plans()), read_json(dataset.fingerprint), request.variant
    highest = max(channel["all"]["max"] for channel in fingerprint["intensity"].values())
    with reading_once():
        plans = derive_plans(base, variant, highest)
        if variant.other_network or trainer_class(request.config).adapter:
            _refuse_unfit_encoder(dataset, plans, trainer_class(request.config), variant)
    if variant.cache_features or variant.cache_limit is not None:
        arguments = trainer_class(request.config).network_arguments(plans)
        refuse_changing_features(network_of(plans, arguments, *_channels_and_classes(dataset)))
    plans = _with_feature_cache(dataset, plans, variant, fingerprint["cases"])
    # Data that are up to date are kept; planning that was cut off, or done anew, leaves some that are not.
    preprocess(RawDataset(dataset), plans, progress=progress)
    if plans["plans_name"] != base["plans_name"]:
        write_json(dataset.plans(plans["plans_name"]), plans)
    return plans


def _refuse_needless_injection(request: TrainingRequest) -> None:
    if request.variant.injection_blocks is not None and not trainer_class(request.config).adapter:
        raise NucplanError(
            f"--injection-blocks is about the adapter, which the config '{request.config}' has not; "
            "train --config cellvta, or leave it out."
        )


def _channels_and_classes(dataset: Dataset) -> tuple[int, int]:
    info = RawDataset(dataset).info
    return len(info.channel_names), len(info.class_names)


def _with_feature_cache(dataset: Dataset, plans: dict, variant: Variant, cases: dict) -> dict:
    """The plan with the decision ``feature_cache``: the planned one, unless the variant is about it."""
    if not plans["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]["encoder_frozen"]:
        return plans
    open_to_rule = variant.cache_features is None and variant.cache_limit is None
    if open_to_rule and "feature_cache" in plans["nucplan"]["decisions"] and not variant.other_network:
        return plans
    shapes = preprocessed_shapes(cases, plans)
    return plan_feature_cache(
        plans, *_channels_and_classes(dataset), shapes, variant.cache_features, variant.cache_limit
    )


def _refuse_unfit_encoder(dataset: Dataset, plans: dict, trainer_type: type, variant: Variant) -> None:
    """Build the network of ``plans`` without memory for its weights, and try the weights file on it."""
    info = RawDataset(dataset).info
    arguments = trainer_type.network_arguments(plans)
    with torch.device("meta"):
        network = NucleusNet(len(info.channel_names), 1 + len(info.class_names), **arguments)
    if trainer_type.boundary_supervision and not network.boundary_strides:
        raise NucplanError(
            f"No decoder stride of the encoder '{arguments['encoder']}' is among the plan's boundary_scales "
            f"({', '.join(map(str, arguments['boundary_strides']))}); plan with finer ones, or train --config baseline."
        )
    weights = plans["nucplan"].get("weights")
    # Those that were planned with were tried then, and a training that goes on has no need of the file.
    tried_before = variant.weights is None and not variant.with_decoder
    if weights is not None and not tried_before and Path(weights["file"]).is_file():
        with warnings.catch_warnings():
            # torch says that nothing is copied, which is the point.
            warnings.simplefilter("ignore", UserWarning)
            load_weights(network, weights, info.class_names)


def train_fold(
    dataset: Dataset, fold: int, request: TrainingRequest, plans: dict, device: torch.device, wait: bool = False
) -> Path:
    """Train, or go on with, or skip one fold; then predict its validation cases.

    With ``wait``, a fold that is being trained elsewhere is waited for, and taken over where it was left.

    Returns
    -------
    Path
        The fold's folder, with ``checkpoint_final.pth`` and ``validation/``.

    Raises
    ------
    NucplanError
        If the fold does not exist, is being trained elsewhere, or holds another run.
    """
    if fold not in FOLDS:
        raise NucplanError(f"There is no fold {fold}; choose 0, 1, 2, 3, 4 or all.")
    trainer_type = trainer_class(request.config)
    folder = dataset.model(trainer_type.__name__, plans["plans_name"]) / f"fold_{fold}"
    _refuse_other_plan(folder.parent / "plans.json", plans)
    with fold_lock(folder, wait) as lock:
        trainer = trainer_type(
            dict(plans), CONFIGURATION, fold, read_json(dataset.preprocessed / "dataset.json"), device
        )
        trainer.lock = lock
        trainer.set_budget(request.iterations or trainer.decision("iterations")[request.budget])
        iterations = trainer.num_epochs * trainer.num_iterations_per_epoch
        _refuse_other_length(folder, iterations)
        identifier = plans["configurations"][CONFIGURATION]["data_identifier"]
        _refuse_other_data(dataset, folder.parent, identifier)
        checkpoint = _checkpoint_of(folder)
        if checkpoint is None:
            record = {
                "iterations": iterations,
                "precision": precision_name(device),
                "cached_features": trainer.caches_features,
            }
            write_json(folder / "run.json", record | {"data": training_data(dataset, identifier)})
        else:
            trainer.load_checkpoint(str(checkpoint))
        if checkpoint is None or checkpoint.name != FINAL:
            trainer.run_training()
            # Beside the results and in none of them: it is another one each time.
            write_json(folder / "cost.json", peak_memory(device))
        # A kill may have come between the last checkpoint and the removal of the one before it.
        (folder / LATEST).unlink(missing_ok=True)
        if not (folder / "validation" / "summary.json").is_file():
            with contextlib.redirect_stdout(io.StringIO()):
                trainer.perform_actual_validation()
    return folder


def _checkpoint_of(folder: Path) -> Path | None:
    return next((folder / name for name in (FINAL, LATEST) if (folder / name).is_file()), None)


def _refuse_other_plan(trained_with: Path, plans: dict) -> None:
    """Folds of one ensemble share one plan."""
    if not trained_with.is_file():
        return
    if essence(read_json(trained_with)) != essence(plans):
        raise NucplanError(
            f"{trained_with.parent} holds folds of another plan than {plans['plans_name']} is now; "
            "move that folder away to train anew, or plan as before."
        )


def _refuse_other_length(folder: Path, iterations: int) -> None:
    """Folds of one ensemble have one length; each fold's is recorded in its ``run.json`` before it starts."""
    for record in sorted(folder.parent.glob("fold_*/run.json")):
        there = read_json(record)["iterations"]
        # A fold that was stopped before its first checkpoint holds nothing.
        if there != iterations and record.parent != folder and _checkpoint_of(record.parent) is not None:
            raise NucplanError(
                f"{record.parent} was trained for {there} iterations, not {iterations}, and all folds are averaged; "
                "give the same budget, or move that folder away."
            )


def _refuse_other_data(dataset: Dataset, model: Path, identifier: str) -> None:
    """Folds of one ensemble learned from one version of the dataset."""
    for record in sorted(model.glob("fold_*/run.json")):
        holds = (record.parent / FINAL, record.parent / LATEST)
        if problem := TrainedOn(record, dataset, holds, identifier).problem():
            raise NucplanError(problem)
