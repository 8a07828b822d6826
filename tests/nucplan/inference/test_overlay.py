"""The overlay shows the image, outlines in class colours inside of the nuclei, and a legend."""

from __future__ import annotations

import numpy as np
import pytest

from nucplan.inference.overlay import as_rgb, draw_overlay
from nucplan.instances import instances_from_labels
from nucplan.palette import COLOURS, class_colour


def two_nuclei(side: int = 40):
    labels = np.zeros((side, side), np.int32)
    labels[5:15, 5:15] = 1
    labels[5:15, 15:25] = 2
    return instances_from_labels(labels, {1: 1, 2: 2}, class_count=2)


@pytest.mark.parametrize(
    "image",
    [
        np.full((40, 40), 7, np.uint8),
        np.full((40, 40, 3), 200, np.uint8),
        np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40,
        np.random.default_rng(0).random((40, 40, 5), dtype=np.float32),
        np.random.default_rng(0).integers(0, 4096, (40, 40, 2)).astype(np.uint16),
    ],
    ids=["grey", "rgb", "16 bit", "five channels", "two channels"],
)
def test_every_kind_of_image_gives_an_rgb_picture_with_both_class_colours(image):
    picture = draw_overlay(image, two_nuclei(), ["tumour", "stroma"])
    assert picture.dtype == np.uint8
    assert picture.shape[1:] == (120, 3)
    assert picture.shape[0] > 120
    for k in (1, 2):
        assert (picture[:120] == class_colour(k)).all(axis=2).any()


def test_outlines_stay_inside_of_their_nucleus_and_leave_the_rest_as_it_was():
    image = np.full((1000, 1000, 3), 180, np.uint8)
    instances = two_nuclei(1000)
    picture = draw_overlay(image, instances, ["a", "b"])[:1000]
    for k in (1, 2):
        painted = (picture == class_colour(k)).all(axis=2)
        expected = instances.labels == k
        expected[6:14, 6 + 10 * (k - 1) : 14 + 10 * (k - 1)] = False
        assert np.array_equal(painted, expected)
    assert (picture[instances.labels == 0] == 180).all()


def test_rgb_of_eight_bits_is_shown_as_it_is_and_dim_images_are_stretched():
    rgb = np.random.default_rng(1).integers(0, 50, (30, 30, 3)).astype(np.uint8)
    assert np.array_equal(as_rgb(rgb), rgb)
    dim = np.linspace(100, 140, 900).reshape(30, 30).astype(np.uint16)
    stretched = as_rgb(dim)
    assert stretched.shape == (30, 30, 3)
    assert stretched.min() == 0
    assert stretched.max() == 255


def test_the_legend_wraps_instead_of_leaving_the_picture():
    image = np.zeros((40, 40, 3), np.uint8)
    one_line = draw_overlay(image, instances_from_labels(np.zeros((40, 40), int)), ["a"])
    many = draw_overlay(image, instances_from_labels(np.zeros((40, 40), int)), [f"class {k}" for k in range(9)])
    assert many.shape[0] > one_line.shape[0]


def test_each_class_has_a_colour_of_its_own_also_beyond_the_palette():
    assert len({class_colour(k) for k in range(1, 2 * len(COLOURS) + 1)}) == 2 * len(COLOURS)


def test_an_image_of_another_size_is_refused():
    with pytest.raises(ValueError, match="differ in size"):
        draw_overlay(np.zeros((10, 10), np.uint8), two_nuclei(), ["a", "b"])
