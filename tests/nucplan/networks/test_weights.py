from __future__ import annotations

import argparse
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from nucplan.errors import NucplanError
from nucplan.networks.encoders.timm_vit import TimmViT
from nucplan.networks.matching import match
from nucplan.networks.weights import load_encoder_weights
from nucplan.networks.weights_file import read_weights_file


@pytest.fixture
def source() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return TimmViT("vit_tiny_patch16_224", 3, depth=2).vit.state_dict()


@pytest.fixture
def encoder() -> TimmViT:
    torch.manual_seed(2)
    return TimmViT("vit_tiny_patch16_224", 3, depth=2, frozen=True)


def assert_loaded(encoder: TimmViT, source: dict[str, torch.Tensor]) -> None:
    for name, tensor in encoder.vit.state_dict().items():
        torch.testing.assert_close(tensor, source[name], msg=name)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"teacher": {f"module.backbone.{k}": v for k, v in s.items()}, "student": {}},
        lambda s: {"model": {f"encoder.{k}": v for k, v in s.items()}},
        lambda s: {"model": {k: 0 * v for k, v in s.items()}, "model_ema": s},
        lambda s: {"model": s, "ema": {"decay": 0.999}},
    ],
    ids=["plain", "state_dict", "dino teacher", "encoder prefix", "average", "average elsewhere"],
)
def test_every_tensor_is_used_whatever_it_is_wrapped_in(tmp_path, encoder, source, wrap):
    file = tmp_path / "weights.pth"
    torch.save(wrap(source), file)
    report = load_encoder_weights(encoder, file)
    assert_loaded(encoder, source)
    assert "every tensor of the file is used" in report


def test_safetensors_are_read(tmp_path, encoder, source):
    save_file(source, tmp_path / "model.safetensors")
    load_encoder_weights(encoder, tmp_path / "model.safetensors")
    assert_loaded(encoder, source)


def test_tensors_that_are_not_used_are_listed(tmp_path, encoder, source):
    torch.save(source | {"head.weight": torch.zeros(2), "mask_token": torch.zeros(1)}, tmp_path / "w.pth")
    assert "not used: head.weight, mask_token" in load_encoder_weights(encoder, tmp_path / "w.pth")


