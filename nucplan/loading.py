"""Deterministic patches: a sample is a pure function of (seed, epoch, index) and of nothing else.

So the number of workers changes nothing, and a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nucplan.augmentation import UNLABELLED
from nucplan.errors import NucplanError


class CaseReader(Protocol):
    """What nnU-Net's preprocessed datasets offer: arrays (C, 1, H, W) that are read when they are sliced."""

    def load_case(self, identifier: str) -> tuple: ...


@dataclass(frozen=True)
class PatchIndex:
    """Patch centres on a regular grid over all cases, each with a sampling weight.

    Attributes
    ----------
    cases
        Case of each patch, (P,) of str.
    centres
        (P, 2) int, row and column.
    weights
        (P,) float64, their sum is 1.
    """

    cases: np.ndarray
    centres: np.ndarray
    weights: np.ndarray

    @classmethod
    def build(
        cls, reader: CaseReader, cases: Sequence[str], patch_size: int, gamma: float, ignore: int | None = None
    ) -> PatchIndex:
        """Look at the class channel of every case, in steps of half a patch.

        Patches that lie in an ignored area (label ``ignore``) altogether are never drawn.

        Patches with rare classes get more weight: CellViT's cell weight (Hörst et al. 2024, eq. 2) with patches in the
        place of images. With N_c patches that hold class c and k their sum, a patch weighs
        ``(1 - gamma) + gamma * sum over its classes of k / (gamma * N_c + (1 - gamma) * k)``;
        the first term keeps patches without nuclei in the draw.

        Raises
        ------
        NucplanError
            If no patch has a label.
        """
        names, centres, present, counts = [], [], [], []
        for case in cases:
            classes = np.asarray(reader.load_case(case)[1][0, 0])
            for centre in _grid(classes.shape, patch_size):
                rows, columns = (slice(max(0, c - patch_size // 2), c + patch_size // 2) for c in centre)
                names.append(case)
                centres.append(centre)
                values = np.unique(classes[rows, columns])
                labelled = values[values != ignore] if ignore is not None else values
                counts.append(labelled.size > 0)
                present.append(labelled[labelled > 0])
        number = 1 + max((int(p.max(initial=0)) for p in present), default=0)
        holds = np.zeros((len(present), number), bool)
        for row, classes in zip(holds, present, strict=True):
            row[classes] = True
        weights = _cell_weights(holds[:, 1:], gamma) * np.array(counts)
        if not weights.any():
            raise NucplanError("The training images of this fold are ignored areas altogether; annotate some of them.")
        return cls(np.array(names), np.array(centres), weights / weights.sum())


def _grid(shape: tuple[int, int], patch_size: int) -> list[tuple[int, int]]:
    axes = []
    for side in shape:
        steps = max(1, int(np.ceil((side - patch_size) / (patch_size / 2))) + 1) if side > patch_size else 1
        first, last = min(patch_size, side) // 2, side - min(patch_size, side) // 2
        axes.append(np.linspace(first, last, steps).round().astype(int))
    return [(int(r), int(c)) for r in axes[0] for c in axes[1]]


def _cell_weights(holds: np.ndarray, gamma: float) -> np.ndarray:
    counts = holds.sum(0)
    total = counts.sum()
    per_class = np.divide(total, gamma * counts + (1 - gamma) * total, out=np.zeros(len(counts)), where=counts > 0)
    return (1 - gamma) + gamma * (holds * per_class).sum(1)


@contextmanager
def seeded(*key: int) -> Iterator[np.random.Generator]:
    """Seed the global generators of random, numpy and torch (CPU) by ``key`` for the block, and put them back after.

    torch runs on one thread inside: sums over several threads round differently, and workers have one.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state(), torch.get_num_threads()
    words = np.random.SeedSequence(key).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.default_generator.manual_seed(int(words[2]))
    torch.set_num_threads(1)
    try:
        yield np.random.default_rng(int(words[3]))
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        torch.set_num_threads(states[3])


class PatchDataset(Dataset):
    """Samples by their running number: image (C, P, P) float32 and labels (2, P, P) int32 [class, instance].

    Padding and places outside of the image have the labels ``UNLABELLED``.

    Parameters
    ----------
    reader
        Preprocessed cases.
    index
        Where patches are drawn.
    patch_size, margin
        Side of a patch, and what is read around it for the transforms to draw on.
    transforms
        From the patch with margin to the patch, or None with ``margin`` 0.
    seed
        Of the run.
    samples_per_epoch
        Batch size times iterations: cuts the running number into (epoch, index).
    """

    def __init__(
        self,
        reader: CaseReader,
        index: PatchIndex,
        patch_size: int,
        margin: int,
        transforms: BasicTransform | None,
        seed: int,
        samples_per_epoch: int,
    ) -> None:
        self.reader = reader
        self.index = index
        self.patch_size = patch_size
        self.margin = margin
        self.transforms = transforms
        self.seed = seed
        self.samples_per_epoch = samples_per_epoch
        self.cumulative = np.cumsum(index.weights)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        with seeded(self.seed, *divmod(number, self.samples_per_epoch)) as rng:
            image, labels = self._read(*self._draw(rng))
            sample = {"image": torch.from_numpy(image), "segmentation": torch.from_numpy(labels)}
            if self.transforms is not None:
                sample = self.transforms(**sample)
        return {"image": sample["image"].contiguous(), "labels": sample["segmentation"].contiguous()}

    def _draw(self, rng: np.random.Generator) -> tuple[str, np.ndarray]:
        """A case, and the centre (row, column) of a patch of it."""
        patch = min(int(np.searchsorted(self.cumulative, rng.random(), "right")), len(self.cumulative) - 1)
        jitter = rng.integers(-self.patch_size // 4, self.patch_size // 4 + 1, 2)
        return str(self.index.cases[patch]), self.index.centres[patch] + jitter

    def _read(self, case: str, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        data, labels, *_ = self.reader.load_case(case)
        side = self.patch_size + 2 * self.margin
        height, width = data.shape[-2:]
        # A patch lies inside the image where the image is large enough; only then is padding needed.
        half = self.patch_size // 2
        centre = [
            int(np.clip(c, min(half, s // 2), max(s - half, s // 2)))
            for c, s in zip(centre, (height, width), strict=True)
        ]
        window, padding = zip(
            *(_window(c - side // 2, side, s) for c, s in zip(centre, (height, width), strict=True)), strict=True
        )
        image = np.asarray(data[:, 0, window[0], window[1]], dtype=np.float32)
        truth = np.asarray(labels[:, 0, window[0], window[1]]).astype(np.int32)
        # Mirrored image is tissue that never was, so it carries no label.
        mode = "reflect" if min(image.shape[1:]) > max(max(p) for p in padding) else "edge"
        image = np.pad(image, ((0, 0), *padding), mode=mode)
        return image, np.pad(truth, ((0, 0), *padding), constant_values=UNLABELLED)


def _window(start: int, side: int, limit: int) -> tuple[slice, tuple[int, int]]:
    low, high = max(0, start), min(limit, start + side)
    return slice(low, high), (low - start, start + side - high)


def batches(
    dataset: PatchDataset, batch_size: int, numbers: range, workers: int, pin_memory: bool
) -> Iterator[dict[str, Tensor]]:
    """Batches of consecutive running numbers, in order: image (B, C, P, P) and labels (B, 2, P, P).

    ``workers`` processes prepare them ahead; 0 prepares each when it is asked for.
    """
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=numbers,
        num_workers=workers,
        pin_memory=pin_memory,
    )
    return iter(loader)
