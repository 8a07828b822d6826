"""Predictors: the trained ensemble, and one whose nuclei are the bright pixels, which shows where labels land."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

from nucplan.inference.predictor import Predictor
from nucplan.networks.nucleus_net import NucleusMaps


class BrightIsNucleus(nn.Module):
    """Class 2 where the normalised image is bright; keeps what it was shown."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.classes, self.seen = classes, []

    def maps(self, images: torch.Tensor) -> NucleusMaps:
        self.seen.append(images)
        bright = images.mean(1) > 1
        semantic = torch.full((len(images), self.classes + 1, *images.shape[2:]), -9.0)
        semantic[:, 0] = torch.where(bright, -9.0, 9.0)
        semantic[:, min(2, self.classes)] = torch.where(bright, 9.0, -9.0)
        return NucleusMaps(semantic)


@pytest.fixture(scope="session")
def model_folder(trained_root: Path) -> Path:
    return trained_root / "nnUNet_results/Dataset001_Tiny/nnUNetTrainerNucBoundaryAttention__nucplanPlans__2d"


@pytest.fixture(scope="session")
def ensemble(model_folder: Path) -> Predictor:
    return Predictor.from_folder(model_folder, torch.device("cpu"))


@pytest.fixture
def bright(ensemble: Predictor) -> Callable[..., Predictor]:
    """Makes predictors with the plan of the ensemble, of another scale or number of channels where asked."""

    def make(scale: int = 1, channels: int = 3) -> Predictor:
        plans, dataset_json = deepcopy(ensemble.plans), deepcopy(ensemble.dataset_json)
        configuration, decisions = plans["configurations"]["2d"], plans["nucplan"]["decisions"]
        configuration["spacing"] = [1 / scale] * 2
        configuration["normalization_schemes"] = ["ZScoreNormalization"] * channels
        configuration["use_mask_for_norm"] = [False] * channels
        decisions["foreground_decoder"]["value"]["diameter"] *= scale
        dataset_json["channel_names"] = {str(i): f"channel {i}" for i in range(channels)}
        return Predictor([BrightIsNucleus()], plans, dataset_json, torch.device("cpu"))

    return make
