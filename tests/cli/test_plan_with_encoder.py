"""Planning for a pretrained encoder, from the command to a training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from safetensors.torch import save_file

from nucplan.cli import plan_and_preprocess, train
from nucplan.errors import NucplanError
from nucplan.inference.predictor import load_network
from nucplan.layout import Dataset, known_datasets, resolve_roots
from nucplan.networks.encoders.marker_transformer import MarkerTransformer, rotary_table
from nucplan.networks.encoders.timm_vit import TimmViT
from nucplan.networks.weights import load_encoder_weights
from nucplan.workflow.jobs import plan_hash
from nucplan.workflow.pretrained import Pretrained
from nucplan.workflow.study import Study
from planners.pretrained import EncoderRequest, read_encoder

CHANNELS = ("DAPI", "CD3", "CD4", "CD45RO", "panCK", "Qwrtz")
# 64 px are 128 um.
SIDE, MPP, DIM = 64, 2.0, 16
SETTINGS = ["--device", "cpu", "--set", "network_width=[4,8,8,8,8]"]


def write_weights(path: Path) -> None:
    torch.manual_seed(0)
    made = MarkerTransformer(DIM, 24, 2, "hvhv", (0, 2), 6)
    tensors = {f"encoder.{name}": tensor.clone() for name, tensor in made.state_dict().items()}
    table = rotary_table(1200, DIM // 4)
    for block in (0, 2):
        place = f"encoder.encoder.{block}.encoder_layer.multi_head_attention.pos_emb.rope1d"
        tensors |= {f"{place}.sin": table.sin(), f"{place}.cos": table.cos()}
    save_file(tensors, path)


def case(seed: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Six markers of round cells of two types: channels, classes, instances."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices((SIDE, SIDE))
    instances = np.zeros((SIDE, SIDE), np.int32)
    for number, (row, column) in enumerate(np.argwhere(np.ones((3, 3))) * 20 + 12 + random.uniform(-2, 2, 2), start=1):
        instances[(rows - row) ** 2 + (columns - column) ** 2 < random.uniform(5, 8) ** 2] = number
    classes = np.where(instances > 0, 1 + instances % 2, 0)
    means = [8 * (classes > 0), 5 * (classes == 1), 4 * (classes == 1), 0, 6 * (classes == 2), 0]
    return [random.poisson(0.3 + mean * np.ones_like(classes)).astype(np.uint8) for mean in means], classes, instances


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a raw dataset of six markers, weights and embeddings; read only."""
    folder = tmp_path_factory.mktemp("virtues")
    write_weights(folder / "virtues.safetensors")
    (folder / "embeddings").mkdir()
    for accession in ("P68431", "P07766", "P01730", "P08575", "P02533"):
        torch.save(torch.randn(6), folder / "embeddings" / f"{accession}.pt")
    dataset = Dataset(resolve_roots(folder / "root"), "Dataset001_Markers")
    for kind in ("images", "labels", "instances"):
        dataset.part(kind).mkdir(parents=True)
    for number in range(6):
        channels, classes, instances = case(number)
        for k, plane in enumerate(channels):
            cv2.imwrite(str(dataset.part("images") / f"case{number}_{k:04d}.png"), plane)
        cv2.imwrite(str(dataset.part("labels") / f"case{number}.png"), classes.astype(np.uint8))
        tifffile.imwrite(dataset.part("instances") / f"case{number}.tif", instances.astype(np.uint32))
    content = {
        "channel_names": {str(k): name for k, name in enumerate(CHANNELS)},
        "labels": {"background": 0, "T": 1, "tumour": 2}, "numTraining": 6, "file_ending": ".png",
        "overwrite_image_reader_writer": "NaturalImage2DIO",
        "nuclei": {"mpp": MPP, "markers": CHANNELS, "groups": {f"case{k}": f"case{k}" for k in range(6)}},
    }  # fmt: skip
    dataset.dataset_json.write_text(json.dumps(content))
    return folder


@pytest.fixture
def folder(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, "")
    shutil.copytree(source, tmp_path / "virtues")
    return tmp_path / "virtues"


