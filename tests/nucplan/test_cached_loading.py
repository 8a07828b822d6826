"""Image, labels and stored maps of a sample belong to the same place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nucplan import augmentation
from nucplan.augmentation import UNLABELLED
from nucplan.cached_loading import CachedPatchDataset
from nucplan.encoded_maps import MapLayout
from nucplan.feature_cache import FeatureCache
from nucplan.loading import PatchIndex, batches

PATCH, STRIDE = 32, 8
SHAPES = {"a": (64, 80), "b": (43, 120), "c": (20, 61)}


class Cases:
    """The value of a pixel is its own number; labels are the same numbers."""

    def __init__(self) -> None:
        self.data = {}
        for name, (height, width) in SHAPES.items():
            numbers = np.arange(height * width).reshape(height, width)
            image = np.stack([numbers] * 3).astype(np.float32)
            self.data[name] = image[:, None], np.stack([numbers % 3, numbers])[:, None]

    def load_case(self, identifier: str):
        return *self.data[identifier], None, {}


class TokenCorners:
    """An encoder whose maps at a stride are the pixels at the top left of each token."""

    training = False

    def eval(self) -> None:
        pass

    def train(self, mode: bool) -> None:
        pass

    def encoder_maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        # Half precision holds whole numbers up to 2,048: the number of a pixel in two parts.
        parts = torch.cat([images[:, :1] // 128, images[:, :1] % 128], dim=1)
        return [parts[:, :, ::s, ::s] for s in (4, 8, 8, 8)]


@pytest.fixture
def cache(tmp_path) -> FeatureCache:
    made = FeatureCache(tmp_path, MapLayout(2, (4, 8, 8, 8), PATCH))
    made.fill(TokenCorners(), Cases(), list(SHAPES), torch.device("cpu"))
    return made


class Unchanged:
    """Stands for transforms that happen to change no colour."""

    def __call__(self, **sample):
        return sample


def dataset(cache: FeatureCache, transforms=None, seed: int = 0) -> CachedPatchDataset:
    reader = Cases()
    index = PatchIndex.build(reader, list(SHAPES), PATCH, 0.85)
    return CachedPatchDataset(reader, index, cache, transforms, seed, samples_per_epoch=8)


@pytest.mark.parametrize("transforms", [None, Unchanged()])
def test_maps_and_labels_are_those_of_the_image(cache, transforms) -> None:
    samples = dataset(cache, transforms)
    for number in range(60):
        sample = samples[number]
        image, labels = sample["image"], sample["labels"]
        assert image.shape == (3, PATCH, PATCH)
        assert labels.shape == (2, PATCH, PATCH)
        for maps, stride in zip(sample["encoder_maps"], (4, 8, 8, 8), strict=True):
            assert maps.dtype is torch.float16
            assert torch.equal(maps[..., 0].float() * 128 + maps[..., 1].float(), image[0, ::stride, ::stride])
        inside = labels[1] != UNLABELLED
        assert inside.any()
        assert torch.equal(image[0][inside], labels[1][inside].float())
        assert torch.equal(labels[0][inside], labels[1][inside] % 3)
        # Outside of the image, at the bottom and the right, there is no label.
        assert inside[0, 0]
        assert torch.equal(inside, inside[:, :1] & inside[:1])


def test_all_eight_symmetries_are_drawn_in_training_and_none_in_validation(cache) -> None:
    def seen(transforms) -> int:
        samples = dataset(cache, transforms)
        # The change of the number along a row and along a column tells the symmetry.
        images = (samples[number]["image"][0] for number in range(120))
        return len(
            {
                (float(i[0, 1] - i[0, 0]) > 0, abs(float(i[0, 1] - i[0, 0])) > 1, float(i[1, 0] - i[0, 0]) > 0)
                for i in images
            }
        )

    assert seen(Unchanged()) == 8
    assert seen(None) == 1


def test_batches_are_the_same_with_0_and_2_workers_and_from_the_middle(cache) -> None:
    def made(numbers: range, workers: int) -> list:
        return list(batches(dataset(cache, augmentation.colour_transforms()), 4, numbers, workers, pin_memory=False))

    whole, parallel, rest = made(range(16), 0), made(range(16), 2), made(range(8, 16), 0)
    assert whole[0]["encoder_maps"][0].shape == (4, PATCH // 4, PATCH // 4, 2)
    for one, two in [*zip(whole, parallel, strict=True), *zip(whole[2:], rest, strict=True)]:
        assert torch.equal(one["image"], two["image"])
        assert torch.equal(one["labels"], two["labels"])
        assert all(map(torch.equal, one["encoder_maps"], two["encoder_maps"]))


def test_colours_change_the_image_and_not_the_maps(cache) -> None:
    plain, coloured = dataset(cache, Unchanged()), dataset(cache, augmentation.colour_transforms())
    pairs = [(plain[number], coloured[number]) for number in range(20)]
    assert all(torch.equal(a["labels"], b["labels"]) for a, b in pairs)
    assert all(map(torch.equal, a["encoder_maps"], b["encoder_maps"]) for a, b in pairs)
    assert any(not torch.equal(a["image"], b["image"]) for a, b in pairs)
