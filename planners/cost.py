"""What a training step of a network costs, counted on tensors without data: nothing is run, nothing is timed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from nucplan.networks.nucleus_net import NucleusNet

# The peak over a step is a maximum of lines in the batch size, so between these two a chord is never below it.
COUNTED_BATCHES = 1, 16
# Memory that tensors take above their size. On a CPU, those below glibc's largest mmap threshold (32 MiB) leave holes
# in the heap, and kernels bring code and buffers: resident memory was 1.08 to 1.22 times the count in 33 runs. On a
# GPU it stands for the workspaces of cuDNN and cuBLAS (32 MiB), and was not measured.
ALLOCATOR_OVERHEAD = {"cpu": 1.25, "cuda": 1.15}
KERNEL_BYTES = {"cpu": 16 * 2**20, "cuda": 32 * 2**20}
# A core computes and moves memory in turn. Least squares over 11 steps in float32 of 0.3 to 1 s (AVX-512, 2.1 GHz);
# predicted are 0.85 to 1.2 of them. Mixed precision takes about six tenths, but a plan is the same on all processors.
FLOPS_PER_CORE_SECOND = 1.8e11
BYTES_PER_CORE_SECOND = 1.1e10


@dataclass(frozen=True)
class StepCost:
    """Cost of a training step with 1 to 16 samples.

    Attributes
    ----------
    patch
        Side of the square samples in px.
    weight_bytes
        Parameters and buffers of the network, which are there before the step.
    fixed_bytes, bytes_per_sample
        Peak memory, weights included, is at most ``fixed_bytes + batch * bytes_per_sample``.
    flops_per_sample
        Floating point operations of the forward and the backward pass; a multiplication with its addition is two.
    moved_per_sample
        Bytes that the operations of both passes read and write.
    """

    patch: int
    weight_bytes: int
    fixed_bytes: int
    bytes_per_sample: int
    flops_per_sample: int
    moved_per_sample: int

    def bytes(self, batch: int) -> int:
        """Peak memory of a step, weights included."""
        return self.fixed_bytes + batch * self.bytes_per_sample

    def bytes_above_weights(self, batch: int) -> int:
        """Peak memory of a step above the level before the first one, when only the weights are there."""
        return self.bytes(batch) - self.weight_bytes

    def seconds(self, batch: int, cores: int) -> float:
        """Expected time of a step on a CPU; machines unlike the one that the rates come from are faster or slower."""
        per_sample = self.flops_per_sample / FLOPS_PER_CORE_SECOND + self.moved_per_sample / BYTES_PER_CORE_SECOND
        return batch * per_sample / cores


def count(
    architecture: Mapping[str, Any],
    channels: int,
    classes: int,
    patch: int,
    device_type: str,
    with_encoder: bool = True,
) -> StepCost:
    """Count forward pass, loss, backward pass, clipping and AdamW, as ``trainers.base`` runs them from step two on.

    Parameters
    ----------
    architecture
        Further arguments of `NucleusNet`.
    channels, classes
        Of the images, and K without the background.
    patch
        Side of the square samples in px, a multiple of the encoder's stride.
    device_type
        "cpu", or "cuda" for mixed precision.
    with_encoder
        False for a step that is given the encoder's maps.
    """
    import torch

    # torch documents this class under "Fake tensor" and has no public name for it.
    from torch._subclasses.fake_tensor import FakeTensorMode

    from nucplan.networks.nucleus_net import NucleusNet
    from planners.counting import ByteCounter

    on_gpu = device_type == "cuda"
    with torch.device("meta"):
        network = NucleusNet(channels, classes + 1, **architecture).train()
    with FakeTensorMode(allow_non_fake_inputs=True), ByteCounter() as counter:
        network.to_empty(device="cpu")
        weights = counter.live
        # torch chooses the kind of its loops by device and type, and does not know the type of tensors without data.
        optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], foreach=on_gpu)
        _update(optimizer, on_gpu)
        updating = counter.peak
        peaks, flops, moved = [], [], []
        for batch in COUNTED_BATCHES:
            optimizer.zero_grad(set_to_none=True)
            counter.restart()
            flops.append(_passes(network, (batch, channels, patch, patch), on_gpu, with_encoder))
            peaks.append(max(updating, counter.peak) - weights)
            moved.append(counter.moved)
    overhead = ALLOCATOR_OVERHEAD[device_type]
    slope = overhead * _per_sample(peaks)
    fixed = weights + KERNEL_BYTES[device_type] + overhead * peaks[0] - COUNTED_BATCHES[0] * slope
    return StepCost(patch, weights, round(fixed), round(slope), round(_per_sample(flops)), round(_per_sample(moved)))


def _per_sample(values: list[int]) -> float:
    return (values[1] - values[0]) / (COUNTED_BATCHES[1] - COUNTED_BATCHES[0])


def _update(optimizer: torch.optim.Optimizer, on_gpu: bool) -> None:
    """Clip and apply gradients; the moments that the optimiser makes in its first step stay alive with it."""
    import torch

    parameters = optimizer.param_groups[0]["params"]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    torch.nn.utils.clip_grad_norm_(parameters, 12, foreach=on_gpu)
    optimizer.step()


def _passes(network: NucleusNet, shape: tuple[int, int, int, int], on_gpu: bool, with_encoder: bool) -> int:
    """Forward and backward pass of a batch of this shape (B, C, P, P); the number of floating point operations."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from nucplan.losses import BoundaryLoss
    from nucplan.objective import BoundaryObjective, Objective, PatchTargets
    from planners.counting import autocast_as_on_gpu

    encoder, (batch, *_, side) = network.encoder, shape
    known = [torch.empty(batch, encoder.channels, side // s, side // s) for s in encoder.tap_strides]
    images, patches = torch.empty(shape), (shape[0], *shape[2:])
    loss = BoundaryLoss(dict.fromkeys(network.boundary_strides, 1.0), pos_weight=1.0)
    boundary = BoundaryObjective(kernel=3, loss=loss, weight=1.0, beta=1.0)
    objective = Objective(boundary=boundary if network.boundary_strides else None)
    with FlopCounterMode(display=False) as flops:
        targets = PatchTargets(
            classes=torch.zeros(patches, dtype=torch.int64),
            counts=torch.empty(patches),
            boundary=torch.empty(patches, dtype=torch.bool),
            emphasis=torch.empty(patches),
        )
        with autocast_as_on_gpu(on_gpu):
            maps = network.maps(images, None if with_encoder else known)
            total, _ = objective(maps, targets)
        del maps, targets
        total.backward()
    return flops.get_total_flops()
