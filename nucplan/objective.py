"""The training objective: which losses a config has on, from network output and a patch of labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nucplan.losses import BoundaryLoss, SegmentationLoss
from nucplan.networks.nucleus_net import NucleusMaps
from nucplan.plans import decision
from nucplan.targets import boundary_map, weight_band


@dataclass(frozen=True)
class BoundaryObjective:
    """What a config learns from boundaries, and how much.

    Attributes
    ----------
    kernel
        Odd side in px of the square that draws the boundary B.
    loss
        Of the boundary heads.
    weight
        Weight of that loss in the total.
    beta
        Weight of the segmentation loss in the band around boundaries, ``1 + beta`` there; None leaves it unweighted.
    band_kernel
        Odd side in px of the square that widens B to the band.
    normalised
        Whether the weighted cross-entropy is divided by the sum of the weights, not by the number of pixels.
    """

    kernel: int
    loss: BoundaryLoss
    weight: float
    beta: float | None = None
    band_kernel: int = 1
    normalised: bool = True

    @classmethod
    def from_plans(cls, plans: Mapping[str, Any], weighted: bool) -> BoundaryObjective:
        """Read it from a plans file; ``weighted`` says whether the segmentation loss is weighted, too."""
        scales = {int(stride): weight for stride, weight in decision(plans, "boundary_scales").items()}
        return cls(
            kernel=decision(plans, "boundary_kernel"),
            loss=BoundaryLoss(scales, decision(plans, "boundary_pos_weight")),
            weight=decision(plans, "boundary_loss_weight"),
            beta=decision(plans, "boundary_beta") if weighted else None,
            band_kernel=decision(plans, "weight_kernel"),
            normalised=decision(plans, "boundary_weight_normalised"),
        )


class PatchTargets(NamedTuple):
    """What a batch of patches should become.

    Attributes
    ----------
    classes : (B, H, W) int64
        Class of each pixel, 0 where it does not count.
    counts : (B, H, W) float32
        1 where a pixel counts, 0 in ignore areas and outside of the image.
    boundary : (B, H, W) bool, or None
    emphasis : (B, H, W) float32, or None
        ``counts`` times the weight band.
    """

    classes: Tensor
    counts: Tensor
    boundary: Tensor | None = None
    emphasis: Tensor | None = None


@dataclass(frozen=True)
class Objective:
    """Segmentation loss, weighted near boundaries, plus boundary loss: what is off is not computed."""

    segmentation: SegmentationLoss = SegmentationLoss()
    boundary: BoundaryObjective | None = None
    ignore_label: int | None = None

    def targets(self, labels: Tensor) -> PatchTargets:
        """Targets from ``labels`` (B, 2, H, W) integer [class, instance]; negative where there is no image."""
        classes, counts = split_target(labels, self.ignore_label)
        if self.boundary is None:
            return PatchTargets(classes, counts.float())
        boundary = boundary_map(labels[:, 1], self.boundary.kernel, counts)
        if self.boundary.beta is None:
            return PatchTargets(classes, counts.float(), boundary)
        band = weight_band(boundary, self.boundary.beta, self.boundary.band_kernel)
        return PatchTargets(classes, counts.float(), boundary, counts * band)

    def __call__(self, maps: NucleusMaps, targets: PatchTargets) -> tuple[Tensor, dict[str, Tensor]]:
        """The total (a scalar), and every term by name, detached."""
        classes, counts, boundary, emphasis = targets
        if self.boundary is None:
            return self.segmentation(maps.semantic, classes, counts)
        weight = counts if emphasis is None else emphasis
        norm = None if self.boundary.normalised else counts.sum()
        segmentation, terms = self.segmentation(maps.semantic, classes, weight, norm)
        outlines, of_scales = self.boundary.loss(maps.boundary, boundary, counts)
        terms = {"segmentation": segmentation.detach(), "boundary": outlines.detach(), **terms, **of_scales}
        return segmentation + self.boundary.weight * outlines, terms


def class_counts(maps: NucleusMaps, targets: PatchTargets) -> tuple[Tensor, Tensor, Tensor]:
    """True positive, false positive and false negative pixels of the classes 1..K among those that count, each (K,)."""
    counted, predicted = targets.counts > 0, maps.semantic.argmax(1)
    classes = torch.arange(1, maps.semantic.shape[1], device=predicted.device)[:, None]
    is_truth, is_predicted = targets.classes[counted] == classes, predicted[counted] == classes
    hits = (is_truth & is_predicted).sum(1)
    return hits, is_predicted.sum(1) - hits, is_truth.sum(1) - hits


def boundary_counts(maps: NucleusMaps, targets: PatchTargets) -> np.ndarray:
    """Pixels that count and are boundary both for the finest head and in truth, for the head, in truth: (3,)."""
    counted = targets.counts > 0
    predicted = (maps.boundary[min(maps.boundary)][:, 0] > 0) & counted
    return np.array([float(x.sum()) for x in (predicted & targets.boundary, predicted, targets.boundary)])


def split_target(labels: Tensor, ignore_label: int | None = None) -> tuple[Tensor, Tensor]:
    """Class per pixel (B, H, W) int64 with 0 where it does not count, and where it counts (B, H, W) bool."""
    classes = labels[:, 0].long()
    counts = classes >= 0
    if ignore_label is not None:
        counts &= classes != ignore_label
    return torch.where(counts, classes, 0), counts
