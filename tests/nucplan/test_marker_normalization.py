"""Each marker by its own rule; what is absent stays exactly 0."""

from __future__ import annotations

import numpy as np

from nucplan.marker_normalization import IMAGE_Q99, normalize_markers

RULES = [
    {"clip": 9.0, "unit": 1.0, "log": True, "mean": 0.4, "std": 0.5},
    {"clip": 30.0, "unit": 2.0, "log": False, "mean": 3.0, "std": 4.0},
    {"clip": IMAGE_Q99, "unit": 1.0, "log": True, "mean": 0.2, "std": 0.7},
]


def test_rules_are_what_they_say() -> None:
    image = np.random.default_rng(0).poisson(4, (3, 1, 20, 30)).astype(np.float32)
    found = normalize_markers(image, RULES)
    clipped = np.minimum(image[2], np.quantile(image[2], 0.99))
    expected = [
        (np.log1p(np.minimum(image[0], 9)) - 0.4) / 0.5,
        (np.minimum(image[1], 30) / 2 - 3) / 4,
        (np.log1p(clipped) - 0.2) / 0.7,
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32


def test_absent_markers_stay_exactly_0_and_empty_areas_of_others_do_not() -> None:
    image = np.zeros((3, 1, 8, 8), np.float32)
    image[0, 0, 0, 0] = 5
    found = normalize_markers(image, RULES)
    assert (found[0] != 0).all()
    assert not found[1:].any()
    assert not np.signbit(found[1:]).any()
