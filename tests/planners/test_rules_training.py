"""Network, length and data of the training follow device and dataset."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.errors import NucplanError
from nucplan.instances import DECODERS
from planners import rules
from planners.oracle import Ceiling
from planners.rules import Limits

CPU, GPU = Limits("cpu", 16), Limits("cuda", 24)
few = settings(max_examples=80, deadline=None)


@few
@given(st.integers(10**4, 10**10), st.integers(10**4, 10**10), st.sampled_from([CPU, GPU]), st.integers(1, 16))
def test_training_is_longer_for_larger_datasets_within_the_limits_of_the_device(
    fingerprint_of, one, other, limits, batch
) -> None:
    made = [rules.iterations(fingerprint_of(pixels=p), limits, 1, [256, 256], batch) for p in sorted((one, other))]
    low, high = (5000, 20000) if limits.on_gpu else (2500, 5000)
    assert made[0].value["standard"] <= made[1].value["standard"]
    for decision in made:
        standard = decision.value["standard"]
        assert decision.value == {"quick": 150, "standard": standard, "full": 10 * standard}
        assert low <= standard <= high
        assert standard % 50 == 0
        assert (decision.limit is None) == (standard == decision.inputs["wanted"])


def intensity(everywhere: float, in_nuclei: float, maximum: float) -> dict:
    return {"all": {"mean": everywhere, "max": maximum}, "nuclei": {"mean": in_nuclei}}


@pytest.mark.parametrize(
    ("channels", "everywhere", "in_nuclei", "maximum", "expected"),
    [
        (3, 200, 90, 255, "RGBTo01Normalization"),
        (3, 20, 90, 255, "ZScoreNormalization"),
        (3, 40000, 9000, 65535, "ZScoreNormalization"),
        (1, 200, 90, 255, "ZScoreNormalization"),
        (20, 200, 90, 255, "ZScoreNormalization"),
    ],
)
def test_only_transmitted_light_in_eight_bit_rgb_keeps_its_scale(
    fingerprint_of, channels, everywhere, in_nuclei, maximum, expected
) -> None:
    channel = intensity(everywhere, in_nuclei, maximum)
    statistics = replace(fingerprint_of(), intensity={str(c): channel for c in range(channels)})
    assert rules.normalization(statistics).value == [expected] * channels


@few
@given(st.floats(0, 2000), st.sampled_from([96, 256, 512]), st.sampled_from([1, 2]))
def test_there_are_more_queries_than_nuclei_in_a_crowded_patch(fingerprint_of, density, side, upsampling) -> None:
    decision = rules.queries(fingerprint_of(density_p99=density), upsampling, [side, side])
    crowded = density * (side / upsampling / 256) ** 2
    assert 64 <= decision.value <= 400
    assert decision.value >= 1.3 * crowded or decision.limit == "400 queries"


def test_enlarged_images_have_more_pixels_and_emptier_patches(fingerprint_of) -> None:
    statistics = fingerprint_of(pixels=5 * 256 * 256 * 30, density_p99=300)
    one, two = (rules.iterations(statistics, GPU, u, [256, 256], 2).inputs["wanted"] for u in (1, 2))
    assert two == 4 * one
    one, two = (rules.queries(statistics, u, [256, 256]).inputs["nuclei_per_crowded_patch"] for u in (1, 2))
    assert two == one / 4


def test_the_rarest_class_is_named(fingerprint_of) -> None:
    assert "mitosis" in rules.oversampling(fingerprint_of(counts={"other": 990, "mitosis": 10})).because
    assert "one class" in rules.oversampling(fingerprint_of(counts={"nucleus": 10})).because


def test_the_encoder_is_tapped_at_four_of_its_blocks() -> None:
    encoder = rules.encoder().value
    assert len(encoder["taps"]) == 4
    assert encoder["taps"] == sorted(encoder["taps"])
    assert encoder["taps"][-1] == encoder["depth"] - 1


@few
@given(d25=st.floats(3, 120), touching=st.one_of(st.none(), st.floats(0, 1)), limits=st.sampled_from([CPU, GPU]))
def test_every_reason_is_one_sentence(fingerprint_of, d25, touching, limits) -> None:
    statistics = fingerprint_of(
        d5=d25 / 2, d25=d25, d50=d25 * 1.3, d95=d25 * 2, counts={"a": 90, "b": 10}, touching_share=touching
    )
    ceilings = dict.fromkeys(DECODERS, Ceiling(0.98, 0.96)) | {"boundary": Ceiling(0.9, 0.9)}
    decisions = [
        rules.scale(statistics), rules.scale_for_labels(statistics, {1: 0.9, 2: 0.98}), rules.network_width(limits),
        rules.encoder(), rules.normalization(statistics), rules.tile_overlap(statistics, 1, [256, 256]),
        rules.boundary_kernel(statistics, 1), rules.weight_kernel(statistics, 1, 3),
        rules.boundary_beta(statistics, 1, 2.5),
        rules.boundary_scales(statistics, 1), rules.boundary_pos_weight(statistics, 1, 3),
        rules.boundary_loss_weight(), rules.gate(), rules.decoder(statistics, 1, ceilings),
        rules.foreground_decoder(statistics, 1, ceilings),
        rules.oracle_ceiling("interior", ceilings, dict.fromkeys(("core_border", "fixed_40x"), Ceiling(0.9, 0.8)), 3),
        rules.iterations(statistics, limits, 1, [256, 256], 4), rules.oversampling(statistics),
        rules.queries(statistics, 1, [256, 256]),
    ]  # fmt: skip
    for decision in decisions:
        assert re.fullmatch(r"[A-Z0-9'].*[^.]\.", decision.because)
        assert ". " not in decision.because
        assert set(decision.to_json()) - {"limit"} == {"value", "because", "from"}


def test_a_missing_gpu_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert Limits.detect("auto").device == "cpu"
    with pytest.raises(NucplanError, match="--device cpu"):
        Limits.detect("cuda")
