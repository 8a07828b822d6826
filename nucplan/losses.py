"""The losses: cross-entropy, soft Dice and focal Tversky for the classes, cross-entropy and soft Dice for boundaries.

All terms take a weight ``(B, H, W)`` that is 0 where a pixel does not count (ignore areas, padding), and are normalised
by its sum, so that a weight changes what matters and not the learning rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

SMOOTH = 1e-5


@dataclass(frozen=True)
class SegmentationLoss:
    """0.4 cross-entropy + 0.4 soft Dice + 0.2 focal Tversky.

    Dice and Tversky are means over the classes without the background, over the whole batch. Tversky weights as in
    CellViT (Hörst et al. 2024): 0.7 for missed, 0.3 for invented pixels, exponent 4/3.
    """

    cross_entropy: float = 0.4
    dice: float = 0.4
    focal_tversky: float = 0.2

    def __call__(
        self, logits: Tensor, target: Tensor, weight: Tensor, norm: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the terms, and each term by name, unweighted and detached.

        Parameters
        ----------
        logits : (B, K + 1, H, W)
        target : (B, H, W) int64
        weight : (B, H, W)
        norm : scalar, optional
            What the cross-entropy is divided by, where not by the sum of ``weight``.
        """
        # Half precision loses the sums over a batch of pixels.
        logits = logits.float()
        probabilities = logits.softmax(1)
        overlaps = class_overlaps(probabilities, target, weight)
        terms = {
            "cross_entropy": cross_entropy(logits, target, weight, norm),
            "dice": dice_loss(*overlaps),
            "focal_tversky": focal_tversky_loss(*overlaps),
        }
        total = sum(getattr(self, name) * term for name, term in terms.items())
        return total, {name: term.detach() for name, term in terms.items()}


@dataclass(frozen=True)
class BoundaryLoss:
    """Sum over the scales s of ``scales[s] * (cross-entropy + soft Dice)``, all at full resolution.

    Attributes
    ----------
    scales
        Decoder stride -> weight lambda.
    pos_weight
        Weight of boundary pixels in the cross-entropy.
    """

    scales: Mapping[int, float]
    pos_weight: float

    def __call__(
        self, logits: Mapping[int, Tensor], boundary: Tensor, counts: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the terms, and each term by name and stride, unweighted and detached.

        Parameters
        ----------
        logits : stride -> (B, 1, H, W)
        boundary : (B, H, W) bool
            From `nucplan.targets.boundary_map`.
        counts : (B, H, W)
            1 where a pixel counts, else 0.
        """
        target = boundary.to(counts.dtype)
        total, terms = counts.new_zeros(()), {}
        for stride, of_stride in logits.items():
            of_stride = of_stride[:, 0].float()
            bce = binary_cross_entropy(of_stride, target, counts, self.pos_weight)
            dice = dice_loss(*_overlaps(of_stride.sigmoid(), target, counts))
            total = total + self.scales[stride] * (bce + dice)
            terms |= {f"boundary_bce_{stride}": bce.detach(), f"boundary_dice_{stride}": dice.detach()}
        return total, terms


def cross_entropy(logits: Tensor, target: Tensor, weight: Tensor, norm: Tensor | None = None) -> Tensor:
    """Sum of the cross-entropy under ``weight``, divided by ``norm`` (default: its sum); 0 where no pixel counts."""
    per_pixel = functional.cross_entropy(logits, target, reduction="none")
    return (per_pixel * weight).sum() / (weight.sum() if norm is None else norm).clamp_min(SMOOTH)


def binary_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor, pos_weight: float) -> Tensor:
    """Mean binary cross-entropy under ``weight``, positive pixels ``pos_weight`` times as dear; all (B, H, W)."""
    per_pixel = functional.binary_cross_entropy_with_logits(
        logits, target, reduction="none", pos_weight=logits.new_tensor(pos_weight)
    )
    return (per_pixel * weight).sum() / weight.sum().clamp_min(SMOOTH)


def class_overlaps(probabilities: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Soft true positives, false positives and false negatives of the K foreground classes, each (K,)."""
    classes = probabilities.shape[1]
    truth = functional.one_hot(target, classes).movedim(-1, 1)[:, 1:].to(probabilities.dtype)
    return _overlaps(probabilities[:, 1:], truth, weight[:, None], (0, 2, 3))


def _overlaps(
    predicted: Tensor, truth: Tensor, weight: Tensor, over: tuple[int, ...] = (0, 1, 2)
) -> tuple[Tensor, Tensor, Tensor]:
    true_positives = (predicted * truth * weight).sum(over)
    false_positives = (predicted * weight).sum(over) - true_positives
    false_negatives = (truth * weight).sum(over) - true_positives
    return true_positives, false_positives, false_negatives


def dice_loss(true_positives: Tensor, false_positives: Tensor, false_negatives: Tensor) -> Tensor:
    """One minus the soft Dice coefficient (Milletari et al. 2016), mean over classes."""
    dice = (2 * true_positives + SMOOTH) / (2 * true_positives + false_positives + false_negatives + SMOOTH)
    return 1 - dice.mean()


def focal_tversky_loss(
    true_positives: Tensor,
    false_positives: Tensor,
    false_negatives: Tensor,
    missed: float = 0.7,
    invented: float = 0.3,
    gamma: float = 4 / 3,
) -> Tensor:
    """(1 - Tversky index) ** gamma (Abraham & Khan 2019, with the exponent as CellViT uses it), mean over classes."""
    index = (true_positives + SMOOTH) / (
        true_positives + missed * false_negatives + invented * false_positives + SMOOTH
    )
    # A base of exactly 0 has an infinite slope under exponents below one and a harmless one here.
    return torch.clamp_min(1 - index, 0).pow(gamma).mean()
