"""Three nuclei that touch, for tests of formats; and what a pickle may not do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nucplan.datasets.source import Annotated

HEIGHT, WIDTH = 32, 40
CLASS_OF = {3: 1, 7: 2, 300: 1}


def label_map() -> np.ndarray:
    """Ids 3 (in the corner of the image) and 7 side by side, and 300, which meets 7 at a corner alone; uint16."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint16)
    labels[0:6, 0:6], labels[0:6, 6:12], labels[6:20, 12:38] = 3, 7, 300
    return labels


def class_map(labels: np.ndarray | None = None, class_of: Mapping[int, int] | None = None) -> np.ndarray:
    """The class of each pixel, uint8."""
    labels = label_map() if labels is None else labels
    classes = np.zeros(labels.shape, np.uint8)
    for instance, class_id in (class_of or CLASS_OF).items():
        classes[labels == instance] = class_id
    return classes


def picture(seed: int = 0) -> np.ndarray:
    """``(32, 40, 3)`` uint8."""
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def nuclei(instances: np.ndarray, class_of: Mapping[int, int]) -> dict[frozenset[int], int]:
    """The class of each nucleus, which is named by its pixels, as ids may differ."""
    return {frozenset(np.flatnonzero(instances == i).tolist()): class_id for i, class_id in class_of.items()}


def assert_same_nuclei(found: Annotated, instances: np.ndarray, class_of: Mapping[int, int]) -> None:
    """The same outlines with the same classes, and nothing else in the label map."""
    assert nuclei(found.instances, found.class_of) == nuclei(instances, class_of)
    np.testing.assert_array_equal(found.instances > 0, instances > 0)


class Intruder:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")