def plan(folder: Path, *options: str, weights: str = "virtues.safetensors", embeddings: bool = True) -> int:
    root = ["--root", str(folder / "root")]
    encoder = ["--encoder", "virtues", "--weights", str(folder / weights)]
    encoder += ["--marker-embeddings", str(folder / "embeddings")] if embeddings else []
    return plan_and_preprocess.main(["1", *SETTINGS, *root, *encoder, *options])


def dataset_of(folder: Path) -> Dataset:
    return Dataset(resolve_roots(folder / "root"), "Dataset001_Markers")


def test_a_dataset_of_markers_is_planned_and_trained_with_virtues(folder, capsys):
    assert plan(folder, "--set", "patch_size=64") == 0
    told, plans = capsys.readouterr().out, json.loads(dataset_of(folder).plans().read_text())
    assert "'Qwrtz': no known marker has this name" in told
    assert "P08575-4" in told
    decided = {name: one["value"] for name, one in plans["nucplan"]["decisions"].items()}
    assert decided["encoder"] == {"name": "virtues", "depth": 4, "frozen": True, "taps": [0, 1, 2, 3]}
    assert {(rule["clip"], rule["log"]) for rule in decided["marker_normalization"]} == {("image_q99", True)}
    options = plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["encoder_options"]
    assert options["markers"] == ["P68431", "P07766", "P01730", "P08575", "P02533", None]
    assert options["mpp"] == MPP / decided["scale"]
    assert len(plans["nucplan"]["contract"]["deviations"]) == 2
    assert plans["nucplan"]["contract"]["broken"] == []

    # The plan has what it needs of the embeddings.
    shutil.rmtree(folder / "embeddings")
    root = ["--root", str(folder / "root")]
    assert train.main(["1", "0", "--iterations", "60", "--config", "baseline", "--device", "cpu", *root]) == 0
    (fold,) = dataset_of(folder).results.glob("*/fold_0")
    history = torch.load(fold / "checkpoint_final.pth", weights_only=True)["history"]
    losses = [epoch["loss"] for epoch in history]
    assert losses[-1] < losses[0]

    # The checkpoint has the table, and the encoder is the file's to the last bit.
    (folder / "virtues.safetensors").unlink()
    network = load_network(fold / "checkpoint_final.pth", torch.device("cpu"))
    assert network(torch.randn(1, 6, 64, 64)).isfinite().all()
    write_weights(folder / "again.safetensors")
    trained = {name: tensor.clone() for name, tensor in network.encoder.vit.state_dict().items()}
    load_encoder_weights(network.encoder, folder / "again.safetensors")
    assert all(torch.equal(tensor, trained[name]) for name, tensor in network.encoder.vit.state_dict().items())


def test_a_patch_without_context_is_refused_unless_the_contract_is_broken(folder, capsys):
    assert plan(folder, "--set", "patch_size=32") == 2
    assert "A patch of 32 px shows 64 um" in capsys.readouterr().err
    assert not dataset_of(folder).plans().exists()
    assert plan(folder, "--set", "patch_size=32", "--break-contract") == 0
    assert "A patch of 32 px shows 64 um" in capsys.readouterr().out
    (broken,) = json.loads(dataset_of(folder).plans().read_text())["nucplan"]["contract"]["broken"]
    assert "A patch of 32 px" in broken


def test_a_table_of_the_user_names_a_marker(folder):
    (folder / "mine.csv").write_text("name,uniprot\nQwrtz,P08575\n")
    files = folder / "virtues.safetensors", folder / "embeddings", folder / "mine.csv"
    found = read_encoder(EncoderRequest("virtues", *files), len(CHANNELS), CHANNELS)
    assert found.markers.accessions[5] == "P08575"


def test_channels_without_any_embedding_are_refused(folder):
    request = EncoderRequest("virtues", folder / "virtues.safetensors", folder / "embeddings")
    with pytest.raises(NucplanError, match="None of the channels"):
        read_encoder(request, 2, ("Qwrtz", "CD8"))


