"""The last layer of every head."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LogitHead(nn.Conv2d):
    """1x1 convolution to logits, multiplied by ``gain``.

    Adam moves a weight by at most the learning rate per step, so a few hundred steps at 5e-4 cannot make a plain head
    confident; the gain is a larger step for this layer alone. Weights start smaller by it, so the first logits are
    as usual.
    """

    gain = 8.0

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)
        with torch.no_grad():
            self.weight /= self.gain
            self.bias.zero_()

    def forward(self, features: Tensor) -> Tensor:
        return self.gain * super().forward(features)
