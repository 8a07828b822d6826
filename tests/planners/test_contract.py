"""What a pretrained encoder of markers is shown is what it was trained on, or planning says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nucplan.errors import NucplanError
from nucplan.markers.channels import ChannelMarkers
from planners import contract, rules
from planners.contract import CONTEXT_UM
from planners.cost import StepCost
from planners.pretrained import EncoderRequest, PretrainedEncoder
from planners.rules import Decision, Limits

SEEN = ChannelMarkers(("P68431", "P01730"), True, ())
CPU = Limits("cpu", 8, 2)
CHEAP = StepCost(96, 10**6, 10**7, 10**6, 10**8, 10**7)


def encoder(
    break_contract: bool = False, markers: ChannelMarkers = SEEN, rope: tuple[int, ...] = (0, 2)
) -> PretrainedEncoder:
    request = EncoderRequest("virtues", Path("weights.safetensors"), break_contract=break_contract)
    return PretrainedEncoder(request, (0, 1, 2, 3), {"rope": rope}, mpp=1.0, markers=markers)


def decisions(patch: int = 256, overlap: int = 64, scale: int = 1, normalization: object = ()) -> dict[str, Decision]:
    values = {
        "scale": scale,
        "patch_size": [patch, patch],
        "tile_overlap": overlap,
        "marker_normalization": normalization,
    }
    return {name: Decision(value, "") for name, value in values.items()}


@pytest.mark.parametrize("mpp", [0.25, 0.325, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("scale", [1, 2])
def test_planned_patches_show_the_context_of_the_training(fingerprint_of, mpp, scale):
    data = fingerprint_of(mpp=mpp, side=2000)
    patch = rules.patch_size(data, CPU, scale, CHEAP, contract.least_patch(data, scale, encoder())).value
    overlap = rules.tile_overlap(data, scale, patch, contract.least_overlap(data, scale, encoder())).value
    assert patch[0] % rules.PATCH_MULTIPLE == 0
    assert patch[0] * mpp / scale >= CONTEXT_UM
    assert overlap * mpp / scale >= 32
    assert not contract.checked(encoder(), data, decisions(patch[0], overlap, scale))


def test_without_an_encoder_of_markers_patches_are_as_before(fingerprint_of):
    data = fingerprint_of(mpp=0.25, side=2000)
    other = PretrainedEncoder(EncoderRequest("uni", Path("uni.bin")), (5, 11, 17, 23))
    for pretrained in (None, other):
        assert contract.least_patch(data, 1, pretrained) == contract.least_overlap(data, 1, pretrained) == 0
        assert contract.checked(pretrained, data, decisions(32)) == []


@pytest.mark.parametrize(
    ("arguments", "planned", "message"),
    [
        ({"mpp": None}, {}, "does not tell its microns per pixel"),
        ({"mpp": 1.0}, {"patch": 96, "overlap": 32}, "96 px shows 96 um"),
        # A tile of one token: nothing to attend to.
        ({"mpp": 1.0}, {"patch": 8, "overlap": 2}, "8 px shows 8 um"),
        ({"mpp": 0.5}, {"patch": 128, "overlap": 32}, "128 px shows 64 um"),
        ({"mpp": 1.0}, {"patch": 128, "scale": 2}, "128 px shows 64 um"),
        ({"mpp": 0.5}, {"normalization": None}, "yours would not be"),
    ],
)
def test_a_grave_deviation_stops_the_planning_or_is_recorded(fingerprint_of, arguments, planned, message):
    data, taken = fingerprint_of(side=2000, **arguments), decisions(**planned)
    with pytest.raises(NucplanError, match=f"{message}.*--break-contract"):
        contract.checked(encoder(), data, taken)
    broken = contract.to_json(encoder(), contract.checked(encoder(break_contract=True), data, taken))["broken"]
    assert len(broken) == 1
    assert message in broken[0]


def test_weights_without_positions_stop_the_planning(fingerprint_of):
    data = fingerprint_of(mpp=1.0, side=2000)
    with pytest.raises(NucplanError, match="no tables of positions.*--break-contract"):
        contract.checked(encoder(rope=()), data, decisions())
    assert contract.checked(encoder(), data, decisions()) == []


@pytest.mark.parametrize(
    ("side", "planned", "markers", "message"),
    [
        (64, {"patch": 96, "overlap": 32}, SEEN, "continued by reflection"),
        (2000, {"patch": 256, "overlap": 16}, SEEN, "Tiles overlap by 16 um"),
        (2000, {}, ChannelMarkers(("P01730",), False, ()), "no stain of nuclei"),
        (2000, {}, ChannelMarkers(("P68431", None), True, ("The channel is unknown.",)), "The channel is unknown"),
    ],
)
def test_a_mild_deviation_is_told_and_planned(fingerprint_of, side, planned, markers, message):
    (found,) = contract.checked(encoder(markers=markers), fingerprint_of(mpp=1.0, side=side), decisions(**planned))
    assert message in found.sentence
    assert not found.grave


def test_markers_that_the_clip_erases_are_named(fingerprint_of):
    data = fingerprint_of(mpp=1.0, side=2000)
    data = replace(data, markers={"CD3": {"image_q99_zero": 4}, "DAPI": {"image_q99_zero": 0}, "CD4": {}})
    (found,) = contract.checked(encoder(), data, decisions())
    assert "CD3 (in 4 images)" in found.sentence
    assert not found.grave
    assert "DAPI" not in found.sentence
