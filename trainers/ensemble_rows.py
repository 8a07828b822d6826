"""Ensembles that are scored side by side on the same images: each network predicts each image once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from nucplan.decoder_plan import DecoderPlan
from nucplan.ensemble_choice import mean_maps
from nucplan.files import read_json
from nucplan.inference.choice import read_choice
from nucplan.inference.pixel_size import at_image_size, at_model_size
from nucplan.inference.predictor import Predictor, load_network
from nucplan.instances import Instances
from nucplan.layout import CHOICE, FINAL, Dataset
from nucplan.metrics.image import ImageCounts
from nucplan.metrics.scores import Score
from trainers.out_of_fold.decoders import decoders_anew
from trainers.out_of_fold.runs import Models

# Config and fold.
Network = tuple[str, int]


class Row(NamedTuple):
    """Networks that are scored together: the folds of some configs, and the decoder of their mean maps."""

    name: str
    configs: tuple[str, ...]
    folds: tuple[int, ...]
    decoder: DecoderPlan
    chosen: bool = False


def ensembles(dataset: Dataset, models: Models, folds: Sequence[int], singles: bool = False) -> list[Row]:
    """The ensemble of every config, and the choice, where it is one of these networks.

    With ``singles``, every fold of every config comes before them.
    """
    plans = decoders_anew(dataset, models)
    alone = [Row(f"{name}, fold {fold}", (name,), (fold,), plan) for name, plan in plans.items() for fold in folds]
    rows = alone if singles else []
    rows += [Row(ensemble(name), (name,), tuple(folds), plan) for name, plan in plans.items()]
    if (dataset.results / CHOICE).is_file():
        choice = read_choice(dataset.results)
        # A choice among networks of another seed or plan has the same configs.
        ours = all(name in models and models[name].name == model for name, model in choice.configs.items())
        if ours and set(choice.folds) <= set(folds):
            choice.checkpoints(dataset.results)
            rows.append(Row("the choice", tuple(choice.configs), choice.folds, choice.decoder, chosen=True))
    return rows


def ensemble(config: str) -> str:
    """The name of the row of all folds of a config."""
    return f"{config}, ensemble"


def open_networks(models: Models, rows: Sequence[Row], device: torch.device) -> dict[Network, Predictor]:
    """Load every network of the rows, once."""
    wanted = sorted({(name, fold) for row in rows for name in row.configs for fold in row.folds})
    return {(name, fold): open_network(models[name], fold, device) for name, fold in wanted}


def open_network(model: Path, fold: int, device: torch.device) -> Predictor:
    """Load the network of one fold, to predict on its own."""
    network = load_network(model / f"fold_{fold}" / FINAL, device)
    return Predictor([network], read_json(model / "plans.json"), read_json(model / "dataset.json"), device)


def nuclei_of_rows(
    image: np.ndarray, networks: Mapping[Network, Predictor], rows: Sequence[Row], scale: float = 1.0
) -> Iterator[Instances]:
    """Nuclei of ``image`` (H, W) or (H, W, C) by row, at its own size, predicted on the image enlarged by ``scale``."""
    enlarged = at_model_size(image, scale)
    maps = {key: predictor.probabilities(enlarged) for key, predictor in networks.items()}
    for row in rows:
        keys = [(name, fold) for fold in row.folds for name in sorted(row.configs)]
        mean, region = mean_maps([maps[key][0] for key in keys]), maps[keys[0]][1]
        found = networks[keys[0]].decode(mean, region, enlarged.shape[:2], row.decoder)
        yield at_image_size(found, image.shape[:2])


def row_numbers(row: Row, images: Sequence[ImageCounts], scores: Sequence[Score]) -> dict[str, Any]:
    """A row and its scores by title, ready for JSON but for NaN."""
    return {
        "name": row.name,
        "configs": list(row.configs),
        "folds": list(row.folds),
        "chosen": row.chosen,
        "scores": {score.title: score(images) for score in scores},
    }
