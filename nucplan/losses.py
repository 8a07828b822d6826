"""The segmentation loss: cross-entropy, soft Dice and focal Tversky, each weighted per pixel.

All terms take logits ``(B, K + 1, H, W)``, integer targets ``(B, H, W)`` and a weight ``(B, H, W)`` that is 0 where a
pixel does not count (ignore areas, padding), and are normalised by the sum of the weight, so that a weight changes
what matters and not the learning rate.
"""

from __future__ import annotations

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

    def __call__(self, logits: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum (a scalar), and each term by name, unweighted and detached."""
        # Half precision loses the sums over a batch of pixels.
        logits = logits.float()
        probabilities = logits.softmax(1)
        overlaps = class_overlaps(probabilities, target, weight)
        terms = {
            "cross_entropy": cross_entropy(logits, target, weight),
            "dice": dice_loss(*overlaps),
            "focal_tversky": focal_tversky_loss(*overlaps),
        }
        total = sum(getattr(self, name) * term for name, term in terms.items())
        return total, {name: term.detach() for name, term in terms.items()}


def cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean cross-entropy under ``weight``; 0 where no pixel counts."""
    per_pixel = functional.cross_entropy(logits, target, reduction="none")
    return (per_pixel * weight).sum() / weight.sum().clamp_min(SMOOTH)


def class_overlaps(probabilities: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Soft true positives, false positives and false negatives of the K foreground classes, each (K,)."""
    classes = probabilities.shape[1]
    truth = functional.one_hot(target, classes).movedim(-1, 1)[:, 1:].to(probabilities.dtype)
    predicted = probabilities[:, 1:]
    weight = weight[:, None]
    sums = (0, 2, 3)
    true_positives = (predicted * truth * weight).sum(sums)
    false_positives = (predicted * weight).sum(sums) - true_positives
    false_negatives = (truth * weight).sum(sums) - true_positives
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
