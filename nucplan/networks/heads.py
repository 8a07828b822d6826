"""The last layer of every head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class LogitHead(nn.Conv2d):
    """1x1 convolution to logits, multiplied by ``gain``.

    Adam moves a weight by at most the learning rate per step, so a few hundred steps at 5e-4 cannot make a plain head
    confident; the gain is a larger step for this layer alone. Weights start smaller by it, so the first logits are
    as usual. It computes in float32 under mixed precision too: the steps of a 16-bit logit would be plateaus in the
    maps, and ties where the decoder looks for peaks.
    """

    gain = 8.0

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)
        with torch.no_grad():
            self.weight /= self.gain
            self.bias.zero_()

    def forward(self, features: Tensor, gate: Tensor | None = None) -> Tensor:
        """Logits (B, out, H, W) float32 of features (B, in, H, W), or of ``features * gate``, gate (B, 1, H, W)."""
        with torch.autocast(features.device.type, enabled=False):
            # The convolution as the product of matrices that it is: torch has no fast one for so few channels.
            logits = functional.linear(features.float().movedim(1, -1), self.weight.flatten(1)).movedim(-1, 1)
            if gate is not None:
                # A 1x1 convolution is linear, so the gate can follow it, where there are fewer channels.
                logits = logits * gate
            return self.gain * (logits + self.bias.view(-1, 1, 1))
