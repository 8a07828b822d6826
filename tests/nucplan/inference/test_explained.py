"""Explained nuclei are the predicted ones, and each decision is found where it was made, at every pixel size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from nucplan.errors import NucplanError
from nucplan.inference.explained import predict_explained
from nucplan.inference.pixel_size import predict_at_scale
from nucplan.inference.predictor import Predictor
from nucplan.networks.nucleus_net import NucleusMaps
from nucplan.watershed import Decision

CENTRES = ((20, 24), (20, 39), (60, 40), (80, 84))


class BrightWithRims(nn.Module):
    """Nuclei where the normalised image is bright, their boundary where it is even brighter."""

    boundary_strides, gate_strength = (1,), 0.75

    def maps(self, images: torch.Tensor) -> NucleusMaps:
        bright = images.mean(1, keepdim=True)
        nucleus, rim = torch.where(bright > 1, 9.0, -9.0), torch.where(bright > 4, 9.0, -9.0)
        return NucleusMaps(torch.cat([-nucleus, nucleus, nucleus - 9, nucleus - 9], 1), {1: rim})


@pytest.fixture
def rims(bright) -> Predictor:
    predictor = bright()
    predictor.networks = [BrightWithRims()]
    return predictor


def discs(size: float = 1) -> np.ndarray:
    """Bright discs, the first two of which touch along a line that is brighter."""
    image = np.full((round(104 * size), round(110 * size), 3), 60, np.uint8)
    for row, column in CENTRES:
        cv2.circle(image, (round(column * size), round(row * size)), round(8 * size), (130, 130, 130), -1)
    left, right = round(31 * size), round(33 * size)
    image[round(13 * size) : round(28 * size), left:right] = 255
    return image


@pytest.mark.parametrize("size", [0.5, 1, 2])
@pytest.mark.parametrize("margin", [0, 12])
def test_nuclei_are_the_predicted_ones_and_the_decision_lies_between_its_two(rims, size, margin):
    image = np.pad(discs(size), ((margin, 0), (2 * margin, 0), (0, 0)))
    instances, explanation = predict_explained(rims, image, 1 / size)
    expected = predict_at_scale(rims, image, 1 / size)
    np.testing.assert_array_equal(instances.labels, expected.labels)
    np.testing.assert_array_equal(instances.table.class_probabilities, expected.table.class_probabilities)
    assert explanation.gate_strength == 0.75
    table = explanation.decisions.table
    kept = np.flatnonzero(table.decision == Decision.KEPT)
    assert len(kept) == 1
    np.testing.assert_allclose(table.position[kept[0]], (20 * size + margin, 31.5 * size + 2 * margin), atol=8 * size)
    assert sorted(table.nuclei[kept[0]]) == sorted(
        instances.labels[round(20 * size) + margin, [round(c * size) + 2 * margin for c in (24, 39)]]
    )


def test_a_trained_ensemble_is_explained(ensemble):
    image = discs()
    assert ensemble.has_boundary
    instances, explanation = predict_explained(ensemble, image, 1.0)
    np.testing.assert_array_equal(instances.labels, ensemble(image).labels)
    np.testing.assert_array_equal(explanation.decisions.nuclei, instances.labels)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_black_picture_has_nothing_to_explain(rims, scale):
    instances, explanation = predict_explained(rims, np.zeros((30, 40, 3), np.uint8), scale)
    assert instances.labels.shape == (30, 40)
    assert len(instances.table) == len(explanation.decisions.table) == 0
    assert not explanation.boundary.any()


def test_networks_without_boundary_heads_are_refused(bright):
    with pytest.raises(ValueError, match="no boundary heads"):
        predict_explained(bright(), discs(), 1.0)


def test_another_number_of_channels_is_refused(rims):
    with pytest.raises(NucplanError, match="trained on images of 3"):
        predict_explained(rims, discs()[..., 0], 1.0)
