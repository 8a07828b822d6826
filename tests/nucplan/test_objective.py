"""The objective: hand-computed boundary terms, what W does, what ignore areas do, and how the parts add up."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from nucplan.errors import NucplanError
from nucplan.losses import BoundaryLoss, SegmentationLoss, binary_cross_entropy, cross_entropy
from nucplan.networks.nucleus_net import NucleusMaps
from nucplan.objective import BoundaryObjective, Objective, boundary_counts
from nucplan.targets import boundary_map, weight_band

LOSS = BoundaryLoss({1: 1.0, 2: 0.5}, pos_weight=3.0)
BOUNDARY = BoundaryObjective(3, LOSS, 0.2, beta=3.0, band_kernel=3)


def batch(seed: int = 0, ignored: bool = False) -> tuple[NucleusMaps, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 5, (2, 1, 4, 5), generator=generator).repeat_interleave(4, 2).repeat_interleave(3, 3)
    labels = torch.cat([ids.clamp(max=2), ids], dim=1).int()
    if ignored:
        labels[:, 0, :5] = 3
        labels[:, 0, :, :2] = -1
    shapes = {"semantic": 3, 1: 1, 2: 1}
    logits = {name: torch.randn(2, channels, 16, 15, generator=generator) for name, channels in shapes.items()}
    return NucleusMaps(logits.pop("semantic"), logits), labels


def total(objective: Objective, maps: NucleusMaps, labels: Tensor) -> Tensor:
    return objective(maps, objective.targets(labels))[0]


def test_boundary_terms_equal_values_computed_by_hand():
    logits = torch.tensor([[[[math.log(3.0), 0.0, -math.log(3.0), 5.0]]]])
    boundary = torch.tensor([[[True, False, False, True]]])
    counts = torch.tensor([[[1.0, 1.0, 1.0, 0.0]]])
    loss, terms = BoundaryLoss({4: 0.25}, pos_weight=2.0)({4: logits}, boundary, counts)
    # Probabilities 3/4, 1/2, 1/4: 2 ln(4/3) for the positive one, ln 2 and ln(4/3) for the others.
    bce = (2 * math.log(4 / 3) + math.log(2) + math.log(4 / 3)) / 3
    dice = 1 - 2 * 0.75 / (2 * 0.75 + (0.5 + 0.25) + (1 - 0.75))
    assert terms["boundary_bce_4"].item() == pytest.approx(bce, rel=1e-5)
    assert terms["boundary_dice_4"].item() == pytest.approx(dice, rel=1e-4)
    assert loss.item() == pytest.approx(0.25 * (bce + dice), rel=1e-4)


def test_the_cross_entropy_of_boundaries_is_torchs_with_pos_weight():
    maps, labels = batch()
    logits, target = maps.boundary[1][:, 0], (labels[:, 1] > 2).float()
    expected = functional.binary_cross_entropy_with_logits(logits, target, pos_weight=torch.tensor(3.0))
    torch.testing.assert_close(binary_cross_entropy(logits, target, torch.ones_like(target), 3.0), expected)


def test_the_weighted_cross_entropy_equals_a_value_computed_by_hand():
    logits = torch.tensor([[[[0.0, 0.0]], [[0.0, math.log(3.0)]]]])
    target, weight = torch.tensor([[[0, 0]]]), torch.tensor([[[1.0, 4.0]]])
    per_pixel = math.log(2) + 4 * math.log(4)
    assert cross_entropy(logits, target, weight).item() == pytest.approx(per_pixel / 5, rel=1e-5)
    # The literal form: times W, then the mean over the pixels.
    assert cross_entropy(logits, target, weight, torch.tensor(2.0)).item() == pytest.approx(per_pixel / 2, rel=1e-5)


def test_the_total_is_the_weighted_segmentation_loss_plus_lambda_times_the_boundary_loss():
    maps, labels = batch()
    objective = Objective(boundary=BOUNDARY)
    value, terms = objective(maps, objective.targets(labels))
    boundary = boundary_map(labels[:, 1], 3)
    weight = weight_band(boundary, 3.0, 3)
    segmentation, _ = SegmentationLoss()(maps.semantic, labels[:, 0].long(), weight)
    outlines = sum(
        weight_of_scale * (terms[f"boundary_bce_{stride}"] + terms[f"boundary_dice_{stride}"])
        for stride, weight_of_scale in LOSS.scales.items()
    )
    torch.testing.assert_close(terms["segmentation"], segmentation)
    torch.testing.assert_close(terms["boundary"], outlines)
    torch.testing.assert_close(value, segmentation + 0.2 * outlines)


@given(st.integers(0, 1000), st.booleans())
@settings(max_examples=20, deadline=None)
def test_a_band_of_beta_zero_is_no_weight_at_all(seed, normalised):
    maps, labels = batch(seed, ignored=True)
    without = Objective(boundary=replace(BOUNDARY, beta=None), ignore_label=3)
    literal_or_not = Objective(boundary=replace(BOUNDARY, beta=0.0, normalised=normalised), ignore_label=3)
    assert torch.equal(total(without, maps, labels), total(literal_or_not, maps, labels))


def test_the_literal_form_is_larger_by_the_mean_of_w_in_the_cross_entropy_alone():
    maps, labels = batch(ignored=True)
    terms = []
    for normalised in (True, False):
        objective = Objective(boundary=replace(BOUNDARY, normalised=normalised), ignore_label=3)
        targets = objective.targets(labels)
        terms.append(objective(maps, targets)[1])
    mean_weight = targets.emphasis.sum() / targets.counts.sum()
    torch.testing.assert_close(terms[1].pop("cross_entropy"), mean_weight * terms[0].pop("cross_entropy"))
    for name in terms[0].keys() - {"segmentation"}:
        torch.testing.assert_close(terms[0][name], terms[1][name])


def test_ignored_and_missing_pixels_change_neither_a_term_nor_a_gradient():
    maps, labels = batch(ignored=True)
    silent = (labels[:, 0] == 3) | (labels[:, 0] < 0)
    maps = NucleusMaps(maps.semantic.requires_grad_(), {s: b.requires_grad_() for s, b in maps.boundary.items()})
    objective = Objective(boundary=BOUNDARY, ignore_label=3)
    value = total(objective, maps, labels)
    value.backward()
    for logits in (maps.semantic, *maps.boundary.values()):
        assert logits.grad.movedim(1, -1)[silent].eq(0).all()
        assert logits.grad.movedim(1, -1)[~silent].ne(0).any()
    other_ids = labels.clone()
    other_ids[:, 1][silent] = 99
    assert torch.equal(value, total(objective, maps, other_ids))


def test_a_boundary_against_an_ignore_area_is_no_target():
    labels = torch.zeros(1, 2, 4, 8, dtype=torch.int32)
    labels[:, :, :, :4] = 1
    labels[:, 0, :, 4:] = 3
    targets = Objective(boundary=BOUNDARY, ignore_label=3).targets(labels)
    assert not targets.boundary.any()
    assert targets.emphasis.equal(targets.counts)
    assert targets.counts[..., :4].all()
    assert not targets.counts[..., 4:].any()


def test_what_is_off_is_not_computed():
    _, labels = batch()
    plain = Objective().targets(labels)
    supervised = Objective(boundary=replace(BOUNDARY, beta=None)).targets(labels)
    assert plain.boundary is None
    assert plain.emphasis is None
    assert supervised.boundary is not None
    assert supervised.emphasis is None


def test_a_batch_in_which_nothing_counts_gives_a_finite_loss():
    maps, labels = batch()
    labels[:, 0] = -1
    assert torch.isfinite(total(Objective(boundary=BOUNDARY), maps, labels))


def test_an_objective_is_read_from_a_plan_and_an_older_plan_is_refused_with_a_sentence():
    values = {
        "boundary_kernel": 5,
        "weight_kernel": 7,
        "boundary_beta": 3.3,
        "boundary_scales": {"2": 1.0, "4": 0.5},
        "boundary_pos_weight": 2.5,
        "boundary_loss_weight": 0.25,
        "boundary_weight_normalised": False,
    }
    plans = {"nucplan": {"decisions": {name: {"value": value} for name, value in values.items()}}}
    expected = BoundaryObjective(5, BoundaryLoss({2: 1.0, 4: 0.5}, 2.5), 0.25, 3.3, 7, normalised=False)
    assert BoundaryObjective.from_plans(plans, weighted=True) == expected
    assert BoundaryObjective.from_plans(plans, weighted=False) == replace(expected, beta=None)
    del plans["nucplan"]["decisions"]["boundary_weight_normalised"]
    with pytest.raises(NucplanError, match="no decision 'boundary_weight_normalised'.*plan_and_preprocess"):
        BoundaryObjective.from_plans(plans, weighted=False)


def test_the_boundary_that_is_counted_is_the_finest_heads_where_pixels_count():
    labels = torch.ones(1, 2, 1, 6, dtype=torch.int32)
    labels[..., 3:] = 0
    labels[0, 0, 0, 0] = -1
    targets = Objective(boundary=BOUNDARY).targets(labels)
    assert targets.boundary.tolist() == [[[False, False, True, True, False, False]]]
    fine, coarse = torch.tensor([[[[9.0, 9, 9, -9, -9, 9]]]]), torch.full((1, 1, 1, 6), -9.0)
    maps = NucleusMaps(torch.zeros(1, 2, 1, 6), {1: fine, 4: coarse})
    assert boundary_counts(maps, targets).tolist() == [1, 3, 2]
