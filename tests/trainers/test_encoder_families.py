"""Every family of encoders learns: a short training at toy size lowers the loss, frozen and unfrozen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nucplan.datasets.synthetic import make_image
from nucplan.datasets.synthetic_multiplex import IMMUNE, MARKERS, STROMA, make_multiplex
from nucplan.networks.nucleus_net import NucleusNet
from nucplan.objective import Objective

PATCH, CLASSES, STEPS = 64, 4, 12
TOY = {"embed_dim": 48, "num_heads": 3}
RGB: dict[str, dict[str, Any]] = {
    "timm ViT": {"encoder": "vit_tiny_patch16_224", "encoder_options": TOY},
    "patch 8": {"encoder": "vit_small_patch8_224", "encoder_options": TOY},
    "UNI": {"encoder": "uni", "encoder_options": TOY},
    "Virchow2: patch 14, registers, SwiGLU": {"encoder": "virchow2", "encoder_options": TOY},
    "DINOv2 with registers": {"encoder": "dinov2-s-reg", "encoder_options": TOY},
    "SAM": {"encoder": "sam-b", "encoder_options": TOY},
    "SAM-Med2D": {"encoder": "sam-med2d", "encoder_options": TOY},
    "CellViT's decoder": {"encoder": "cellvit-256", "encoder_options": TOY, "decoder": "cellvit"},
    "CellVTA": {"encoder": "uni", "encoder_options": TOY, "adapter": {"injection_blocks": [1, 2, 3, 4]}},
}
TOY_VIRTUES = {"dim": 32, "feedforward": 64, "heads": 4, "pattern": "hvhv", "marker_dim": 16, "mpp": 0.5}
PANELS: dict[str, dict[str, Any]] = {
    "channel-invariant stem": {"encoder": "vit_tiny_patch16_224", "encoder_options": TOY, "channel_stem": {}},
    "VirTues": {
        "encoder": "virtues",
        "encoder_depth": None,
        "encoder_options": TOY_VIRTUES | {"markers": [f"P{k:05d}" for k in range(len(MARKERS))]},
        "channel_stem": {},
    },
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def class_maps(instances: np.ndarray, classes: dict[int, int]) -> np.ndarray:
    return np.array([0, *(classes[i] for i in range(1, len(classes) + 1))])[instances]


def labels_of(drawn: list[tuple[np.ndarray, dict[int, int]]]) -> Tensor:
    maps = [np.stack([class_maps(instances, classes), instances]) for instances, classes in drawn]
    return torch.from_numpy(np.stack(maps).astype(np.int32))


def stained_tissue() -> tuple[Tensor, Tensor]:
    drawn = [make_image(np.random.default_rng(seed), PATCH) for seed in range(4)]
    images = torch.from_numpy(np.stack([image for image, _, _ in drawn])).permute(0, 3, 1, 2).float() / 255
    return images, labels_of([(instances, classes) for _, instances, classes in drawn])


def two_panels() -> tuple[Tensor, Tensor]:
    """The union of two panels in 12 channels; those that an image lacks are 0."""
    union, images, drawn = list(MARKERS), [], []
    for seed in range(4):
        panel = (IMMUNE, STROMA)[seed % 2]
        image, instances, classes = make_multiplex(np.random.default_rng(seed), PATCH, panel)
        planes = np.zeros((len(union), PATCH, PATCH), np.float32)
        shown = np.log1p(image.astype(np.float32))
        planes[[union.index(name) for name in panel]] = shown - shown.mean((1, 2), keepdims=True)
        images.append(planes)
        drawn.append((instances, classes))
    return torch.from_numpy(np.stack(images)), labels_of(drawn)


def losses(arguments: dict[str, Any], images: Tensor, labels: Tensor, frozen: bool) -> tuple[list[float], NucleusNet]:
    torch.manual_seed(0)
    network = NucleusNet(
        images.shape[1], CLASSES, features_per_stage=[8, 12, 16, 16, 16], encoder_frozen=frozen,
        **{"encoder_depth": 4, **arguments},
    ).train()  # fmt: skip
    if "table" in dict(network.encoder.plain.named_buffers()):
        network.encoder.plain.table.normal_()
    objective = Objective()
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=2e-3)
    found = []
    for _ in range(STEPS):
        total, _ = objective(network.maps(images), objective.targets(labels))
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
        optimizer.step()
        found.append(float(total.detach()))
    return found, network


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "trained"])
@pytest.mark.parametrize("family", [*RGB, *PANELS])
def test_a_short_training_lowers_the_loss(family: str, frozen: bool) -> None:
    arguments = (RGB | PANELS)[family]
    images, labels = stained_tissue() if family in RGB else two_panels()
    found, network = losses(arguments, images, labels, frozen)
    assert np.mean(found[-3:]) < 0.93 * found[0]
    trained = [p.requires_grad for p in network.encoder.plain.body.parameters()]
    assert not any(trained) if frozen else all(trained)
