"""Images and label maps that belong together by their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nucplan.datasets.annotations.label_files import read_ids
from nucplan.datasets.annotations.layers import ids_of
from nucplan.datasets.source import Annotated
from nucplan.images import read_image


class Pair(NamedTuple):
    """The two files of one image."""

    image: Path
    labels: Path


def pair(
    images: Mapping[str, Path], labels: Mapping[str, Path], missing: str = "label map of the same stem"
) -> tuple[dict[str, Pair], tuple[str, ...]]:
    """The pairs by stem, and a sentence for every file whose other half is missing; ``missing`` names that half."""
    lonely = [f"{path} has no {missing}; add it or remove the image." for s, path in images.items() if s not in labels]
    orphans = [
        f"{path} has no image of the same stem; add it or remove the label map."
        for stem, path in labels.items()
        if stem not in images
    ]
    return {s: Pair(path, labels[s]) for s, path in images.items() if s in labels}, (*lonely, *orphans)


def load_pair(files: Pair, read_labels: Callable[[Path], np.ndarray] = read_ids) -> Annotated:
    """One image and its label map, all instances of class 1.

    Raises
    ------
    NucplanError
        If one of the files is missing, damaged or of another kind.
    """
    instances = read_labels(files.labels)
    return Annotated(read_image(files.image), instances, dict.fromkeys(ids_of(instances), 1))


def case_name(text: str) -> str:
    """``text`` as a file name that every shell and system takes: blanks and signs become ``_``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)