@pytest.mark.parametrize("dimension", [5, 640])
def test_embeddings_of_another_model_are_refused(folder, capsys, dimension):
    for path in (folder / "embeddings").iterdir():
        torch.save(torch.ones(dimension), path)
    assert plan(folder) == 2
    assert f"embeddings of {dimension} numbers" in capsys.readouterr().err


def test_embeddings_are_asked_for(folder, capsys):
    assert plan(folder, embeddings=False) == 2
    assert "--marker-embeddings" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [["--encoder", "virtues"], ["--weights", "w.pth"], ["--marker-table", "t.csv"], ["--break-contract"]],
)
def test_options_of_an_encoder_go_together(folder, capsys, options):
    assert plan_and_preprocess.main(["1", "--root", str(folder / "root"), *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_colours_are_no_markers(root, source, capsys):
    options = ["--weights", str(source / "virtues.safetensors"), "--marker-embeddings", str(source / "embeddings")]
    assert plan_and_preprocess.main(["1", "--root", str(root), *SETTINGS, "--encoder", "virtues", *options]) == 2
    assert "not on the colours of H&E" in capsys.readouterr().err


def test_training_says_to_plan_with_it(root, source, capsys):
    options = ["--encoder", "virtues", "--weights", str(source / "virtues.safetensors")]
    assert train.main(["1", "0", "--root", str(root), "--iterations", "2", *options]) == 2
    assert "plan with it: nucplan_plan_and_preprocess" in capsys.readouterr().err


def test_an_encoder_of_colours_is_planned_with_its_weights(root, tmp_path, capsys):
    save_file(TimmViT("vit_tiny_patch16_224", 3).vit.state_dict(), tmp_path / "tiny.safetensors")
    options = ["--encoder", "vit_tiny_patch16_224", "--weights", str(tmp_path / "tiny.safetensors")]
    common = ["--root", str(root), "--device", "cpu"]
    assert plan_and_preprocess.main(["1", *SETTINGS, *common, *options, "--set", "patch_size=64"]) == 0
    (path,) = (root / "nnUNet_preprocessed").glob("*/nucplanPlans.json")
    plans = json.loads(path.read_text())
    architecture = plans["configurations"]["2d"]["architecture"]["arch_kwargs"]
    assert (architecture["encoder_frozen"], architecture["encoder_taps"]) == (True, [2, 5, 8, 11])
    assert max(architecture["input_mean"]) > 1
    assert plans["nucplan"]["decisions"]["normalization"]["value"] == ["NoNormalization"] * 3
    assert train.main(["1", "1", "--iterations", "2", "--encoder", "vit_small_patch16_224", *common]) == 2
    assert "planned for the weights of vit_tiny_patch16_224" in capsys.readouterr().err


def test_a_benchmark_that_plans_again_gives_the_same_plan_with_the_same_encoder(folder):
    assert plan(folder, "--set", "patch_size=32", "--break-contract") == 0
    dataset = dataset_of(folder)
    before = plan_hash(dataset.plans())
    planning = Study((dataset,), {}, folder, device="cpu", root=str(folder / "root")).jobs()[0]
    program, *words = planning.command
    assert program == "nucplan_plan_and_preprocess"
    assert plan_and_preprocess.main(words) == 0
    assert plan_hash(dataset.plans()) == before
    assert Pretrained.of_plan(json.loads(dataset.plans().read_text())).break_contract


def test_a_benchmark_that_plans_for_an_encoder_first_finds_what_planning_made(tiny_root, tmp_path):
    shutil.copytree(tiny_root / "nnUNet_raw", tmp_path / "nnUNet_raw")
    save_file(TimmViT("vit_tiny_patch16_224", 3).vit.state_dict(), tmp_path / "tiny.safetensors")
    (dataset,) = known_datasets(resolve_roots(tmp_path))
    asked = Pretrained.of_request(EncoderRequest("vit_tiny_patch16_224", tmp_path / "tiny.safetensors"))
    encoders = {dataset.folder_name: asked}
    planning = Study((dataset,), {}, tmp_path, device="cpu", root=str(tmp_path), encoders=encoders).jobs()[0]
    assert plan_and_preprocess.main([*planning.command[1:], "--set", "patch_size=64", *SETTINGS[2:]]) == 0
    assert planning.done
