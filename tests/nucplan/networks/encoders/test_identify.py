"""A file is told by its keys and shapes, on the meta device at the published sizes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

from nucplan.networks.encoders.choice import choose_encoder
from nucplan.networks.encoders.identify import Identity, identify
from nucplan.networks.encoders.marker_transformer import rotary_table
from nucplan.networks.encoders.registry import build_encoder
from nucplan.networks.weights_file import WeightsFile

from ..cellvit.templates import PUBLISHED, shapes_of

CELLVIT = {
    "CellViT256": "cellvit-256", "SAM-B": "cellvit-sam-b", "SAM-L": "cellvit-sam-l", "SAM-H": "cellvit-sam-h",
    "UNI": "cellvit-uni", "Virchow": "cellvit-virchow", "Virchow2": "cellvit-virchow2",
}  # fmt: skip


def weights(tensors: dict, **said) -> WeightsFile:
    return WeightsFile(Path("misleading_virchow.pth"), tensors, **said)


@cache
def parameters(name: str, depth: int | None) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return build_encoder(name, 3, depth=depth).body.state_dict()


def tensors_of(name: str, prefix: str = "", depth: int | None = None) -> dict[str, torch.Tensor]:
    state = parameters(name, depth)
    names = {key: key.replace("mlp.fc", "mlp.lin") if name.startswith("sam") else key for key in state}
    return {prefix + names[key]: tensor for key, tensor in state.items()}


def names(identity: Identity) -> list[str]:
    return [card.name for card in identity.cards]


@pytest.mark.parametrize(
    ("name", "prefix", "found"),
    [
        ("uni", "", ["uni"]),
        ("uni2-h", "", ["uni2-h"]),
        ("virchow2", "", ["virchow2"]),
        ("h0-mini", "", ["h0-mini"]),
        ("hipt-vit256", "module.backbone.", ["hipt-vit256", "kaiko-s16", "dino-s16"]),
        ("kaiko-s8", "", ["kaiko-s8", "dino-s8"]),
        ("dinov2-s", "", ["dinov2-s"]),
        ("sam-b", "image_encoder.", ["sam-b"]),
        ("sam-med2d", "image_encoder.", ["sam-med2d"]),
        ("vit_tiny_patch16_224", "", ["vit_tiny_patch16_224"]),
    ],
)
def test_encoders_are_told_by_their_tensors(name, prefix, found):
    identity = identify(weights(tensors_of(name, prefix)))
    assert names(identity) == found
    assert identity.matched.complete


def test_encoders_of_one_architecture_are_alike():
    assert [card.name for card in identify(weights(tensors_of("uni"))).alike] == ["phikon-v2"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_encoder_of_a_whole_cellvit_is_used_to_the_last_tensor(name):
    sizes, count = PUBLISHED[name]
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes_of(sizes).items()}
    assert len(tensors) == count
    said = {"transformations.normalize.mean": [0.4, 0.5, 0.6], "transformations.normalize.std": [0.1, 0.2, 0.3]}
    identity = identify(weights(tensors, arch=sizes.arch, config=said))
    assert names(identity) == [CELLVIT[name]]
    assert sizes.arch in identity.kind
    assert identity.matched.complete
    beside = set(identity.matched.dispensable)
    assert len(identity.matched.used) + len(beside) == count
    assert {key.split(".")[1] for key in beside if key.startswith("encoder.")} <= {"head", "neck"}
    assert (identity.cards[0].mean, identity.cards[0].std) == ((0.4, 0.5, 0.6), (0.1, 0.2, 0.3))


def test_a_renamed_tensor_of_a_cellvits_decoder_is_its_fault():
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes_of(PUBLISHED["CellViT256"][0]).items()}
    identity = identify(weights(tensors))
    assert (identity.fault, len(identity.whole.used)) == (None, len(tensors))
    name = "hv_map_decoder.decoder1_upsampler.0.block.0.weight"
    tensors["hv_map_decoder.other"] = tensors.pop(name)
    identity = identify(weights(tensors))
    # The encoder is there: a training may start from it.
    assert (names(identity), identity.matched.complete) == (["cellvit-256"], True)
    assert (identity.whole.missing, identity.whole.left_over) == ((name,), ("hv_map_decoder.other",))
    assert name in identity.fault


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        (["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"], "a linear classifier"),
        (["encoder.blocks.0.norm1.weight", "encoder.interactions.0.injector.gamma"], "a CellVTA"),
        (
            ["encoder.pos_embed", "decoder0.0.block.0.bias", "decoder.bottleneck_upsampler.weight"],
            "a CellViT of the first",
        ),
        (["encoder.pos_embed", "decoder0.0.block.0.bias", "dist_decoder.0.weight"], "a CellViT with StarDist"),
        (["layer1.conv.weight"], "nothing that nucplan knows"),
    ],
)
def test_other_kinds_are_named_and_fill_nothing(keys, kind):
    identity = identify(weights(dict.fromkeys(keys, torch.zeros(3))))
    assert identity.kind.startswith(kind)
    assert not identity.cards


@pytest.mark.parametrize(
    ("dialect", "said"), [({}, "release"), ({"prior_embedding_encoder": "protein_encoder"}, "preprint")]
)
def test_virtues_is_told_with_its_dialect(dialect, said):
    options = {"dim": 16, "feedforward": 32, "heads": 2, "marker_dim": 8, "patch": 4, "pattern": "hv", "rope": [0]}
    state = dict(build_encoder("virtues", 1, depth=2, options={**options, "markers": ["P68431"]}).body.state_dict())
    block = "encoder.0.encoder_layer.multi_head_attention.pos_emb.rope1d"
    state |= {f"{block}.{name}": getattr(rotary_table(50, 4), name)() for name in ("sin", "cos")}
    for ours, theirs in dialect.items():
        state = {name.replace(ours, theirs): tensor for name, tensor in state.items()}
    tensors = {f"encoder.{name}": tensor for name, tensor in state.items()}
    identity = identify(weights(tensors))
    assert names(identity) == ["virtues"]
    assert said in identity.kind
    assert identity.matched.complete
    foreign = identify(
        weights({f"encoder.{name}": tensor for name, tensor in state.items()} | {"lora": torch.zeros(1)})
    )
    assert not foreign.cards
    assert "'lora' is no tensor of a VirTues encoder" in foreign.fault


def test_what_nearly_fits_is_compared_with_the_nearest():
    tensors = tensors_of("uni")
    tensors["blocks.7.mlp.fc3.weight"] = tensors.pop("blocks.7.mlp.fc1.weight")
    identity = identify(weights(tensors))
    assert not identity.cards
    assert identity.nearest.name in ("uni", "phikon-v2")
    assert identity.matched.missing == ("blocks.7.mlp.fc1.weight",)
    assert identity.matched.left_over == ("blocks.7.mlp.fc3.weight",)


def test_an_unknown_size_is_told_in_numbers():
    identity = identify(weights(tensors_of("uni", depth=3)))
    assert identity.kind == "an unknown ViT of width 1024, 3 blocks and patch 16"


def test_the_file_says_which_encoder_it_is_for():
    chosen = choose_encoder(weights(tensors_of("virchow2")), None, "vit_tiny_patch16_224")
    assert (chosen.encoder, chosen.mean, chosen.note) == ("virchow2", (0.485, 0.456, 0.406), None)


def test_a_planned_encoder_of_the_same_architecture_stays():
    chosen = choose_encoder(weights(tensors_of("vit_tiny_patch16_224")), None, "vit_tiny_patch16_224")
    assert (chosen.encoder, chosen.layer_scale) == ("vit_tiny_patch16_224", False)


def test_colours_are_those_of_the_name_that_was_asked_for():
    both = weights(tensors_of("hipt-vit256"))
    assert choose_encoder(both, "kaiko-s16", "vit_tiny_patch16_224").mean == (0.5, 0.5, 0.5)
    timm = choose_encoder(weights(tensors_of("uni")), "vit_large_patch16_224", "vit_tiny_patch16_224")
    assert (timm.encoder, timm.layer_scale, timm.mean) == ("vit_large_patch16_224", True, (0.485, 0.456, 0.406))


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        ("vit_large_patch14_reg4_dinov2.lvd142m", 0.485), ("vit_large_patch14_reg4_dinov2", 0.485),
        ("vit_small_patch16_224.dino", 0.485), ("vit_small_patch16_224.augreg_in21k", 0.5),
        ("vit_base_patch16_224.mae", 0.485), ("kaiko-l14", 0.5), ("dinov2-l-reg", 0.485),
    ],
)  # fmt: skip
def test_a_name_that_was_asked_for_outranks_what_the_tensors_look_like(name, mean):
    chosen = choose_encoder(weights(tensors_of(name)), name, "vit_tiny_patch16_224")
    assert chosen.encoder == name
    assert chosen.mean[0] == mean
    # Without its tag the name is that of an architecture, which others have as well.
    assert (chosen.note is None) == (name != "vit_large_patch14_reg4_dinov2")


def test_colours_that_candidates_do_not_agree_on_are_told_as_assumed():
    file = weights(tensors_of("vit_large_patch14_reg4_dinov2"))
    chosen = choose_encoder(file, None, "vit_tiny_patch16_224")
    assert (chosen.encoder, chosen.mean[0]) == ("kaiko-l14", 0.485)
    assert "assumed (kaiko-l14 has others); --encoder" in chosen.note


def test_a_small_vit_of_natural_images_is_not_taken_for_one_of_pathology_without_a_word():
    chosen = choose_encoder(weights(tensors_of("vit_small_patch16_224.dino")), None, "vit_tiny_patch16_224")
    assert (chosen.encoder, chosen.mean[0]) == ("hipt-vit256", 0.5)
    assert "assumed (dino-s16 has others); --encoder" in chosen.note


def test_colours_of_a_cellvit_are_its_own_whatever_its_encoder_was_pretrained_with():
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes_of(PUBLISHED["UNI"][0]).items()}
    chosen = choose_encoder(weights(tensors), "uni", "vit_tiny_patch16_224")
    assert (chosen.encoder, chosen.mean, chosen.std) == ("uni", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
