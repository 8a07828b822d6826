"""Scale, patch, batch and overlap are monotone, stay within their limits and say which one held."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planners import rules
from planners.rules import Limits
from planners.rules.resources import SECONDS_PER_STEP, memory_target

diameters = st.floats(3, 120)
gpus = st.builds(Limits, st.just("cuda"), st.floats(4, 200))
cpus = st.builds(Limits, st.just("cpu"), st.floats(4, 200), st.integers(1, 16))
any_limits = st.one_of(cpus, gpus)
few = settings(max_examples=80, deadline=None)
ROOMY = Limits("cuda", 80)


@dataclass(frozen=True)
class Cost:
    """A step that costs the same for every pixel."""

    patch: int
    bytes_per_pixel: int = 4000
    nanoseconds_per_pixel: float = 8000
    fixed_bytes: int = 10**8

    @property
    def bytes_per_sample(self) -> int:
        return self.bytes_per_pixel * self.patch**2

    @property
    def flops_per_sample(self) -> int:
        return 10**5 * self.patch**2

    def bytes(self, batch: int) -> int:
        return self.fixed_bytes + batch * self.bytes_per_sample

    def seconds(self, batch: int, cores: int) -> float:
        return batch * self.patch**2 * self.nanoseconds_per_pixel * 1e-9 / cores


def patch_and_batch(statistics, limits: Limits, upsampling: int = 1) -> tuple[rules.Decision, rules.Decision]:
    patch = rules.patch_size(statistics, limits, upsampling, Cost(128))
    return patch, rules.batch_size(statistics, limits, upsampling, Cost(patch.value[0]))


@pytest.mark.parametrize(("d25", "expected"), [(6.5, 2), (8.99, 2), (9.0, 1), (40, 1)])
def test_only_nuclei_under_nine_pixels_are_enlarged(fingerprint_of, d25: float, expected: int) -> None:
    assert rules.scale(fingerprint_of(d25=d25)).value == expected


def test_nuclei_that_twofold_does_not_save_are_said_to_be_at_the_limit(fingerprint_of) -> None:
    assert rules.scale(fingerprint_of(d25=4)).limit
    assert rules.scale(fingerprint_of(d25=6)).limit is None


@few
@given(diameters, diameters, any_limits, st.sampled_from([1, 2]))
def test_patch_grows_with_the_nuclei_and_is_divisible_as_the_network_needs(
    fingerprint_of, one, other, limits, upsampling
) -> None:
    made = [fingerprint_of(d50=d, side=1000) for d in sorted((one, other))]
    small, large = (patch_and_batch(statistics, limits, upsampling)[0].value[0] for statistics in made)
    assert small <= large
    assert all(96 <= side <= 512 and side % 32 == 0 for side in (small, large))


@few
@given(diameters, any_limits)
def test_patch_holds_thirteen_diameters_unless_a_limit_is_named(fingerprint_of, d50, limits) -> None:
    decision, _ = patch_and_batch(fingerprint_of(d50=d50, side=700), limits)
    assert decision.limit is not None or decision.value[0] >= 13 * d50


@pytest.mark.parametrize(
    ("d50", "side", "limits", "expected", "limit"),
    [
        (18, 1000, ROOMY, 256, None),
        (60, 1000, ROOMY, 512, "largest patch"),
        (18, 180, ROOMY, 192, "size of the images"),
        (18, 1000, Limits("cpu", 64, 1), 160, "seconds per step"),
        (18, 1000, Limits("cpu", 0.5, 16), 128, "memory"),
    ],
)
def test_the_tightest_bound_of_the_patch_is_named(fingerprint_of, d50, side, limits, expected, limit) -> None:
    decision, _ = patch_and_batch(fingerprint_of(d50=d50, side=side), limits)
    assert (decision.value, decision.limit) == ([expected] * 2, limit)


def test_a_patch_is_as_large_as_enlarged_images(fingerprint_of) -> None:
    assert patch_and_batch(fingerprint_of(d50=9, side=128), ROOMY, 2)[0].value == [256, 256]


@few
@given(diameters, any_limits, st.integers(10**4, 10**9))
def test_a_step_never_takes_more_than_its_memory(fingerprint_of, d50, limits, pixels) -> None:
    patch, batch = patch_and_batch(fingerprint_of(d50=d50, pixels=pixels), limits)
    predicted = batch.inputs["predicted_bytes"]
    assert predicted == Cost(patch.value[0]).bytes(batch.value)
    assert predicted <= memory_target(limits)


@few
@given(diameters, any_limits, st.integers(10**4, 10**9))
def test_a_batch_over_two_is_varied_and_in_time(fingerprint_of, d50, limits, pixels) -> None:
    patch, batch = patch_and_batch(fingerprint_of(d50=d50, pixels=pixels), limits)
    assert 1 <= batch.value <= 16
    if batch.value > 2:
        assert batch.value * patch.value[0] ** 2 <= 0.05 * pixels
        assert limits.on_gpu or batch.inputs["predicted_seconds"] <= SECONDS_PER_STEP


@pytest.mark.parametrize(
    ("limits", "pixels", "limit"),
    [
        (Limits("cpu", 64, 2), 10**9, "seconds per step"),
        (Limits("cpu", 1, 16), 10**9, "memory"),
        (Limits("cuda", 80), 10**9, "largest batch"),
        (Limits("cuda", 80), 10**6, "5 % of the training pixels"),
    ],
)
def test_the_bound_that_held_the_batch_is_named(fingerprint_of, limits, pixels, limit) -> None:
    _, batch = patch_and_batch(fingerprint_of(d50=10, pixels=pixels, side=1000), limits)
    assert batch.limit == limit


@few
@given(diameters, st.sampled_from([1, 2]), st.sampled_from([96, 128, 512]))
def test_tile_overlap_covers_large_nuclei_within_a_quarter_and_a_half(fingerprint_of, d95, upsampling, side) -> None:
    decision = rules.tile_overlap(fingerprint_of(d95=d95), upsampling, [side, side])
    assert side // 4 <= decision.value <= side // 2
    assert decision.value >= d95 * upsampling or decision.limit == "half of the patch"
    assert decision.value <= d95 * upsampling + 1 or decision.limit == "a quarter of the patch"


@pytest.mark.parametrize(
    ("ceiling", "enlarged", "pays"), [(0.96, 0.971, True), (0.9, 0.921, True), (0.9, 0.915, False), (0.96, 0.95, False)]
)
def test_images_are_enlarged_for_labels_only_where_that_is_worth_four_times_the_pixels(ceiling, enlarged, pays) -> None:
    assert rules.enlarging_pays(ceiling, enlarged) == pays


@pytest.mark.parametrize(("fits", "batch"), [(1, 1), (3, 3), (40, 16)])
def test_memory_bounds_the_batch_even_under_two(fingerprint_of, fits, batch) -> None:
    gib = (10**8 + (fits + 0.5) * Cost(128).bytes_per_sample) / 0.8 / 2**30
    assert rules.batch_size(fingerprint_of(pixels=10**9), Limits("cuda", gib), 1, Cost(128)).value == batch


def test_memory_is_named_where_it_keeps_a_batch_under_the_smallest(fingerprint_of) -> None:
    gib = (10**8 + 1.5 * Cost(128).bytes_per_sample) / 0.8 / 2**30
    # Variety asks for none at all, of which the rule would make two.
    decision = rules.batch_size(fingerprint_of(pixels=10**4), Limits("cuda", gib), 1, Cost(128))
    assert (decision.value, decision.limit) == (1, "memory")
