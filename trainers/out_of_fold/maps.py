"""Probability maps of images that a network has not seen: those of a fold's validation cases, kept in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from nucplan.checkpoints import load_checkpoint
from nucplan.datasets.raw import RawDataset
from nucplan.decoder_plan import DecoderPlan
from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.inference.predictor import Predictor, load_network
from nucplan.instances import NucleusProbabilities
from nucplan.layout import FINAL, Dataset
from trainers.out_of_fold.folds import is_finished, training_command


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


@dataclass(frozen=True)
class TrainedFold:
    """The network of one finished fold and the cases that it has not seen.

    Attributes
    ----------
    predictor : Predictor
        Of this fold alone; its `decode` makes nuclei of the maps.
    raw : RawDataset
    cases : list of str
    """

    predictor: Predictor
    raw: RawDataset
    cases: list[str]

    def maps(self) -> Iterator[OutOfFoldMaps]:
        """Predict the cases, one by one."""
        return map(self.maps_of, self.cases)

    def maps_of(self, case: str) -> OutOfFoldMaps:
        """Predict one of the cases."""
        image = self.raw.image(case)
        maps, region = self.predictor.probabilities(image)
        return OutOfFoldMaps(case, maps, region, image.shape[:2])

    def labels(self, case: str, plan: DecoderPlan) -> np.ndarray:
        """The label map of one of the cases under a decoder plan, (H, W) int32."""
        _, maps, region, shape = self.maps_of(case)
        return self.predictor.decode(maps, region, shape, plan).labels


def open_fold(dataset: Dataset, model: Path, fold: int, device: torch.device) -> TrainedFold:
    """Load one fold of ``model``, the folder that holds ``fold_0`` to ``fold_4``.

    Raises
    ------
    NucplanError
        If the fold is not finished, was trained on what is now a validation case, or a file of the folder is missing
        or damaged.
    """
    if not is_finished(model, fold):
        command = training_command(dataset, model, fold)
        raise NucplanError(f"{model / f'fold_{fold}'} is not finished; train it first with {command}.")
    checkpoint, cases = model / f"fold_{fold}" / FINAL, read_json(dataset.splits)[fold]["val"]
    _refuse_seen_cases(checkpoint, cases, dataset.splits)
    plans, dataset_json = read_json(model / "plans.json"), read_json(model / "dataset.json")
    predictor = Predictor([load_network(checkpoint, device)], plans, dataset_json, device)
    return TrainedFold(predictor, RawDataset(dataset), cases)


def _refuse_seen_cases(checkpoint: Path, cases: list[str], splits: Path) -> None:
    seen = sorted(set(cases) & set(load_checkpoint(checkpoint).get("training_cases", ())))
    if seen:
        raise NucplanError(
            f"{checkpoint} was trained on {seen[0]}, a validation case in {splits}; "
            "restore the split, or train the fold anew."
        )
