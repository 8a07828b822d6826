"""The complete model computes what the published code computes, for images of any size."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nucplan.errors import NucplanError
from nucplan.networks import weights_file
from nucplan.networks.cellvit.checkpoint import read_cellvit
from nucplan.networks.cellvit.model import sides
from nucplan.networks.encoders.positions import dino_positions


@pytest.fixture(scope="module")
def oracle():
    spec = spec_from_file_location("cellvit_oracle", Path(__file__).with_name("oracle.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def models(cellvit_files):
    """The tiny model of a kind with its tensors, each made once."""
    made = {}

    def model(kind, **options):
        if kind not in made:
            tensors = cellvit_files.tensors_of(cellvit_files.TINY[kind], **options)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(weights_file, "read_content", lambda _: {"model_state_dict": tensors})
                made[kind] = read_cellvit(Path("a.pth"))[0], tensors
        return made[kind]

    return model


def images(*size, seed=0):
    return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(seed))


# The own size of the position table and another one; for patch 14 such that the image is resized, as 256 is to 252.
@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("CellViT256", (48, 48)), ("CellViT256", (32, 64)), ("SAM", (64, 64)), ("SAM", (80, 48)),
        ("UNI", (64, 32)), ("Virchow", (71, 71)), ("Virchow2", (71, 71)),
    ],
)  # fmt: skip
@torch.no_grad()
def test_maps_are_those_of_the_published_computation(models, cellvit_files, oracle, kind, size):
    model, tensors = models(kind)
    maps = model.maps(images(*size))
    expected, tissue = oracle.cellvit(tensors, (images(*size) - 0.5) / 0.5, cellvit_files.TINY[kind])
    for found, name in ((maps.binary, "nuclei_binary_map"), (maps.hv, "hv_map"), (maps.types, "nuclei_type_maps")):
        torch.testing.assert_close(found, expected[f"{name}_decoder"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(maps.tissue, tissue, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["CellViT256", "SAM", "UNI", "Virchow2"])
def test_layer_norms_have_the_published_epsilon(models, kind):
    # Too small to be seen in random maps: timm's SAM has another one.
    norms = [module for module in models(kind)[0].modules() if isinstance(module, torch.nn.LayerNorm)]
    assert {norm.eps for norm in norms} == {1e-6}


@torch.no_grad()
def test_cached_skips_give_the_maps_of_skips_per_branch_to_the_last_bit(models):
    model, _ = models("CellViT256")
    pixels = (images(48, 48) - 0.5) / 0.5
    taps, _ = model.encoder(pixels.contiguous(memory_format=torch.channels_last))
    branches = model.nuclei_binary_map_decoder, model.hv_map_decoder, model.nuclei_type_maps_decoder
    for found, branch in zip(model.maps(images(48, 48)), branches, strict=False):
        assert torch.equal(found, branch(model.skips(taps, pixels)))


@pytest.mark.parametrize("side", [64, 112])
@torch.no_grad()
def test_sam_reads_the_top_left_corner_of_its_position_table(models, side):
    encoder = models("SAM")[0].encoder
    grid = side // 16
    table = encoder.pos_embed.clone()
    before = encoder(images(side, side))[0][-1]
    try:
        encoder.pos_embed[:, grid:] += 1
        encoder.pos_embed[:, :, grid:] += 1
        assert torch.equal(encoder(images(side, side))[0][-1], before)
        encoder.pos_embed[:, grid - 1, grid - 1] += 1
        assert not torch.equal(encoder(images(side, side))[0][-1], before)
    finally:
        encoder.pos_embed.copy_(table)


def test_tiles_beyond_sams_positions_are_refused_with_both_sizes(models):
    model, _ = models("SAM")
    assert model.largest_side == 128
    with pytest.raises(NucplanError, match="end at 128 px, and a tile has 32 x 144 px; predict in smaller tiles"):
        model.maps(images(32, 130))


@pytest.mark.parametrize("kind", ["CellViT256", "SAM", "Virchow2"])
@pytest.mark.parametrize("size", [(1, 1), (17, 40), (31, 16)])
@torch.no_grad()
def test_an_image_of_any_size_gets_maps_of_its_size(models, kind, size):
    maps = models(kind)[0].maps(images(*size), tokens=True)
    assert [tuple(m.shape) for m in maps[:3]] == [(1, 2, *size), (1, 2, *size), (1, 6, *size)]
    assert all(m.isfinite().all() for m in maps)
    patch = 14 if kind == "Virchow2" else 16
    assert maps.tokens.shape == (1, 32, *(sides(side, patch)[1] // patch for side in size))


@torch.no_grad()
def test_an_image_is_filled_up_below_and_to_the_right(models):
    model, _ = models("CellViT256")
    whole = torch.nn.functional.pad(images(40, 33), (0, 15, 0, 8), mode="reflect")
    torch.testing.assert_close(model.maps(images(40, 33)).types, model.maps(whole).types[..., :40, :33])


@torch.no_grad()
def test_a_regression_loss_leaves_the_first_two_channels(cellvit_files, monkeypatch):
    tensors = cellvit_files.tensors_of(cellvit_files.TINY["CellViT256"], binary=4, tissues=0)
    monkeypatch.setattr(weights_file, "read_content", lambda _: tensors)
    model, _ = read_cellvit(Path("a.pth"))
    maps = model.maps(images(16, 16))
    assert maps.binary.shape == (1, 2, 16, 16)
    assert maps.tissue is None
    assert maps.tokens is None


def test_virchow_sees_the_published_sizes():
    assert [sides(side, 14) for side in (256, 1024)] == [(256, 252), (1024, 1022)]


@given(side=st.integers(1, 5000), patch=st.sampled_from([14, 16]))
def test_images_are_shrunk_by_no_more_than_in_training_and_never_enlarged(side, patch):
    padded, seen = sides(side, patch)
    assert seen % patch == 0
    assert side <= padded < side + patch
    assert 252 / 256 <= seen / padded <= 1
    assert patch != 16 or seen == padded


def test_dinos_position_table_is_itself_on_its_own_grid_and_alone_there():
    table = torch.randn(1, 10, 4)
    assert torch.equal(dino_positions(table, 3, 3), table)
    assert dino_positions(table, 1, 9).shape == (1, 10, 4)
    assert not torch.equal(dino_positions(table, 1, 9), table)
    for side in range(1, 80):
        assert dino_positions(table, side, 2).shape == (1, 1 + 2 * side, 4)
