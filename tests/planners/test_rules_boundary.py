"""Boundary rules follow size and crowding, within the limits that the specification gives them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planners import rules

few = settings(max_examples=100, deadline=None)
diameters = st.floats(3, 120)
shares = st.floats(0, 1)
scales = st.sampled_from([1, 2])


def bands(per_pixel: float) -> list[float]:
    """Coverage that grows by ``per_pixel`` with every pixel of half width."""
    return [min(1.0, per_pixel * h) for h in range(1, 9)]


def beta_of(statistics, upsampling: int = 1) -> rules.Decision:
    return rules.boundary_beta(statistics, upsampling, rules.band_half_width(statistics, upsampling))


@few
@given(diameters, shares, st.floats(0, 0.3))
def test_beta_lies_between_nothing_and_two(fingerprint_of, d25, touching, coverage) -> None:
    statistics = fingerprint_of(d25=d25, touching_share=touching, band_share=bands(coverage))
    assert 0 <= beta_of(statistics).value <= 2


@few
@given(diameters, shares, shares, st.floats(0, 0.3))
def test_beta_rises_with_the_share_of_touching_nuclei(fingerprint_of, d25, one, other, coverage) -> None:
    low, high = (
        beta_of(fingerprint_of(d25=d25, touching_share=t, band_share=bands(coverage))).value
        for t in sorted((one, other))
    )
    assert low <= high


@few
@given(diameters, shares, st.floats(0, 0.3), st.floats(0, 0.3))
def test_beta_falls_with_the_coverage_of_the_band(fingerprint_of, d25, touching, one, other) -> None:
    high, low = (
        beta_of(fingerprint_of(d25=d25, touching_share=touching, band_share=bands(c))).value
        for c in sorted((one, other))
    )
    assert low <= high


@pytest.mark.parametrize(
    ("touching", "phi", "expected"),
    [(0.457, 0.223, 0.91), (0.9, 0.5, 0.86), (0.11, 0.38, 0.22), (0.5, 0.8, 0), (0, 0.1, 0), (None, 0.2, 0)],
)
def test_beta_has_the_values_of_its_formula(fingerprint_of, touching, phi, expected) -> None:
    # At d25 = 20 px the band is 3 px wide.
    statistics = fingerprint_of(d25=20, touching_share=touching, band_share=bands(phi / 3))
    assert beta_of(statistics).value == pytest.approx(expected, abs=0.02)


@few
@given(shares, st.floats(0.01, 0.2))
def test_the_band_never_carries_more_than_two_thirds_of_the_weight_unless_it_is_that_much_of_the_image(
    fingerprint_of, touching, coverage
) -> None:
    statistics = fingerprint_of(d25=20, touching_share=touching, band_share=bands(coverage))
    beta, phi = beta_of(statistics).value, statistics.band(3)
    assert beta == 0 or (1 + beta) * phi / (1 + beta * phi) <= 0.66


@few
@given(diameters, diameters, scales)
def test_kernels_are_odd_and_rise_with_the_small_nuclei(fingerprint_of, one, other, upsampling) -> None:
    halves = []
    for d25 in sorted((one, other)):
        statistics = fingerprint_of(d25=d25, d5=d25)
        kernel = rules.boundary_kernel(statistics, upsampling).value
        widened = rules.weight_kernel(statistics, upsampling, kernel).value
        assert kernel % 2 == 1
        assert widened % 2 == 1
        assert 3 <= kernel <= 7
        halves.append((kernel // 2, kernel // 2 + widened // 2))
    assert halves[0][0] <= halves[1][0]
    assert halves[0][1] <= halves[1][1]


@pytest.mark.parametrize(
    ("d25", "kernel", "widened"), [(9, 3, 1), (13, 3, 3), (20, 3, 5), (29, 5, 5), (42, 7, 7), (100, 7, 7)]
)
def test_kernels_have_the_planned_values(fingerprint_of, d25, kernel, widened) -> None:
    statistics = fingerprint_of(d25=d25, d5=0.8 * d25)
    assert rules.boundary_kernel(statistics, 1).value == kernel
    assert rules.weight_kernel(statistics, 1, kernel).value == widened


def test_the_smallest_nuclei_keep_an_interior(fingerprint_of) -> None:
    mixed = rules.boundary_kernel(fingerprint_of(d25=40, d5=6), 1)
    assert mixed.value == 3
    assert mixed.limit == "the smallest nuclei keep an interior"


@few
@given(diameters, scales)
def test_two_cells_of_every_head_fit_into_a_small_nucleus_and_the_finest_draws_the_boundary(
    fingerprint_of, d25, upsampling
) -> None:
    statistics = fingerprint_of(d25=d25, d5=d25)
    scales_ = {int(stride): weight for stride, weight in rules.boundary_scales(statistics, upsampling).value.items()}
    assert 1 <= len(scales_) <= 3
    assert set(scales_) <= {1, 2, 4, 8, 16}
    planned = d25 * upsampling
    assert all(planned / stride >= 2 for stride in scales_)
    assert [scales_[stride] for stride in sorted(scales_)] == [1, 0.5, 0.25][: len(scales_)]
    assert min(scales_) <= 2 * (rules.boundary_kernel(statistics, upsampling).value // 2)


@pytest.mark.parametrize(("d25", "strides"), [(13, {1, 2, 4}), (20, {2, 4, 8}), (40, {4, 8, 16}), (200, {4, 8, 16})])
def test_heads_move_to_coarser_strides_with_larger_nuclei(fingerprint_of, d25, strides) -> None:
    assert set(map(int, rules.boundary_scales(fingerprint_of(d25=d25), 1).value)) == strides


@few
@given(st.floats(0, 1))
def test_the_weight_of_boundary_pixels_is_between_one_and_ten_where_they_are_the_minority(
    fingerprint_of, coverage
) -> None:
    value = rules.boundary_pos_weight(fingerprint_of(band_share=bands(coverage)), 1, 3).value
    assert 0 <= value <= 10
    assert value >= 1 or coverage > 0.5


def test_the_gate_opens_after_a_tenth_of_the_training(fingerprint_of) -> None:
    gate = rules.gate().value
    assert gate == {"alpha": 1.0, "start": 0.1, "full": 0.3}
    assert 0.1 <= rules.boundary_loss_weight().value <= 0.3


@few
@given(diameters, scales)
def test_beta_is_for_the_band_of_the_kernels_before_rounding(fingerprint_of, d25, upsampling) -> None:
    statistics = fingerprint_of(d25=d25, d5=d25)
    kernel = rules.boundary_kernel(statistics, upsampling).value
    half = kernel // 2 + rules.weight_kernel(statistics, upsampling, kernel).value // 2
    assert abs(rules.band_half_width(statistics, upsampling) - half) <= 0.5 or half == kernel // 2


def test_beta_follows_a_band_that_a_user_set(fingerprint_of) -> None:
    statistics = fingerprint_of(touching_share=0.5, band_share=bands(0.1))
    narrow, wide = (rules.boundary_beta(statistics, 1, half).value for half in (1, 6))
    assert wide < narrow == 1


def test_shares_are_read_at_the_scale_of_the_image(fingerprint_of) -> None:
    statistics = fingerprint_of(d25=10, d5=10, band_share=bands(0.1))
    # One planned pixel is half a pixel of the image, of which the band covers 5 %.
    assert rules.boundary_pos_weight(statistics, 2, 3).value == pytest.approx((0.95 / 0.05) ** 0.5, abs=0.01)
    assert rules.weight_kernel(statistics, 2, 3).inputs["band_share"] == pytest.approx(0.1 * 3 / 2)
