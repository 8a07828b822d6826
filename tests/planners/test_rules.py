"""Rules are monotone, stay within their limits and say why."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.errors import NucplanError
from nucplan.instances import DecoderPlan
from planners import rules
from planners.rules import Limits

CPU = Limits("cpu", 8)
diameters = st.floats(3, 120)
gpus = st.builds(Limits, st.just("cuda"), st.floats(4, 200))
any_limits = st.one_of(st.just(CPU), gpus)
few = settings(max_examples=60, deadline=None)


@pytest.mark.parametrize(("d25", "expected"), [(6.5, 2), (8.99, 2), (9.0, 1), (40, 1)])
def test_only_nuclei_under_nine_pixels_are_enlarged(fingerprint_of, d25: float, expected: int) -> None:
    assert rules.scale(fingerprint_of(d25=d25)).value == expected


@few
@given(diameters, diameters, any_limits, st.sampled_from([1, 2]))
def test_patch_grows_with_the_nuclei_within_its_limits(fingerprint_of, one, other, limits, upsampling) -> None:
    small, large = (rules.patch_size(fingerprint_of(d50=d), limits, upsampling).value[0] for d in sorted((one, other)))
    assert small <= large
    assert all(96 <= side <= (512 if limits.on_gpu else 128) and side % 32 == 0 for side in (small, large))


@few
@given(diameters, gpus)
def test_four_patches_fit_into_the_memory_of_a_gpu(fingerprint_of, d50, limits) -> None:
    side = rules.patch_size(fingerprint_of(d50=d50), limits, 1).value[0]
    assert 4 * side**2 <= limits.training_pixels


def test_patch_holds_thirteen_diameters_where_the_device_allows_it(fingerprint_of) -> None:
    assert rules.patch_size(fingerprint_of(d50=18), Limits("cuda", 24), 1).value == [256, 256]
    assert rules.patch_size(fingerprint_of(d50=9), Limits("cuda", 24), 2).value == [256, 256]
    assert rules.patch_size(fingerprint_of(d50=18), CPU, 1).value == [128, 128]


@few
@given(st.integers(10**4, 10**10), st.floats(4, 200), st.sampled_from([128, 256, 512]))
def test_gpu_batch_grows_with_memory_and_stays_under_five_percent(fingerprint_of, pixels, memory, side) -> None:
    statistics, patch = fingerprint_of(pixels=pixels), [side, side]
    small = rules.batch_size(statistics, Limits("cuda", memory), 1, patch).value
    large = rules.batch_size(statistics, Limits("cuda", memory * 2), 1, patch).value
    assert 2 <= small <= large <= 16
    assert small == 2 or small * side**2 <= 0.05 * pixels


def test_cpu_batch_is_four(fingerprint_of) -> None:
    assert rules.batch_size(fingerprint_of(), CPU, 1, [128, 128]).value == 4


@few
@given(diameters, st.sampled_from([1, 2]), st.sampled_from([96, 128, 512]))
def test_tile_overlap_covers_large_nuclei_within_a_quarter_and_a_half(fingerprint_of, d95, upsampling, side) -> None:
    value = rules.tile_overlap(fingerprint_of(d95=d95), upsampling, [side, side]).value
    assert side // 4 <= value <= side // 2
    assert value >= min(d95 * upsampling, side // 2)


def test_the_decoder_gets_the_planned_diameter(fingerprint_of) -> None:
    value = rules.decoder(fingerprint_of(d50=7.5), 2).value
    assert DecoderPlan.from_dict(value) == DecoderPlan(diameter=15)


@few
@given(d25=diameters, limits=any_limits)
def test_every_reason_is_one_sentence(fingerprint_of, d25, limits) -> None:
    statistics = fingerprint_of(d25=d25, d50=d25 * 1.3, d95=d25 * 2, counts={"a": 90, "b": 10})
    patch = rules.patch_size(statistics, limits, 1)
    decisions = [
        rules.scale(statistics), patch, rules.batch_size(statistics, limits, 1, patch.value),
        rules.network_width(limits), rules.encoder(), rules.normalization(statistics),
        rules.tile_overlap(statistics, 1, patch.value),
        rules.decoder(statistics, 1), rules.iterations(), rules.oversampling(statistics),
    ]  # fmt: skip
    for decision in decisions:
        assert re.fullmatch(r"[A-Z0-9].*[^.]\.", decision.because)
        assert ". " not in decision.because
        assert set(decision.to_json()) == {"value", "because", "from"}


def test_a_missing_gpu_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert Limits.detect("auto").device == "cpu"
    with pytest.raises(NucplanError, match="--device cpu"):
        Limits.detect("cuda")
