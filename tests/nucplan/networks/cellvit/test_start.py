"""A training starts from the published decoder: from its weights, its classes and nothing else of it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from nucplan.errors import NucplanError
from nucplan.networks.cellvit.checkpoint import read_cellvit
from nucplan.networks.cellvit.decoder import CellViTDecoder
from nucplan.networks.cellvit.start import load_cellvit_decoder
from nucplan.networks.encoders.registry import build_encoder
from nucplan.networks.nucleus_net import NucleusNet
from nucplan.networks.start import load_weights
from nucplan.networks.weights import load_encoder_weights

CLASSES = ("Inflammatory", "neoplastic", "connective", "dead", "epithelial")


@pytest.fixture(scope="module")
def file(tmp_path_factory, cellvit_files):
    sizes = cellvit_files.Sizes("CellViT256", 192, 4, 768)
    return cellvit_files.write_checkpoint(tmp_path_factory.mktemp("cellvit") / "a.pth", sizes)


def network(classes: int = 6, channels: int = 3, encoder: str = "vit_tiny_patch16_224", **options) -> NucleusNet:
    torch.manual_seed(0)
    options = {"input_mean": [0.5], "input_std": [0.5], "encoder_depth": 4, "decoder": "cellvit"} | options
    return NucleusNet(channels, classes, encoder, (), **options)


@torch.no_grad()
def test_the_first_logits_are_those_of_the_files_type_branch_in_the_datasets_order(file):
    net = network().eval()
    report = load_cellvit_decoder(net, file, CLASSES)
    assert "Loaded 141 tensors of a.pth into the decoder, with its last layer" in report
    assert "left out: hv_map_decoder (73), nuclei_binary_map_decoder (73)." in report
    model, _ = read_cellvit(file)
    images = torch.rand(2, 3, 32, 48)
    taps, _ = model.encoder((images - 0.5) / 0.5)
    expected = model.maps(images).types[:, [0, 2, 1, 3, 4, 5]]
    torch.testing.assert_close(net.maps(images, taps).semantic, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 48), (64, 64)])
def test_the_encoder_of_a_start_gives_the_maps_that_the_whole_model_gives(file, size):
    """Also on another grid than that of the position table."""
    sizes = {"embed_dim": 192, "num_heads": 3, "img_size": 224}
    encoder = build_encoder("cellvit-256", 3, depth=4, options=sizes).eval()
    load_encoder_weights(encoder, file)
    images = torch.rand(1, 3, *size)
    for ours, theirs in zip(encoder(images), read_cellvit(file)[0].encoder(images)[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_encoder_and_decoder_come_from_one_file(file, cellvit_files):
    net = network()
    reports = load_weights(net, {"file": str(file), "decoder": True}, CLASSES)
    assert len(reports) == 2
    tensors = torch.load(file)["model_state_dict"]
    filled = {f"decoder.{k}": v for k, v in tensors.items() if f"decoder.{k}" in net.state_dict()}
    filled |= {f"encoder.vit.{k[8:]}": v for k, v in tensors.items() if k.startswith("encoder.") and "head" not in k}
    found = net.state_dict()
    assert set(filled) == {k for k in found if k.startswith(("encoder.", "decoder."))}
    assert all(torch.equal(found[name], tensor) for name, tensor in filled.items())


def test_the_decoder_stays_as_it_is_where_the_plan_does_not_ask_for_it(file):
    net = network()
    before = net.decoder.state_dict()["decoder0.0.block.0.weight"].clone()
    assert len(load_weights(net, {"file": str(file)}, CLASSES)) == 1
    assert torch.equal(net.decoder.decoder0[0].block[0].weight, before)


@pytest.mark.parametrize("classes", [("tumour",), ("a", "b", "c", "d", "e")])
def test_other_classes_get_a_new_last_layer(file, classes):
    net = network(1 + len(classes))
    before = net.semantic_head.weight.clone()
    report = load_cellvit_decoder(net, file, classes)
    assert "with a new last layer" in report
    assert "nuclei_type_maps_decoder.decoder0_header.2.weight" in report
    assert torch.equal(net.semantic_head.weight, before)


@torch.no_grad()
def test_a_grey_image_is_three_equal_channels(file):
    grey, colour = network(channels=1).eval(), network().eval()
    for net in (grey, colour):
        load_cellvit_decoder(net, file, CLASSES)
    image, taps = torch.rand(1, 1, 32, 32), [torch.randn(1, 192, 2, 2)] * 4
    found = grey.maps(image, taps).semantic
    torch.testing.assert_close(found, colour.maps(image.expand(-1, 3, -1, -1), taps).semantic, atol=1e-4, rtol=1e-4)


def test_an_encoder_of_another_width_is_refused_with_both_shapes(file):
    net = network(encoder="vit_small_patch16_224")
    with pytest.raises(NucplanError, match=r"a.pth: 'decoder1.0.block.0.weight' .*\(192, .*\(384, .*; give the --enc"):
        load_cellvit_decoder(net, file, CLASSES)


def test_more_channels_than_rgb_are_refused(file):
    with pytest.raises(NucplanError, match=r"'decoder0.0.block.0.weight' .*RGB or grey"):
        load_cellvit_decoder(network(channels=5), file, CLASSES)


def test_a_file_without_decoder_is_refused(tmp_path):
    net = network()
    torch.save(net.encoder.vit.state_dict(), tmp_path / "vit.pth")
    with pytest.raises(NucplanError, match="vit.pth is an encoder without CellViT's decoder; "):
        load_weights(net, {"file": str(tmp_path / "vit.pth"), "decoder": True}, CLASSES)


def test_maps_of_another_stride_are_refused():
    with pytest.raises(NucplanError, match="maps of stride 16, this encoder's have 8, 8, 8, 8; "):
        network(encoder="vit_small_patch8_224")


def test_a_branch_goes_on_from_what_the_heads_make_of_its_features():
    torch.manual_seed(0)
    decoder = CellViTDecoder(32, (16,) * 4, 3).eval()
    taps, pixels, seen = [torch.randn(1, 32, 1, 2) for _ in range(4)], torch.randn(1, 3, 16, 32), []

    def emptied(stride, features):
        seen.append(stride)
        return features * 0 if stride == 4 else features

    plain, refined = decoder(taps, pixels), decoder(taps, pixels, emptied)
    assert seen == [16, 8, 4, 2, 1]
    widths = CellViTDecoder.features(32)
    assert {s: tuple(f.shape) for s, f in plain.items()} == {s: (1, widths[s], 16 // s, 32 // s) for s in widths}
    changed = [stride for stride in plain if not torch.equal(plain[stride], refined[stride])]
    assert changed == [4, 2, 1]


@pytest.mark.parametrize("frozen", [True, False])
def test_training_goes_on_from_the_files_weights_and_lowers_the_loss(file, frozen):
    net = network(encoder_frozen=frozen, boundary_strides=(1, 2))
    load_weights(net, {"file": str(file), "decoder": True}, CLASSES)
    images, labels = torch.rand(2, 3, 32, 32), torch.zeros(2, 32, 32, dtype=torch.long)
    labels[:, 8:24, 4:20] = 2
    encoder = net.encoder.vit.blocks[0].attn.qkv.weight.clone()
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-4)
    losses = []
    for _ in range(5):
        loss = functional.cross_entropy(net.maps(images).semantic, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0], losses
    assert torch.equal(net.encoder.vit.blocks[0].attn.qkv.weight, encoder) == frozen
