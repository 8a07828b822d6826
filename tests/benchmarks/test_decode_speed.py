"""Decoding costs little beside the plain pipeline it replaces; both are timed in the same run."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from skimage.feature import peak_local_max
from skimage.measure import label, regionprops_table
from skimage.segmentation import watershed

from nucplan.instances import DecoderPlan, Instances, NucleusProbabilities, decode

NUCLEI, SIDE, DIAMETER, CLASSES = 850, 1000, 18, 3


def crowded_maps() -> NucleusProbabilities:
    """About 850 ellipses on 1000 x 1000 pixels, a good part of them touching, blurred as a network blurs."""
    rng = np.random.default_rng(0)
    grid = int(np.ceil(np.sqrt(NUCLEI)))
    classes = np.zeros((SIDE, SIDE), np.uint8)
    for cell in rng.permutation(grid * grid)[:NUCLEI]:
        centre = (np.array(divmod(int(cell), grid)) + 0.5 + rng.uniform(-0.4, 0.4, 2)) * SIDE / grid
        axes = rng.uniform(0.4, 0.6, 2) * DIAMETER
        angle, colour = rng.uniform(0, 180), int(rng.integers(1, CLASSES + 1))
        cv2.ellipse(classes, (tuple(centre), tuple(2 * axes), angle), colour, cv2.FILLED)
    one_hot = [(classes == k).astype(np.float32) for k in range(CLASSES + 1)]
    return NucleusProbabilities(np.stack([cv2.GaussianBlur(channel, (0, 0), 1) for channel in one_hot]))


def plain_pipeline(maps: NucleusProbabilities) -> np.ndarray:
    """The textbook: exact distances, peaks, one watershed of everything, region properties with class means."""
    foreground = maps.semantic[0] < 0.5
    distance = distance_transform_edt(foreground)
    markers = np.zeros(foreground.shape, np.int32)
    peaks = peak_local_max(distance, min_distance=DIAMETER // 4, labels=label(foreground))
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = watershed(-distance, markers, mask=foreground)
    properties = ("label", "area", "centroid", "bbox", "mean_intensity")
    regionprops_table(labels, np.moveaxis(maps.semantic, 0, -1), properties=properties)
    return labels


@pytest.fixture(scope="module")
def maps() -> NucleusProbabilities:
    return crowded_maps()


def test_decode_is_several_times_as_fast_as_the_plain_pipeline(benchmark, maps, fastest):
    found = benchmark(decode, maps, DecoderPlan(DIAMETER))
    assert isinstance(found, Instances)
    assert 0.8 * NUCLEI < len(found.table) <= NUCLEI
    ours = fastest(lambda: decode(maps, DecoderPlan(DIAMETER)), 5)
    plain = fastest(lambda: plain_pipeline(maps), 2)
    benchmark.extra_info["times_as_fast"] = plain / ours
    assert plain > 2 * ours


def test_the_cost_grows_with_the_area_and_not_faster(benchmark, maps, fastest):
    doubled = NucleusProbabilities(np.tile(maps.semantic, (1, 2, 2)))
    benchmark.pedantic(decode, (doubled, DecoderPlan(DIAMETER)), rounds=2)
    ratio = fastest(lambda: decode(doubled, DecoderPlan(DIAMETER)), 3) / fastest(
        lambda: decode(maps, DecoderPlan(DIAMETER)), 5
    )
    benchmark.extra_info["ratio"] = ratio
    assert ratio < 8