def test_a_file_of_which_nothing_fits_is_refused(tmp_path, encoder):
    torch.save({"layer1.conv.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    with pytest.raises(NucplanError, match="Nothing in .*resnet.pth fits"):
        load_encoder_weights(encoder, tmp_path / "resnet.pth")


def test_layer_scale_in_the_file_is_never_left_out(tmp_path, encoder):
    torch.manual_seed(1)
    scaled = TimmViT("vit_tiny_patch16_224", 3, depth=2, frozen=True, layer_scale=True)
    for block in scaled.vit.blocks:
        block.ls1.gamma.normal_()
    torch.save(scaled.vit.state_dict(), tmp_path / "uni.pth")
    with pytest.raises(NucplanError, match=r"tensors that the encoder has not \(blocks.0.ls1.gamma"):
        load_encoder_weights(encoder, tmp_path / "uni.pth")
    fresh = TimmViT("vit_tiny_patch16_224", 3, depth=2, frozen=True, layer_scale=True)
    load_encoder_weights(fresh, tmp_path / "uni.pth")
    images = torch.rand(1, 3, 32, 32)
    for ours, theirs in zip(fresh(images), scaled(images), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_file_that_leaves_a_parameter_empty_is_refused(tmp_path, encoder, source):
    del source["blocks.1.attn.qkv.weight"]
    torch.save(source, tmp_path / "cut.pth")
    before = {k: v.clone() for k, v in encoder.vit.state_dict().items()}
    with pytest.raises(NucplanError, match="lacks 1 .*blocks.1.attn.qkv.weight"):
        load_encoder_weights(encoder, tmp_path / "cut.pth")
    assert_loaded(encoder, before)


def test_weights_of_another_width_are_refused_with_both_shapes(tmp_path, encoder):
    other = TimmViT("vit_small_patch16_224", 3, depth=2).vit.state_dict()
    torch.save(other, tmp_path / "small.pth")
    with pytest.raises(NucplanError, match=r"\(1, 1, 384\), the encoder needs \(1, 1, 192\)"):
        load_encoder_weights(encoder, tmp_path / "small.pth")


def test_a_position_table_of_another_grid_is_resampled(tmp_path, encoder, source):
    import timm

    torch.manual_seed(3)
    large = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=2, img_size=384).state_dict()
    torch.save(large, tmp_path / "large.pth")
    load_encoder_weights(encoder, tmp_path / "large.pth")
    assert encoder.vit.pos_embed.shape == source["pos_embed"].shape
    torch.testing.assert_close(encoder.vit.pos_embed[:, 0], large["pos_embed"][:, 0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("content", [None, b"", b"not a file of torch", b"\x80\x04malicious"])
def test_an_unreadable_file_is_named(tmp_path, encoder, content):
    file = tmp_path / "weights.pth"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(NucplanError, match=r"weights\.pth"):
        load_encoder_weights(encoder, file)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "plain pickle"])
def test_a_file_with_code_in_it_is_refused_and_not_run(tmp_path, encoder, legacy):
    marker = tmp_path / "ran"

    class Attack:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    file = tmp_path / "evil.pth"
    torch.save({"state_dict": Attack()}, file, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(NucplanError, match=r"evil\.pth is not a readable .*would run '(io|builtins|_io)\.open'"):
        load_encoder_weights(encoder, file)
    assert not marker.exists()


def test_options_of_a_training_beside_the_weights_are_no_code(tmp_path, encoder, source):
    """DINO's checkpoints (HIPT) have them as a namespace, CellViT's their best score as a number of numpy."""
    content = {"teacher": source, "args": argparse.Namespace(arch="vit_small"), "best": np.float64(0.5)}
    torch.save(content, tmp_path / "dino.pth")
    load_encoder_weights(encoder, tmp_path / "dino.pth")
    assert_loaded(encoder, source)


@pytest.mark.parametrize(
    ("prefix", "beside"),
    [
        ("image_encoder.", {"mask_decoder.x"}), ("visual.trunk.", {"visual.head.proj.weight"}),
        ("encoder.", {"decoder0.0.block.0.weight", "nuclei_binary_map_decoder.x.weight", "hv_map_decoder.x.weight",
                      "nuclei_type_maps_decoder.x.weight", "encoder.head.weight"}),
    ],
)  # fmt: skip
def test_what_stands_beside_an_encoder_is_listed_or_refused(tmp_path, encoder, source, prefix, beside):
    state = {f"{prefix}{name}": tensor for name, tensor in source.items()}
    torch.save(state | dict.fromkeys(beside, torch.zeros(2)), tmp_path / "whole.pth")
    if prefix == "image_encoder.":
        # The rest of a SAM beside a ViT that is none: then it is no file of either.
        with pytest.raises(NucplanError, match=r"has not \(mask_decoder.x\)"):
            load_encoder_weights(encoder, tmp_path / "whole.pth")
        return
    report = load_encoder_weights(encoder, tmp_path / "whole.pth")
    assert_loaded(encoder, source)
    assert all(name in report for name in beside)


def test_a_teacher_is_preferred_to_its_student(tmp_path, encoder, source):
    student = {f"student.{name}": torch.zeros_like(tensor) for name, tensor in source.items()}
    torch.save({"teacher": source, "student": student}, tmp_path / "dino.pth")
    load_encoder_weights(encoder, tmp_path / "dino.pth")
    assert_loaded(encoder, source)


def test_the_format_is_told_by_the_first_bytes(tmp_path, encoder, source):
    save_file(source, tmp_path / "safe.pth")
    torch.save(source, tmp_path / "zip.safetensors")
    torch.save(source, tmp_path / "legacy.bin", _use_new_zipfile_serialization=False)
    for name in ("safe.pth", "zip.safetensors", "legacy.bin"):
        load_encoder_weights(encoder, tmp_path / name)
    assert_loaded(encoder, source)


def unreadable(folder: Path) -> dict[str, Path]:
    """Files of which torch would say that they should be loaded without its guard, and such as are in no format."""
    torch.save({"a": torch.zeros(9)}, folder / "cut.pth")
    (folder / "cut.pth").write_bytes((folder / "cut.pth").read_bytes()[:200])
    torch.save({"a": torch.zeros(9), "model": torch.nn.Linear(1, 1)}, folder / "objects.pth")
    (folder / "new.pth").write_bytes(pickle.dumps({"a": [1, 2]}, protocol=5))
    torch.jit.script(torch.nn.Linear(1, 1)).save(folder / "script.pt")
    save_file({"a": torch.zeros(9)}, folder / "cut.safetensors")
    (folder / "cut.safetensors").write_bytes((folder / "cut.safetensors").read_bytes()[:40])
    (folder / "page.bin").write_text("<!doctype html>", encoding="utf-8")
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cut.pth", "damaged or cut off"), ("objects.pth", "would run"), ("new.pth", "more than tensors|damaged"),
        ("script.pt", "TorchScript"), ("cut.safetensors", "damaged or cut off"), ("page.bin", "begins neither"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_in_words_of_our_own(tmp_path, name, says):
    with pytest.raises(NucplanError, match=says) as caught:
        read_weights_file(unreadable(tmp_path)[name])
    assert "weights_only" not in str(caught.value)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused_by_the_name_of_its_tensor(tmp_path, encoder, source, number):
    source["blocks.1.mlp.fc1.bias"][3] = number
    torch.save({f"backbone.{k}": v for k, v in source.items()}, tmp_path / "w.pth")
    before = {k: v.clone() for k, v in encoder.vit.state_dict().items()}
    with pytest.raises(NucplanError, match=r"'backbone\.blocks\.1\.mlp\.fc1\.bias' has numbers that are not finite"):
        load_encoder_weights(encoder, tmp_path / "w.pth")
    assert_loaded(encoder, before)


def dinov2_training(source: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    teacher = {f"teacher.backbone.{name}": tensor for name, tensor in source.items()}
    student = {f"student.backbone.{name}": torch.zeros_like(tensor) for name, tensor in source.items()}
    heads = {
        f"{who}.{head}.mlp.0.weight": torch.ones(2)
        for who in ("student", "teacher")
        for head in ("dino_head", "ibot_head")
    }
    return student | teacher | heads | {"student.backbone.mask_token": torch.ones(1, 192)}


def test_a_training_checkpoint_of_dinov2_gives_its_teacher_and_lists_its_student(tmp_path, encoder, source):
    torch.save({"model": dinov2_training(source), "iteration": 5}, tmp_path / "dinov2.pth")
    report = load_encoder_weights(encoder, tmp_path / "dinov2.pth")
    assert_loaded(encoder, source)
    assert "student.backbone.blocks" in report


def test_an_extra_tensor_has_the_name_of_the_file(tmp_path, encoder, source):
    """Also where the name of another tensor ends like it."""
    torch.save(
        {f"backbone.{k}": v for k, v in source.items()} | {"backbone.proj.weight": torch.ones(2)}, tmp_path / "w.pth"
    )
    with pytest.raises(NucplanError, match=r"has not \(backbone\.proj\.weight\)"):
        load_encoder_weights(encoder, tmp_path / "w.pth")


FILES = {
    "two copies": lambda s: s | {f"teacher.{k}": v for k, v in s.items()},
    "a copy under a wrapper": lambda s: s | {f"module.{k}": v for k, v in s.items()},
    "training of DINOv2": dinov2_training,
    "heads": lambda s: {f"module.backbone.{k}": v for k, v in s.items()} | {"module.head.w": s["norm.bias"]} | s,
    "without half": lambda s: {k: v for k, v in s.items() if "blocks.1" not in k},
    "other shapes": lambda s: {k: v[:1] for k, v in s.items()},
    "another file": lambda s: {"layer1.conv.weight": torch.ones(2)},
}  # fmt: skip


@pytest.mark.parametrize("file", FILES)
def test_no_tensor_of_a_file_vanishes(encoder, source, file):
    tensors = FILES[file](source)
    matched = match(encoder, tensors)
    assert sorted([*matched.parts, *matched.left_over, *matched.dispensable]) == sorted(tensors)
    assert matched.complete == (file == "training of DINOv2")


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_no_tensor_of_any_mixture_vanishes(data):
    prefixes = data.draw(
        st.lists(st.sampled_from(["", "module.", "teacher.", "student.", "model.teacher."]), min_size=1)
    )
    names = [f"blocks.{k}.{part}.weight" for k in (0, 1) for part in ("norm1", "norm2", "attn.qkv", "lora")]
    tensors = {
        prefix + name: torch.empty(3, device="meta")
        for prefix in prefixes
        for name in data.draw(st.lists(st.sampled_from([*names, "pos_embed", "proj.weight", "head.weight"])))
    }
    with torch.device("meta"):
        matched = match(TimmViT("vit_tiny_patch16_224", 3, depth=2), tensors)
    assert sorted([*matched.parts, *matched.left_over, *matched.dispensable]) == sorted(tensors)


def test_a_file_of_another_encoder_is_refused_with_the_name_of_its_own(tmp_path, encoder):
    torch.save(TimmViT("vit_small_patch16_224", 3).vit.state_dict(), tmp_path / "vit.pth")
    with pytest.raises(NucplanError, match="it fits --encoder hipt-vit256 or kaiko-s16"):
        load_encoder_weights(encoder, tmp_path / "vit.pth")
