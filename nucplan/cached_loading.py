"""Patches together with the stored maps of a frozen encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from torch import Tensor

from nucplan.augmentation import UNLABELLED
from nucplan.encoded_maps import padded_image
from nucplan.feature_cache import FeatureCache
from nucplan.loading import CaseReader, PatchDataset, PatchIndex, seeded
from nucplan.symmetries import IDENTITY, SYMMETRIES, Symmetry


class CachedPatchDataset(PatchDataset):
    """Samples of `PatchDataset` with ``encoder_maps``, four (P/s, P/s, D) float16.

    A patch is one of the eight symmetries of a place of the image, and starts at a multiple of the encoder's stride:
    there is no other rotation and no zoom, whose maps nobody has stored. Colour augmentation changes the image, which
    the pixel stem sees, and not the maps.

    Parameters
    ----------
    cache
        Filled for all cases of the index.
    transforms
        Of colours alone; None for patches as they are, without symmetries.
    """

    def __init__(
        self,
        reader: CaseReader,
        index: PatchIndex,
        cache: FeatureCache,
        transforms: BasicTransform | None,
        seed: int,
        samples_per_epoch: int,
    ) -> None:
        super().__init__(reader, index, cache.layout.patch, 0, transforms, seed, samples_per_epoch)
        self.cache = cache

    def __getitem__(self, number: int) -> dict[str, Tensor | list[Tensor]]:
        with seeded(self.seed, *divmod(number, self.samples_per_epoch)) as rng:
            case, centre = self._draw(rng)
            symmetry = IDENTITY if self.transforms is None else SYMMETRIES[rng.integers(len(SYMMETRIES))]
            data, labels, *_ = self.reader.load_case(case)
            shape = data.shape[-2:]
            start = self._start(centre, shape, symmetry)
            image, truth = self._read_moved(data, labels, symmetry, start)
            sample = {"image": torch.from_numpy(image), "segmentation": torch.from_numpy(truth)}
            if self.transforms is not None:
                sample = self.transforms(**sample)
        maps = [torch.from_numpy(one) for one in self.cache.crop(case, shape, symmetry, start)]
        return {"image": sample["image"], "labels": sample["segmentation"], "encoder_maps": maps}

    def _start(self, centre: Sequence[int], shape: tuple[int, int], symmetry: Symmetry) -> tuple[int, int]:
        """First row and column, in the moved image, of the patch on the grid that is closest to this centre."""
        pixel = tuple(slice(int(c), int(c) + 1) for c in centre)
        moved, layout = symmetry.window(pixel, shape), self.cache.layout
        starts = []
        for place, side in zip(moved, layout.padded(symmetry.shape(shape)), strict=True):
            nearest = round((place.start - layout.patch / 2) / layout.stride) * layout.stride
            starts.append(int(np.clip(nearest, 0, side - layout.patch)))
        return starts[0], starts[1]

    def _read_moved(
        self, data: np.ndarray, labels: np.ndarray, symmetry: Symmetry, start: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Image (C, P, P) float32 and labels (2, P, P) int32 of a patch of the moved image."""
        moved = symmetry.shape(data.shape[-2:])
        inside = tuple(slice(s, min(s + self.patch_size, side)) for s, side in zip(start, moved, strict=True))
        rows, columns = symmetry.inverse.window(inside, moved)
        image = symmetry(np.asarray(data[:, 0, rows, columns], dtype=np.float32))
        truth = symmetry(np.asarray(labels[:, 0, rows, columns]).astype(np.int32))
        missing = [(0, self.patch_size - side) for side in truth.shape[1:]]
        return (
            np.ascontiguousarray(padded_image(image, self.cache.layout)),
            np.pad(truth, ((0, 0), *missing), constant_values=UNLABELLED),
        )
