"""Probability maps of images that a network has not seen: those of a fold's validation cases, kept in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from nucplan.checkpoints import FINAL, load_checkpoint
from nucplan.datasets.raw import RawDataset
from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.inference.predictor import Predictor, load_network
from nucplan.instances import NucleusProbabilities
from nucplan.layout import Dataset


class OutOfFoldMaps(NamedTuple):
    """What the network of a fold says of one of its validation images.

    Attributes
    ----------
    case : str
    maps : NucleusProbabilities
        float16, at the planned scale.
    region : list of (start, stop)
        Rows and columns of the image that the maps cover.
    shape : (H, W)
        Of the image.
    """

    case: str
    maps: NucleusProbabilities
    region: list[tuple[int, int]]
    shape: tuple[int, int]


def out_of_fold_maps(dataset: Dataset, model: Path, fold: int, device: torch.device) -> Iterator[OutOfFoldMaps]:
    """Predict the validation cases of one finished fold, one by one; `Predictor.decode` makes nuclei of each.

    Raises
    ------
    NucplanError
        Before anything is yielded: if the fold is not finished, or was trained on what is now a validation case.
    """
    predictor, cases = fold_predictor(dataset, model, fold, device), _validation_cases(dataset, model, fold)
    return _predicted(predictor, RawDataset(dataset), cases)


def fold_predictor(dataset: Dataset, model: Path, fold: int, device: torch.device) -> Predictor:
    """The predictor of a single fold of ``model``, the folder that holds ``fold_0`` to ``fold_4``.

    Raises
    ------
    NucplanError
        If the fold is not finished, or a file of the folder is missing or damaged.
    """
    network = load_network(_checkpoint(dataset, model, fold), device)
    return Predictor([network], read_json(model / "plans.json"), read_json(model / "dataset.json"), device)


def _checkpoint(dataset: Dataset, model: Path, fold: int) -> Path:
    checkpoint = model / f"fold_{fold}" / FINAL
    if not checkpoint.is_file():
        raise NucplanError(
            f"{checkpoint.parent} is not finished; train it first with nucplan_train {dataset.id} {fold}."
        )
    return checkpoint


def _validation_cases(dataset: Dataset, model: Path, fold: int) -> list[str]:
    cases, checkpoint = read_json(dataset.splits)[fold]["val"], _checkpoint(dataset, model, fold)
    seen = sorted(set(cases) & set(load_checkpoint(checkpoint).get("training_cases", ())))
    if seen:
        raise NucplanError(
            f"{checkpoint} was trained on {seen[0]}, a validation case in {dataset.splits}; "
            "restore the split, or train the fold anew."
        )
    return cases


def _predicted(predictor: Predictor, raw: RawDataset, cases: list[str]) -> Iterator[OutOfFoldMaps]:
    for case in cases:
        image = raw.image(case)
        maps, region = predictor.probabilities(image)
        if not image.any():
            # What is all black holds no nuclei, as for the predictor itself.
            maps = NucleusProbabilities(np.zeros_like(maps.semantic), maps.boundary)
            maps.semantic[0] = 1
        yield OutOfFoldMaps(case, maps, region, image.shape[:2])
