"""SAM's encoder: the features of its source, positions by crop or resampling, the adapters of SAM-Med2D."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from nucplan.errors import NucplanError
from nucplan.networks.encoders.registry import build_encoder
from nucplan.networks.encoders.sam import Adapter, SamViT
from nucplan.networks.weights import load_encoder_weights

from .layouts import DEPTH, DIM, HEADS, State, randomised, raw_sam

TABLE, WINDOW = 8, 3
OPTIONS = {"embed_dim": DIM, "num_heads": HEADS, "img_size": 16 * TABLE, "window_size": WINDOW}
EVERYWHERE = [0, 2]


def source(side: int, state: State | None = None) -> torch.nn.Module:
    sam = pytest.importorskip("transformers.models.sam.modeling_sam")
    model = sam.SamVisionModel(
        sam.SamVisionConfig(
            hidden_size=DIM, num_hidden_layers=DEPTH, num_attention_heads=HEADS, image_size=side, patch_size=16,
            window_size=WINDOW, global_attn_indexes=EVERYWHERE, output_channels=8, mlp_ratio=4.0,
        )
    )  # fmt: skip
    model = randomised(model)
    if state is not None:
        model.load_state_dict(state)
    return model


def encoder(**options) -> SamViT:
    made = build_encoder("sam-b", 3, depth=DEPTH, options=OPTIONS | options).eval()
    # With four blocks all would be tapped and see everything.
    for index, block in enumerate(made.vit.blocks):
        block.window_size = 0 if index in EVERYWHERE else WINDOW
        for axis in "hw":
            length = 2 * (TABLE if index in EVERYWHERE else WINDOW) - 1
            setattr(block.attn, f"rel_pos_{axis}", torch.nn.Parameter(torch.zeros(length, DIM // HEADS)))
    return made


def maps(model: torch.nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        states = model(images, output_hidden_states=True).hidden_states[1:]
    return [state.permute(0, 3, 1, 2) for state in states]


def images_of(*sides: int) -> torch.Tensor:
    return torch.randn(1, 3, *sides, generator=torch.Generator().manual_seed(1))


def assert_same(found, wanted) -> None:
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", [raw_sam, dict], ids=["Meta's names", "names of transformers"])
def test_features_are_those_of_the_source(layout, tmp_path):
    model, ours = source(16 * TABLE), encoder()
    torch.save(layout(model.state_dict()), tmp_path / "sam.pth")
    report = load_encoder_weights(ours, tmp_path / "sam.pth")
    assert "neck" in report
    images = images_of(16 * TABLE, 16 * TABLE)
    with torch.no_grad():
        assert_same(ours(images), maps(model, images))


@pytest.mark.parametrize("positions", ["crop", "resample"])
def test_a_smaller_image_sees_the_corner_of_the_table_or_all_of_it(positions, tmp_path):
    """The source at half the size, its tables made as either way says; relative ones are interpolated in both."""
    whole, ours, side = source(16 * TABLE).state_dict(), encoder(positions=positions), TABLE // 2
    torch.save(raw_sam(whole), tmp_path / "sam.pth")
    load_encoder_weights(ours, tmp_path / "sam.pth")
    table = whole["vision_encoder.pos_embed"]
    if positions == "crop":
        table = table[:, :side, :side]
    else:
        table = functional.interpolate(table.permute(0, 3, 1, 2), (side, side), mode="bicubic", antialias=True)
        table = table.permute(0, 2, 3, 1)
    small = whole | {"vision_encoder.pos_embed": table}
    for index in EVERYWHERE:
        for axis in "hw":
            name = f"vision_encoder.layers.{index}.attn.rel_pos_{axis}"
            small[name] = functional.interpolate(whole[name].T[None], 2 * side - 1, mode="linear")[0].T
    images = images_of(16 * side, 16 * side)
    with torch.no_grad():
        assert_same(ours(images), maps(source(16 * side, small), images))


@pytest.mark.parametrize("block", [0, 1])
def test_tables_of_windows_are_not_stretched_to_those_of_whole_images(block, tmp_path):
    """A file that looks along the whole image in other blocks is one of another model."""
    state = raw_sam(source(16 * TABLE).state_dict())
    length = 2 * (WINDOW if block == 0 else TABLE) - 1
    for axis in "hw":
        state[f"image_encoder.blocks.{block}.attn.rel_pos_{axis}"] = torch.randn(length, DIM // HEADS)
    torch.save(state, tmp_path / "sam.pth")
    with pytest.raises(NucplanError, match=rf"blocks\.{block}\.attn\.rel_pos_h' has the shape \({length}, "):
        load_encoder_weights(encoder(), tmp_path / "sam.pth")


def test_tables_of_another_image_size_are_resampled(tmp_path):
    half = source(8 * TABLE).state_dict()
    torch.save(raw_sam(half), tmp_path / "sam.pth")
    ours = encoder()
    load_encoder_weights(ours, tmp_path / "sam.pth")
    for index, block in enumerate(ours.vit.blocks):
        table = half[f"vision_encoder.layers.{index}.attn.rel_pos_h"]
        if index in EVERYWHERE:
            table = functional.interpolate(table.T[None], 2 * TABLE - 1, mode="linear")[0].T
        torch.testing.assert_close(block.attn.rel_pos_h.data, table)


def test_a_crop_ends_with_the_table():
    with pytest.raises(NucplanError, match="ends at 128 pixels, the image has 128 x 144"):
        encoder(positions="crop")(images_of(128, 144))


@pytest.mark.parametrize("sides", [(32, 80), (48, 16), (176, 144)])
@pytest.mark.parametrize("adapter", [False, True])
def test_any_sides_are_taken(sides, adapter):
    found = encoder(adapter=adapter)(images_of(*sides))
    assert [tuple(x.shape) for x in found] == [(1, DIM, sides[0] // 16, sides[1] // 16)] * 4


def test_sides_are_not_mixed_up():
    """A transposed image gives transposed maps, once what tells rows from columns is transposed as well."""
    ours, images = randomised(encoder(), 3), images_of(64, 96)
    with torch.no_grad():
        upright = ours(images)
        ours.vit.patch_embed.proj.weight.copy_(ours.vit.patch_embed.proj.weight.transpose(2, 3).clone())
        ours.vit.pos_embed.copy_(ours.vit.pos_embed.transpose(1, 2).clone())
        for block in ours.vit.blocks:
            rows, columns = block.attn.rel_pos_h.clone(), block.attn.rel_pos_w.clone()
            block.attn.rel_pos_h.copy_(columns)
            block.attn.rel_pos_w.copy_(rows)
        assert_same([x.transpose(2, 3) for x in ours(images.transpose(2, 3))], upright)


def test_adapters_stand_beside_the_mlp():
    plain, adapted = randomised(encoder(), 4), randomised(encoder(adapter=True), 4)
    adapted.load_state_dict(plain.state_dict(), strict=False)
    images = images_of(64, 64)
    with torch.no_grad():
        for block in adapted.vit.blocks:
            block.Adapter.norm.weight.zero_()
            block.Adapter.norm.bias.zero_()
        assert_same(adapted(images), plain(images))
        # An adapter that always gives 1 moves what its block gives by 1.
        adapted.vit.blocks[0].Adapter.norm.bias.fill_(1.0)
        torch.testing.assert_close(adapted(images)[0], plain(images)[0] + 1)


def test_an_adapter_gates_channels_and_adds_what_lies_around():
    adapter = randomised(Adapter(8), 5)
    tokens = torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(2))
    x = tokens.permute(0, 3, 1, 2)
    with torch.no_grad():
        first, second = adapter.channel[0].weight, adapter.channel[2].weight
        gate = torch.sigmoid((x.mean((2, 3)) @ first.T).clamp(min=0) @ second.T)
        down = functional.conv2d(x * gate[:, :, None, None], adapter.spatial[0].weight, stride=2, padding=1).relu()
        up = functional.conv_transpose2d(down, adapter.spatial[2].weight, stride=2, padding=1).relu()
        wanted = functional.layer_norm(
            (x + up).permute(0, 2, 3, 1), (8,), adapter.norm.weight, adapter.norm.bias, adapter.norm.eps
        )
        torch.testing.assert_close(adapter(tokens), wanted)


def test_a_file_with_adapters_needs_an_encoder_with_adapters(tmp_path):
    adapted = randomised(encoder(adapter=True))
    state = {f"image_encoder.{name}": tensor for name, tensor in adapted.vit.state_dict().items()}
    torch.save({"model": state}, tmp_path / "med.pth")
    with pytest.raises(NucplanError, match=r"has tensors that the encoder has not \(.*Adapter"):
        load_encoder_weights(encoder(), tmp_path / "med.pth")
    fresh = encoder(adapter=True)
    load_encoder_weights(fresh, tmp_path / "med.pth")
    with torch.no_grad():
        assert_same(fresh(images_of(64, 64)), adapted(images_of(64, 64)))
