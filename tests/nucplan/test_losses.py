from __future__ import annotations

import torch
from torch.nn import functional

from nucplan.losses import SegmentationLoss, class_overlaps, cross_entropy, dice_loss, focal_tversky_loss


def batch(seed: int = 0, classes: int = 4):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 12, 10, generator=generator)
    target = torch.randint(0, classes, (2, 12, 10), generator=generator)
    weight = (torch.rand(2, 12, 10, generator=generator) > 0.3).float()
    return logits, target, weight


def test_pixels_of_weight_zero_change_neither_loss_nor_gradient():
    logits, target, weight = batch()
    other = torch.where(weight > 0, target, (target + 1) % 4)
    noisy = torch.where(weight[:, None] > 0, logits, logits + 3)
    losses = []
    for values, truth in ((logits, target), (noisy, other)):
        values = values.clone().requires_grad_()
        total, _ = SegmentationLoss()(values, truth, weight)
        total.backward()
        assert (values.grad * (weight == 0)[:, None]).abs().max() == 0
        losses.append(total.item())
    assert losses[0] == losses[1]


def test_a_constant_weight_is_no_change_of_learning_rate():
    logits, target, _ = batch()
    ones = torch.ones(target.shape)
    once, _ = SegmentationLoss()(logits, target, ones)
    thrice, _ = SegmentationLoss()(logits, target, 3 * ones)
    torch.testing.assert_close(once, thrice, rtol=1e-5, atol=1e-6)


def test_terms_equal_their_definitions():
    logits, target, weight = batch()
    counted = weight > 0
    expected = functional.cross_entropy(logits.movedim(1, -1)[counted], target[counted])
    torch.testing.assert_close(cross_entropy(logits, target, weight), expected)

    probabilities = logits.softmax(1)
    tp, fp, fn = class_overlaps(probabilities, target, weight)
    dices, tverskys = [], []
    for c in range(1, 4):
        p, t = probabilities[:, c][counted], (target[counted] == c).float()
        dices.append(2 * (p * t).sum() / (p.sum() + t.sum()))
        hits = (p * t).sum()
        index = hits / (hits + 0.7 * ((1 - p) * t).sum() + 0.3 * (p * (1 - t)).sum())
        tverskys.append((1 - index) ** (4 / 3))
    torch.testing.assert_close(dice_loss(tp, fp, fn), 1 - torch.stack(dices).mean(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(focal_tversky_loss(tp, fp, fn), torch.stack(tverskys).mean(), rtol=1e-4, atol=1e-5)


def test_the_total_is_the_recipe():
    logits, target, weight = batch()
    total, terms = SegmentationLoss()(logits, target, weight)
    recipe = 0.4 * terms["cross_entropy"] + 0.4 * terms["dice"] + 0.2 * terms["focal_tversky"]
    torch.testing.assert_close(total, recipe)


def test_a_perfect_prediction_has_no_loss_and_a_finite_gradient():
    _, target, weight = batch()
    logits = (40 * functional.one_hot(target, 4).movedim(-1, 1).float()).requires_grad_()
    total, _ = SegmentationLoss()(logits, target, weight)
    total.backward()
    assert total.item() < 1e-4
    assert torch.isfinite(logits.grad).all()


def test_a_batch_in_which_nothing_counts_gives_a_finite_loss():
    logits, target, weight = batch()
    total, _ = SegmentationLoss()(logits.requires_grad_(), target, 0 * weight)
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(logits.grad).all()
