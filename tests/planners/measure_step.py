"""A program: peak resident memory of training steps above the level before them, in bytes.

Takes the arguments of `planners.cost.count`, without the device, and the batch size as JSON.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import torch

from nucplan.losses import BoundaryLoss
from nucplan.objective import BoundaryObjective, Objective

STEPS = 3  # the optimiser allocates in the first one, and then the heap settles


def resident(kind: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(kind))


def training(architecture: dict, channels: int, classes: int):
    from nucplan.networks.nucleus_net import NucleusNet

    network = NucleusNet(channels, classes + 1, **architecture).train()
    return network, torch.optim.AdamW([p for p in network.parameters() if p.requires_grad])


def step(network: torch.nn.Module, optimizer: torch.optim.Optimizer, shape: tuple[int, ...], classes: int) -> None:
    images = torch.randn(shape)
    labels = torch.randint(classes + 1, (shape[0], 2, *shape[2:]), dtype=torch.int32)
    optimizer.zero_grad(set_to_none=True)
    heads = BoundaryObjective(3, BoundaryLoss(dict.fromkeys(network.boundary_strides, 1.0), 1.0), 1.0, 1.0)
    objective = Objective(boundary=heads if network.boundary_strides else None)
    total, _ = objective(network.maps(images), objective.targets(labels))
    total.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
    optimizer.step()


def main(architecture: dict, channels: int, classes: int, patch: int, batch: int) -> int:
    # What libraries load and set up once is no part of a step.
    tiny = architecture | {"encoder": "vit_tiny_patch16_224", "encoder_depth": 1, "features_per_stage": [8] * 5}
    step(*training(tiny, channels, classes), (1, channels, 32, 32), classes)
    network, optimizer = training(architecture, channels, classes)
    before = resident("VmRSS")
    for _ in range(STEPS):
        step(network, optimizer, (batch, channels, patch, patch), classes)
    return resident("VmHWM") - before


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(main(*json.loads(sys.argv[1])))
