"""Channels that are absent stay absent, and channel dropout shows the network subsets of the others."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan import augmentation
from nucplan.augmentation import ChannelDropout, is_present
from nucplan.loading import seeded

PATCH = 32
# Stronger than planned, so that all channels would be lost often.
VARYING = {"panel": "varying", "dropout": [0.5, 0.9]}


def patch(channels: int, absent: list[int]) -> dict[str, torch.Tensor]:
    side = PATCH + 2 * augmentation.margin(PATCH)
    image = torch.randn(channels, side, side) + 0.5
    image[absent] = 0
    return {"image": image, "segmentation": torch.randint(0, 5, (2, side, side), dtype=torch.int32)}


@settings(max_examples=60, deadline=None)
@given(data=st.data(), channels=st.integers(1, 8), seed=st.integers(0, 10_000))
def test_what_is_absent_stays_exactly_0(data, channels: int, seed: int) -> None:
    absent = data.draw(st.lists(st.integers(0, channels - 1), unique=True))
    with seeded(seed):
        found = augmentation.training_transforms(PATCH, VARYING)(**patch(channels, absent))
    assert found["image"].shape == (channels, PATCH, PATCH)
    assert found["segmentation"].shape == (2, PATCH, PATCH)
    assert not found["image"][absent].any()
    # Dropout never takes the last channel that is there.
    assert bool(is_present(found["image"]).any()) == (len(absent) < channels)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_an_absent_channel_changes_nothing_for_the_others(seed: int) -> None:
    """Strength of noise and the like are those of the channels that are there."""
    fixed = augmentation.training_transforms(PATCH, {"panel": "varying", "dropout": [0.0, 0.0]})
    with seeded(seed):
        sample = patch(3, [])
    with_absent = sample | {"image": torch.cat([sample["image"], torch.zeros_like(sample["image"][:2])])}
    with seeded(seed):
        expected = fixed(image=sample["image"].clone(), segmentation=sample["segmentation"].clone())
    with seeded(seed):
        found = fixed(**with_absent)
    assert torch.equal(found["image"][:3], expected["image"])
    assert torch.equal(found["segmentation"], expected["segmentation"])


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_rgb_are_augmented_as_ever(channels: int) -> None:
    """Also where a channel of a picture is 0 everywhere, as the empty ones of fluorescence stored as RGB are."""
    sample = patch(channels, [channels - 1] if channels > 1 else [])
    transforms = augmentation.training_transforms(PATCH).transforms
    assert [type(one).__name__ for one in transforms][-1] == "RandomTransform"
    filled = 0
    for seed in range(30):
        with seeded(seed):
            found = augmentation.training_transforms(PATCH)(**{name: value.clone() for name, value in sample.items()})
        filled += bool(is_present(found["image"]).all())
    assert filled > 0


def test_dropout_is_drawn_from_its_range() -> None:
    image = torch.ones(400, 2, 2)
    with seeded(0):
        shares = [1 - ChannelDropout((0.0, 0.25))(image=image)["image"][:, 0, 0].mean().item() for _ in range(200)]
    assert 0 <= min(shares) < 0.03
    assert 0.2 < max(shares) < 0.35
    assert 0.1 < sum(shares) / len(shares) < 0.15
