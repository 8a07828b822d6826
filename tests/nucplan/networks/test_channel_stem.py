"""The stem for panels that differ: any number of channels in any order, absent ones ignored."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.networks.channel_stem import ChannelStem
from nucplan.networks.nucleus_net import NucleusNet


def images(channels: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, channels, 16, 24, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def stem() -> ChannelStem:
    torch.manual_seed(0)
    return ChannelStem(features=(3, 4, 5), out_channels=3).eval()


@pytest.fixture(scope="module")
def stem_with_identities() -> ChannelStem:
    torch.manual_seed(0)
    made = ChannelStem(features=(3, 4, 5), identities=6)
    torch.nn.init.normal_(made.identity)
    return made.eval()


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(6)), absent=st.integers(0, 4), seed=st.integers(0, 99))
@torch.inference_mode()
def test_neither_order_nor_absent_channels_change_anything(stem, order, absent, seed) -> None:
    shown = images(6, seed)
    expected = stem(shown)
    assert expected.shape == (2, 3, 16, 24)
    mixed = torch.cat([shown, torch.zeros(2, absent, 16, 24)], 1)[:, torch.randperm(6 + absent)]
    torch.testing.assert_close(stem(shown[:, order]), expected)
    torch.testing.assert_close(stem(mixed), expected)


@torch.inference_mode()
def test_each_image_of_a_batch_has_its_own_panel(stem) -> None:
    shown = images(5)
    shown[0, 3:] = 0
    torch.testing.assert_close(stem(shown)[:1], stem(shown[:1, :3]))
    torch.testing.assert_close(stem(shown)[1:], stem(shown[1:]))


@torch.inference_mode()
def test_every_channel_that_is_there_counts(stem) -> None:
    shown = images(4)
    for channel in range(4):
        without = shown.clone()
        without[:, channel] = 0
        assert (stem(without) != stem(shown)).any()


@torch.inference_mode()
def test_with_identities_a_marker_is_what_it_is_by_its_place(stem_with_identities) -> None:
    stem, shown = stem_with_identities, images(6)
    shown[:, 4] = 0
    swapped = shown[:, [1, 0, 2, 3, 4, 5]]
    assert not torch.allclose(stem(swapped), stem(shown))
    expected, identity = stem(shown), stem.identity.data
    stem.identity.data = identity[:, [1, 0, 2, 3, 4, 5]]
    torch.testing.assert_close(stem(swapped), expected)
    stem.identity.data = identity
    changed = identity.clone()
    changed[:, 4] += 1
    stem.identity.data = changed
    # Nothing is known of a marker that is absent, whatever was learned of it.
    torch.testing.assert_close(stem(shown), expected)
    stem.identity.data = identity


def test_identities_start_without_an_effect_and_learn() -> None:
    torch.manual_seed(0)
    stem, shown = ChannelStem(identities=4), images(4)
    plain = ChannelStem()
    plain.load_state_dict({name: value for name, value in stem.state_dict().items() if name != "identity"})
    torch.testing.assert_close(stem(shown), plain(shown))
    stem(shown).square().sum().backward()
    assert (stem.identity.grad != 0).flatten(2).any(2).any()


def test_an_image_without_any_marker_is_finite_and_every_weight_learns() -> None:
    torch.manual_seed(0)
    network = NucleusNet(5, 2, "vit_tiny_patch16_224", [4] * 5, encoder_depth=1, channel_stem={})
    assert network.stem.stages["1"][0][0].in_channels == 3
    assert network.maps(torch.zeros(1, 5, 32, 32)).semantic.isfinite().all()
    shown = torch.randn(2, 5, 32, 32)
    torch.testing.assert_close(network.maps(shown).semantic, network.maps(shown.flip(1)).semantic)
    network.maps(shown).semantic.square().sum().backward()
    assert all((p.grad != 0).any() for p in network.channel_stem.parameters())
