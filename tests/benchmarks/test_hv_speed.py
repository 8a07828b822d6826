"""Decoding HV maps costs a fraction of the published loop over whole-image masks; both are timed in the same run."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import ndimage
from skimage.segmentation import watershed

from nucplan.hv import HVMaps, HVPlan, decode_hv, hv_targets

NUCLEI, SIDE, CLASSES = 650, 1024, 5


def tile() -> HVMaps:
    """About 650 ellipses of 18 pixels on 1024 x 1024, a part of them touching, blurred as a network blurs."""
    rng = np.random.default_rng(0)
    grid = int(np.ceil(np.sqrt(NUCLEI)))
    labels = np.zeros((SIDE, SIDE), np.int32)
    for number, cell in enumerate(rng.permutation(grid * grid)[:NUCLEI], start=1):
        centre = (np.array(divmod(int(cell), grid)) + 0.5 + rng.uniform(-0.4, 0.4, 2)) * SIDE / grid
        axes = rng.uniform(0.4, 0.6, 2) * 18
        cv2.ellipse(labels, (tuple(centre), tuple(2 * axes), rng.uniform(0, 180)), number, cv2.FILLED)
    classes = np.where(labels > 0, labels % CLASSES + 1, 0)
    maps = [labels > 0, *hv_targets(labels), *(classes == k for k in range(CLASSES + 1))]
    maps = np.stack([cv2.GaussianBlur(one.astype(np.float32), (0, 0), 1) for one in maps])
    return HVMaps(maps[0], maps[1:3], maps[3:])


def published_loop(maps: HVMaps) -> list[dict]:
    """The steps of HoVer-Net (Graham et al. 2019), with the extremes of the tile and a mask of it per nucleus."""
    labels = parted(maps)
    nuclei = []
    types = maps.types.argmax(axis=0)
    for number in np.unique(labels)[1:]:
        mask = labels == number
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        votes = np.bincount(types[box][mask[box]], minlength=CLASSES + 1)
        moments = cv2.moments(mask[box].astype(np.uint8))
        centre = moments["m10"] / moments["m00"] + columns[0], moments["m01"] / moments["m00"] + rows[0]
        nuclei.append({"box": box, "centre": centre, "type": votes[1:].argmax() + 1})
    return nuclei


def parted(maps: HVMaps) -> np.ndarray:
    """Label map of the published algorithm, Sobel kernel 21 and least object 10."""

    def without_small(labels: np.ndarray) -> np.ndarray:
        return np.where(np.bincount(labels.ravel())[labels] < 10, 0, labels)

    def unit(values: np.ndarray) -> np.ndarray:
        return cv2.normalize(values, None, 0, 1, cv2.NORM_MINMAX, cv2.CV_32F)

    foreground = (without_small(ndimage.label(maps.foreground > 0.5)[0]) > 0).astype(np.float32)
    horizontal, vertical = (unit(side) for side in maps.hv)
    falls = 1 - unit(cv2.Sobel(horizontal, cv2.CV_64F, 1, 0, ksize=21))
    falls = np.maximum(falls, 1 - unit(cv2.Sobel(vertical, cv2.CV_64F, 0, 1, ksize=21)))
    falls = np.maximum(falls - (1 - foreground), 0)
    heights = -cv2.GaussianBlur((1 - falls) * foreground, (3, 3), 0)
    inside = ndimage.binary_fill_holes(np.maximum(foreground - (falls >= 0.4), 0)).astype(np.uint8)
    inside = cv2.morphologyEx(inside, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    return watershed(heights, without_small(ndimage.label(inside)[0]), mask=foreground > 0)


@pytest.fixture(scope="module")
def maps() -> HVMaps:
    return tile()


def test_a_tile_is_decoded_several_times_as_fast_as_by_the_published_loop(benchmark, maps, fastest):
    plan = HVPlan.for_mpp(0.25)
    found = benchmark(decode_hv, maps, plan)
    assert 0.9 * NUCLEI < len(found.table) <= NUCLEI
    assert len(published_loop(maps)) == pytest.approx(len(found.table), rel=0.1)
    benchmark.extra_info["times_as_fast"] = fastest(lambda: published_loop(maps), 2) / fastest(
        lambda: decode_hv(maps, plan), 5
    )
    assert benchmark.extra_info["times_as_fast"] > 2


def test_the_cost_grows_with_the_area_and_not_faster(benchmark, maps, fastest):
    plan, doubled = (
        HVPlan.for_mpp(0.25),
        HVMaps(*(np.concatenate([np.concatenate([one] * 2, -1)] * 2, -2) for one in maps)),
    )
    benchmark.pedantic(decode_hv, (doubled, plan), rounds=2)
    ratio = fastest(lambda: decode_hv(doubled, plan), 3) / fastest(lambda: decode_hv(maps, plan), 5)
    benchmark.extra_info["ratio"] = ratio
    assert ratio < 8
