"""The boundary map is the loop over the nuclei, whatever touches, nests, is cut or is not known; the band widens it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import grey_dilation, maximum_filter, minimum_filter

from nucplan.targets import boundary_map, weight_band

quick = settings(max_examples=60, deadline=None)
kernels = st.sampled_from([1, 3, 5, 7])
# Blocks of a few pixels: touching, nested and one-pixel nuclei all occur, border-cut ones nearly always.
label_maps = st.builds(
    lambda coarse, fine, chosen: np.where(chosen, fine, np.kron(coarse, np.ones((4, 3), np.int32))),
    arrays(np.int32, (4, 5), elements=st.integers(0, 4)),
    arrays(np.int32, (16, 15), elements=st.integers(0, 5)),
    arrays(bool, (16, 15), elements=st.sampled_from([False, False, False, False, True])),
)
known_places = st.builds(lambda coarse: np.kron(coarse, np.ones((8, 5), bool)), arrays(bool, (2, 3)))


def loop_over_nuclei(labels: np.ndarray, known: np.ndarray, kernel: int) -> np.ndarray:
    """Union of dilation minus erosion, nucleus by nucleus; what is unknown neither spreads nor eats away."""
    union = np.zeros(labels.shape, bool)
    for nucleus in np.unique(labels[known & (labels > 0)]):
        mask = labels == nucleus
        dilated = maximum_filter(mask & known, kernel, mode="constant", cval=False)
        eroded = minimum_filter(mask | ~known, kernel, mode="constant", cval=True)
        union |= dilated & ~eroded
    return union & known


def boundary_of(labels: np.ndarray, kernel: int, known: np.ndarray | None = None) -> np.ndarray:
    counts = None if known is None else torch.from_numpy(known)[None]
    return boundary_map(torch.from_numpy(labels)[None], kernel, counts)[0].numpy()


@given(label_maps, kernels)
@quick
def test_the_boundary_is_the_union_over_the_nuclei_of_dilation_minus_erosion(labels, kernel):
    assert np.array_equal(boundary_of(labels, kernel), loop_over_nuclei(labels, np.ones_like(labels, bool), kernel))


@given(label_maps, known_places, kernels)
@quick
def test_places_that_do_not_count_have_no_boundary_and_make_none(labels, known, kernel):
    found = boundary_of(labels, kernel, known)
    assert np.array_equal(found, loop_over_nuclei(labels, known, kernel))
    # Whatever id stands there, and whether the mask or a negative label says it.
    assert np.array_equal(found, boundary_of(np.where(known, labels, 77), kernel, known))
    assert np.array_equal(found, boundary_of(np.where(known, labels, -1), kernel))


@given(label_maps, kernels)
@quick
def test_a_nucleus_that_the_patch_cuts_is_not_outlined_along_the_cut(labels, kernel):
    inner, half = np.s_[4:-4, 4:-4], kernel // 2
    window, whole = boundary_of(labels[inner].copy(), kernel), boundary_of(labels, kernel)[inner]
    core = np.s_[half : 8 - half, half : 7 - half]
    assert np.array_equal(window[core], whole[core])
    assert not (window & ~whole).any()


@given(st.lists(label_maps, min_size=1, max_size=3), kernels)
@quick
def test_a_batch_is_its_images(maps, kernel):
    batch = boundary_map(torch.from_numpy(np.stack(maps)), kernel)
    assert np.array_equal(batch.numpy(), [boundary_of(labels, kernel) for labels in maps])


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
def test_neighbouring_high_ids_are_told_apart(dtype):
    labels = torch.tensor([[[32_766, 32_766, 32_766, 32_767, 32_767, 32_767]]], dtype=dtype)
    assert boundary_map(labels, 3).tolist() == [[[False, False, True, True, False, False]]]


def test_a_nucleus_of_one_pixel_is_all_boundary_and_an_empty_patch_has_none():
    labels = np.zeros((5, 5), np.int32)
    assert not boundary_of(labels, 3).any()
    labels[2, 2] = 1
    expected = np.zeros((5, 5), bool)
    expected[1:4, 1:4] = True
    assert np.array_equal(boundary_of(labels, 3), expected)


@given(label_maps, kernels, kernels, st.sampled_from([0.0, 2.0, 3.5]))
@quick
def test_weights_are_one_plus_beta_in_the_widened_boundary_and_one_elsewhere(labels, kernel, width, beta):
    boundary = boundary_of(labels, kernel)
    weights = weight_band(torch.from_numpy(boundary)[None], beta, width)
    assert weights.dtype == torch.float32
    widened = grey_dilation(boundary.astype(np.uint8), size=(width, width), mode="constant")
    assert np.array_equal(weights[0].numpy(), 1 + np.float32(beta) * widened)


@pytest.mark.parametrize("kernel", [0, 2, -1])
def test_a_kernel_that_is_not_odd_is_refused(kernel):
    with pytest.raises(ValueError, match="odd"):
        boundary_map(torch.zeros((1, 4, 4), dtype=torch.int32), kernel)
    with pytest.raises(ValueError, match="odd"):
        weight_band(torch.zeros((1, 4, 4), dtype=torch.bool), 1, kernel)
