from __future__ import annotations

import numpy as np
import pytest
import torch

from nucplan import augmentation
from nucplan.augmentation import UNLABELLED
from nucplan.errors import NucplanError
from nucplan.loading import PatchDataset, PatchIndex, batches, seeded

PATCH = 32


class Cases:
    """Preprocessed cases in memory: image, and labels [class, instance] with ids up to 30,000."""

    def __init__(self, shapes: dict[str, tuple[int, int]], channels: int = 3) -> None:
        rng = np.random.default_rng(0)
        self.data = {}
        for name, shape in shapes.items():
            image = rng.normal(size=(channels, 1, *shape)).astype(np.float32)
            instances = np.kron(rng.integers(0, 2, (shape[0] // 8, shape[1] // 8)), np.ones((8, 8)))
            ids = np.where(instances, np.arange(instances.size).reshape(instances.shape) // 8 % 30_000 + 1, 0)
            classes = np.where(ids > 0, ids % 3 + 1, 0)
            self.data[name] = image, np.stack([classes, ids]).astype(np.int16)[:, None]

    def load_case(self, identifier: str):
        return *self.data[identifier], None, {}


def dataset(reader: Cases, seed: int = 0, transforms: bool = True) -> PatchDataset:
    index = PatchIndex.build(reader, list(reader.data), PATCH, 0.85)
    if not transforms:
        return PatchDataset(reader, index, PATCH, 0, None, seed, samples_per_epoch=6)
    drawn = augmentation.training_transforms(PATCH)
    return PatchDataset(reader, index, PATCH, augmentation.margin(PATCH), drawn, seed, samples_per_epoch=6)


@pytest.fixture
def reader() -> Cases:
    return Cases({"a": (64, 80), "b": (40, 120), "c": (24, 64)})


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[key], b[key]) for key in ("image", "labels"))


def test_batches_are_the_same_with_0_1_and_2_workers(reader):
    numbers = range(3, 15)
    runs = [list(batches(dataset(reader), 4, numbers, workers, pin_memory=False)) for workers in (0, 1, 2)]
    for batch in zip(*runs, strict=True):
        assert equal(batch[0], batch[1])
        assert equal(batch[0], batch[2])


def test_a_run_that_starts_in_the_middle_sees_what_an_uninterrupted_one_sees(reader):
    whole = list(batches(dataset(reader), 2, range(12), 0, pin_memory=False))
    rest = list(batches(dataset(reader), 2, range(6, 12), 0, pin_memory=False))
    assert all(equal(a, b) for a, b in zip(whole[3:], rest, strict=True))


def test_seed_epoch_and_index_each_change_the_sample(reader):
    first = dataset(reader)[0]
    assert not equal(first, dataset(reader, seed=1)[0])
    assert not equal(first, dataset(reader)[1])
    assert not equal(first, dataset(reader)[6])


def test_a_sample_does_not_depend_on_or_change_the_global_generators(reader):
    samples = dataset(reader)
    torch.manual_seed(1)
    np.random.seed(1)
    before = samples[2]
    state = torch.get_rng_state()
    torch.manual_seed(2)
    np.random.seed(2)
    assert equal(before, samples[2])
    torch.manual_seed(1)
    np.random.seed(1)
    samples[3]
    assert torch.equal(torch.get_rng_state(), state)


def test_samples_have_the_patch_size_and_types_whatever_the_image_size(reader):
    for number in range(12):
        sample = dataset(reader)[number]
        assert sample["image"].shape == (3, PATCH, PATCH)
        assert sample["image"].dtype == torch.float32
        assert sample["labels"].shape == (2, PATCH, PATCH)
        assert sample["labels"].dtype == torch.int32


def test_instance_ids_and_their_classes_survive_augmentation(reader):
    """No id appears that the images do not have, and every pixel of an id keeps that id's class."""
    known = np.unique(np.concatenate([labels[1].ravel() for _, labels in reader.data.values()]))
    for number in range(24):
        classes, ids = dataset(reader)[number]["labels"].numpy()
        assert np.isin(ids[ids != UNLABELLED], known).all()
        inside = ids > 0
        assert (classes[inside] == ids[inside] % 3 + 1).all()
        assert ((ids == UNLABELLED) == (classes == UNLABELLED)).all()


def test_padding_is_unlabelled_and_the_rest_is_the_image():
    reader = Cases({"small": (16, 24)})
    sample = dataset(reader, transforms=False)[0]
    classes = sample["labels"][0]
    assert (classes != UNLABELLED).sum() == 16 * 24
    rows, columns = (torch.nonzero((classes != UNLABELLED).any(axis)).flatten() for axis in (1, 0))
    inner = sample["image"][:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    torch.testing.assert_close(inner.numpy(), reader.data["small"][0][:, 0])


def test_patches_reach_every_pixel_of_every_image(reader):
    index = PatchIndex.build(reader, list(reader.data), PATCH, 0.85)
    for case, (image, _) in reader.data.items():
        covered = np.zeros(image.shape[2:], bool)
        for row, column in index.centres[index.cases == case]:
            covered[max(0, row - 16) : row + 16, max(0, column - 16) : column + 16] = True
        assert covered.all()


def test_rare_classes_are_drawn_more_often_and_empty_patches_still_are():
    reader = Cases({f"case{i}": (PATCH, PATCH) for i in range(20)})
    for i, (_, labels) in enumerate(reader.data.values()):
        labels[0] = 2 if i == 0 else 1 if i < 15 else 0
    index = PatchIndex.build(reader, list(reader.data), PATCH, 0.85)
    rare, common, empty = index.weights[0], index.weights[1], index.weights[15]
    assert rare > common > empty > 0
    # The formula, by hand: 14 patches with class 1 and 1 with class 2.
    assert rare / empty == pytest.approx((0.15 + 0.85 * 15 / (0.85 * 1 + 0.15 * 15)) / 0.15)


def test_ignored_areas_are_no_class_and_never_drawn_alone():
    reader = Cases({f"case{i}": (PATCH, PATCH) for i in range(4)})
    for (_, labels), content in zip(reader.data.values(), ([1], [2], [0, 2], [0]), strict=True):
        labels[0] = content[0]
        labels[0, 0, :, PATCH // 2 :] = content[-1]
    index = PatchIndex.build(reader, list(reader.data), PATCH, 0.85, ignore=2)
    nuclei, ignored, half_ignored, empty = index.weights
    assert ignored == 0
    assert nuclei > half_ignored == empty > 0
    with pytest.raises(NucplanError, match="ignored areas altogether"):
        PatchIndex.build(reader, ["case1"], PATCH, 0.85, ignore=2)


def test_seeded_puts_the_generators_and_threads_back():
    torch.manual_seed(0)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    with seeded(1, 2, 3) as rng:
        first = torch.rand(3), np.random.rand(), rng.random()
    with seeded(1, 2, 3) as rng:
        assert torch.equal(first[0], torch.rand(3))
        assert (np.random.rand(), rng.random()) == first[1:]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_noise_is_relative_to_the_contrast_of_the_patch() -> None:
    noise = augmentation.RelativeNoise()
    image = torch.linspace(0, 1, 3 * 64 * 64).reshape(3, 64, 64)
    torch.manual_seed(0)
    small = noise(image=image)["image"] - image
    torch.manual_seed(0)
    large = noise(image=100 * image)["image"] - 100 * image
    assert 0 < small.var() < 0.05 * image.var() * 1.1
    assert torch.allclose(large, 100 * small, rtol=1e-3, atol=1e-3)


def test_channel_dropout_keeps_at_least_one_channel():
    dropout = augmentation.ChannelDropout(p=(1.0, 1.0))
    for _ in range(5):
        assert dropout(image=torch.ones(5, 2, 2))["image"].any(dim=2).any(dim=1).sum() == 1
