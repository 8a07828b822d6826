"""Published checkpoints are told by keys and shapes, and every key is used or named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.errors import NucplanError
from nucplan.networks import weights_file
from nucplan.networks.cellvit.checkpoint import PANNUKE, read_cellvit
from nucplan.networks.encoders.identify import identify
from nucplan.networks.weights_file import WeightsFile

KINDS = ["CellViT256", "SAM", "UNI", "Virchow", "Virchow2"]
FILE = Path("cellvit.pth")


@pytest.fixture
def read(monkeypatch):
    """Read a state dict as if it stood in a file."""

    def read(tensors, **content):
        monkeypatch.setattr(weights_file, "read_content", lambda _path: {"model_state_dict": tensors, **content})
        return read_cellvit(FILE)

    return read


def without_memory(shapes):
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


@pytest.mark.parametrize("name", ["CellViT256", "SAM-B", "SAM-L", "SAM-H", "UNI", "Virchow", "Virchow2"])
def test_every_key_of_a_published_checkpoint_is_used(read, cellvit_files, name):
    sizes, entries = cellvit_files.PUBLISHED[name]
    tensors = without_memory(cellvit_files.shapes_of(sizes))
    assert len(tensors) == entries
    model, info = read(tensors)
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in tensors.items()}
    assert info.arch == sizes.arch
    # The number of heads stands in no shape of a plain ViT.
    assert {block.attn.num_heads for block in model.encoder.blocks} == {
        {384: 6, 768: 12, 1024: 16, 1280: 16}[sizes.dim]
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_of_the_file_is_in_the_model(read, cellvit_files, kind):
    tensors = cellvit_files.tensors_of(cellvit_files.TINY[kind], tissues=3)
    model, info = read(tensors)
    assert info.arch == cellvit_files.TINY[kind].arch
    assert not model.training
    loaded = model.state_dict()
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_a_model_without_tissues_and_with_a_regression_loss_is_complete(read, cellvit_files):
    for kind in ("CellViT256", "SAM"):
        shapes = cellvit_files.shapes_of(cellvit_files.TINY[kind], classes=3, tissues=0, binary=4)
        model, info = read(without_memory(shapes))
        assert model.state_dict().keys() == shapes.keys()
        assert info.class_names == ("background", "class 1", "class 2")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_one_renamed_missing_or_extra_key_is_named(cellvit_files, kind, data):
    sizes = cellvit_files.TINY[kind]
    tensors = without_memory(cellvit_files.shapes_of(sizes))
    changed = data.draw(st.sampled_from(sorted(tensors)))
    tensor = tensors.pop(changed)
    fate = data.draw(st.sampled_from(["renamed", "missing", "of another shape", "extra"]))
    if fate == "renamed":
        tensors[f"{changed}_x"] = tensor
    if fate == "of another shape":
        tensors[changed] = torch.empty((*tensor.shape, 3), device="meta")
    if fate == "extra":
        tensors |= {changed: tensor, f"{changed}_x": tensor}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(NucplanError) as caught:
        patch.setattr(weights_file, "read_content", lambda _: {"arch": sizes.arch, "model_state_dict": tensors})
        read_cellvit(FILE)
    assert changed in str(caught.value)
    assert "cellvit.pth" in str(caught.value)


def test_a_file_that_is_not_what_its_arch_says_is_refused(read, cellvit_files):
    tensors = without_memory(cellvit_files.shapes_of(cellvit_files.TINY["CellViT256"]))
    with pytest.raises(NucplanError, match="lacks 'encoder.blocks.0.ls1.gamma'"):
        read(tensors, arch="CellViTUNI")


def test_an_encoder_that_lost_blocks_is_refused(read, cellvit_files):
    tensors = without_memory(cellvit_files.shapes_of(cellvit_files.TINY["UNI"]))
    cut = {name: tensor for name, tensor in tensors.items() if "blocks.3." not in name}
    with pytest.raises(NucplanError, match="has 3 blocks"):
        read(cut)


OTHERS = {
    "a CellVTA": ("CellViTUNIAdapter", ["encoder.interactions.0.injector.gamma", "decoder0.0.block.0.bias"]),
    "a linear classifier": ("LinearClassifier", ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]),
    "one shared decoder": ("CellViTSAMShared", ["encoder.pos_embed", "decoder.bottleneck_upsampler.weight"]),
    "StarDist": ("CellViT256StarDist", ["encoder.pos_embed", "decoder0.0.block.0.bias", "dist_decoder.0.weight"]),
    "SAM-Med2D's encoder": (
        None,
        ["image_encoder.blocks.0.attn.qkv.weight", "image_encoder.blocks.0.Adapter.norm.weight"],
    ),
    "a CellViT on SAM-Med2D's": (
        "CellViTSAM",
        ["encoder.blocks.0.Adapter.norm.weight", "decoder0.0.block.0.bias"],
    ),
    "an encoder without": (None, ["blocks.0.attn.qkv.weight", "cls_token"]),
    "nothing in it is a CellViT's": (None, ["layer1.conv1.weight", "fc.weight"]),
    "no named tensors": (None, []),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("says_it", [True, False])
def test_other_files_are_named_with_a_way_out(read, name, says_it):
    arch, keys = OTHERS[name]
    content = {"arch": arch} if arch is not None and says_it else {}
    with pytest.raises(NucplanError, match=f"cellvit.pth .*{name}.*; ") as caught:
        read({key: torch.zeros(1) for key in keys}, **content)
    assert ("--encoder sam-med2d" in str(caught.value)) == (name == "SAM-Med2D's encoder")


def test_a_file_with_code_in_it_is_refused_and_not_run(tmp_path):
    marker = tmp_path / "ran"

    class Attack:
        def __reduce__(self):
            return Path.touch, (marker,)

    torch.save({"arch": "CellViT256", "model_state_dict": {}, "config": Attack()}, tmp_path / "bad.pth")
    with pytest.raises(NucplanError, match="bad.pth is not a readable weights file"):
        read_cellvit(tmp_path / "bad.pth")
    assert not marker.exists()


def test_the_rest_of_a_training_checkpoint_is_no_hindrance(tmp_path, cellvit_files):
    file = cellvit_files.write_checkpoint(tmp_path / "model_best.pth", cellvit_files.TINY["CellViT256"])
    rest = {"best_metric": np.float64(0.5), "best_epoch": 7, "optimizer_state_dict": {"state": {}}, "wandb_id": None}
    torch.save(torch.load(file) | rest, file)
    # A user's own name for it says another model.
    file = file.rename(tmp_path / "cellvit-samx40.pth")
    assert read_cellvit(file)[1].title == "CellViT 256"


def test_weights_in_half_precision_are_computed_in_single(read, cellvit_files):
    tensors = cellvit_files.tensors_of(cellvit_files.TINY["CellViT256"])
    halved = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    model, _ = read(halved)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32, torch.int64}


def test_a_file_that_says_nothing_has_the_published_defaults(read, cellvit_files):
    _, info = read(without_memory(cellvit_files.shapes_of(cellvit_files.TINY["SAM"])))
    assert info.class_names == PANNUKE
    assert info.mean == info.std == (0.5, 0.5, 0.5)
    assert info.mpp == 0.25
    assert not info.mixed_precision
    assert "Apache-2.0" in info.licence
    assert "CC BY-NC-SA 4.0" in info.licence


@pytest.mark.parametrize("nested", [True, False])
def test_what_the_settings_say_is_believed(read, cellvit_files, nested):
    names = {"Background": 0, "Tumour": 2, "Stroma": 1}
    normalize = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    config = {
        "dataset_config": {"nuclei_types": names},
        "transformations": {"normalize": normalize},
        "training": {"mixed_precision": True},
        "logging": {"run_name": "CellViT-256-x20"},
    }
    if not nested:
        config = {f"dataset_config.nuclei_types.{name}": index for name, index in names.items()}
        config |= {f"transformations.normalize.{name}": values for name, values in normalize.items()}
        config |= {"training.mixed_precision": True, "logging.run_name": "CellViT-256-x20"}
    shapes = cellvit_files.shapes_of(cellvit_files.TINY["CellViT256"], classes=3)
    model, info = read(without_memory(shapes), config=config)
    assert info.class_names == ("background", "stroma", "tumour")
    assert (info.mean, info.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert (info.mpp, info.mixed_precision) == (0.5, True)
    assert "PanNuke" not in info.licence
    torch.testing.assert_close(model.input_mean.flatten(), torch.tensor([0.1, 0.2, 0.3]))


@pytest.mark.parametrize("value", [0.5, "0.5", "0.5 0.5 0.5", [0.5], [0.5, None, 0.5], torch.tensor(0.5), [0.5, 0, 0]])
def test_colours_that_are_no_three_numbers_are_refused(read, cellvit_files, value):
    tensors = without_memory(cellvit_files.shapes_of(cellvit_files.TINY["UNI"]))
    config = {"transformations.normalize.std": value}
    with pytest.raises(
        NucplanError, match=r"cellvit\.pth: its setting 'transformations\.normalize\.std' is no list of"
    ):
        read(tensors, config=config)
    with pytest.raises(NucplanError, match="is no list of three numbers"):
        identify(WeightsFile(FILE, tensors, config=config))


def test_what_predicts_and_what_identifies_read_the_same_of_a_file(read, cellvit_files):
    tensors = without_memory(cellvit_files.shapes_of(cellvit_files.PUBLISHED["SAM-B"][0]))
    config = {"logging.run_name": "CellViT-SAM-B-x20", "transformations.normalize.mean": torch.tensor([0.1, 0.2, 0.3])}
    _, info = read(tensors, config=config)
    (card,) = identify(WeightsFile(FILE, tensors, config=config)).cards
    assert (card.mean, card.std, card.mpp, card.licence) == (info.mean, info.std, info.mpp, info.licence)
    assert info.mpp == 0.5
    assert info.mean == pytest.approx((0.1, 0.2, 0.3))
    assert info.title == "CellViT SAM-B"


def test_a_plain_cellvit_has_the_heads_that_its_settings_say(read, cellvit_files):
    shapes = cellvit_files.shapes_of(cellvit_files.TINY["CellViT256"])
    model, _ = read(without_memory(shapes), arch="CellViT", config={"model.num_heads": 4})
    assert {block.attn.num_heads for block in model.encoder.blocks} == {4}


def test_a_plain_cellvit_that_is_tapped_elsewhere_is_refused(read, cellvit_files):
    tensors = without_memory(cellvit_files.shapes_of(cellvit_files.TINY["CellViT256"]))
    read(tensors, arch="CellViT", config={"model.extract_layers": [1, 2, 3, 4]})
    with pytest.raises(NucplanError, match="reads the blocks 1, 1, 2, 4, not four equal parts of 4; "):
        read(tensors, arch="CellViT", config={"model.extract_layers": [1, 1, 2, 4]})


@pytest.mark.parametrize(
    "content",
    [{"run_name": "CellViT-256-x20"}, {"logdir": "runs/x20/fold"}, {"config": {"data.magnification": "20"}}],
    ids=["name of the run", "folder of the run", "magnification as text"],
)
def test_half_the_magnification_is_told_wherever_it_stands(read, cellvit_files, content):
    tensors = without_memory(cellvit_files.shapes_of(cellvit_files.TINY["CellViT256"]))
    assert read(tensors)[1].mpp == 0.25
    assert read(tensors, **content)[1].mpp == 0.5


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module."])
def test_what_wraps_all_names_is_taken_off(read, cellvit_files, prefix):
    tensors = without_memory(cellvit_files.shapes_of(cellvit_files.TINY["SAM"]))
    model, _ = read({f"{prefix}{name}": tensor for name, tensor in tensors.items()})
    assert model.state_dict().keys() == tensors.keys()
