"""A CellViT finds the nuclei of pictures of any size and depth, in tiles, mirrored or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nucplan.checkpoints import save_checkpoint
from nucplan.errors import NucplanError
from nucplan.files import file_hash
from nucplan.images import write_image
from nucplan.inference import cellvit
from nucplan.inference.cellvit import CellViTPredictor
from nucplan.inference.folders import predict_images
from nucplan.inference.pixel_size import predict_at_scale
from nucplan.networks.cellvit.checkpoint import CellViTInfo
from nucplan.networks.cellvit.model import CellViTMaps

CPU = torch.device("cpu")
RADIUS = 9.0
INFO = CellViTInfo("CellViT256", "CellViT 256", ("background", "a", "b"), (0.5,) * 3, (0.5,) * 3, 0.25, "free", True)


class Domes(nn.Module):
    """Reads nuclei drawn as domes: its HV maps are the slope of the red channel, the class is blue or not."""

    def __init__(self, largest_side: int | None = None) -> None:
        super().__init__()
        self.largest_side, self.seen = largest_side, []

    def maps(self, images: Tensor) -> CellViTMaps:
        self.seen.append(tuple(images.shape))
        red, blue = images[:, :1], images[:, 2:] > 0.5
        padded = functional.pad(red, (1, 1, 1, 1), mode="replicate")
        hv = [padded[:, :, 1:-1, :-2] - padded[:, :, 1:-1, 2:], padded[:, :, :-2, 1:-1] - padded[:, :, 2:, 1:-1]]
        inside = red > 0.2
        logits = [torch.where(there, 9.0, -9.0) for there in (~inside, inside, inside & ~blue, inside & blue)]
        # A dome of height 0.7 falls by 1.4 r / R^2 per pixel at the distance r, and over two pixels by twice that.
        return CellViTMaps(
            torch.cat(logits[:2], 1), torch.cat(hv, 1) * RADIUS / 2.8, torch.cat([logits[0], *logits[2:]], 1)
        )


def domes(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """RGB picture of domes that touch in pairs, and their label map; every third is of the blue class."""
    labels, picture = np.zeros((height, width), np.int32), np.zeros((height, width, 3))
    rows, columns = np.indices((height, width))
    centres = [(y, x + side) for y in range(15, height - 10, 26) for x in range(22, width - 20, 46) for side in (-8, 8)]
    for number, (y, x) in enumerate(centres, start=1):
        heights = 1 - 0.7 * ((rows - y) ** 2 + (columns - x) ** 2) / RADIUS**2
        here = (heights > 0.3) & (heights > picture[..., 0])
        labels[here], picture[here, 0] = number, heights[here]
        picture[here, 2] = number % 3 == 0
    return (picture * 255).round().astype(np.uint8), labels


def predictor(network: nn.Module | None = None, mirror: bool = False) -> CellViTPredictor:
    return CellViTPredictor(network or Domes(), INFO, CPU, mirror)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cellvit, "LARGEST_TILE", 64)
    monkeypatch.setattr(cellvit, "OVERLAP", 16)
    monkeypatch.setattr(cellvit, "PIXELS_PER_PASS", 2 * 64**2)


def assert_same_nuclei(found: np.ndarray, expected: np.ndarray, overlap: float = 0.8) -> None:
    assert found.shape == expected.shape
    assert found.max() == len(np.unique(expected)) - 1
    for number in np.unique(expected)[1:]:
        other = np.bincount(found[expected == number]).argmax()
        both = (expected == number) & (found == other)
        assert other > 0
        assert both.sum() > overlap * ((expected == number) | (found == other)).sum()


@pytest.mark.parametrize("size", [(37, 61), (200, 90), (128, 230)])
@pytest.mark.parametrize("mirror", [False, True])
def test_nuclei_of_any_picture_are_found_with_their_classes_in_tiles(small_tiles, size, mirror):
    picture, labels = domes(*size)
    found = predictor(mirror=mirror)(picture)
    assert_same_nuclei(found.labels, labels)
    middle = np.round(found.table.centroid).astype(int)
    np.testing.assert_array_equal(found.table.class_id, np.where(labels[tuple(middle.T)] % 3 == 0, 2, 1))


def test_mirroring_turns_the_maps_back_with_their_signs(small_tiles):
    picture, _ = domes(70, 100)
    plain, mirrored = predictor().maps(picture), predictor(mirror=True).maps(picture)
    assert np.abs(plain.hv.astype(np.float32)).max() > 0.8
    for one, other in zip(plain, mirrored, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)


def test_a_vertical_slope_is_in_the_second_map():
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[..., 0] = 250 - 4 * np.arange(40)[:, None]
    horizontal, vertical = predictor().maps(picture).hv
    assert not horizontal.any()
    assert (vertical[1:-1] > 0.05).all()


def test_sixteen_bits_are_the_same_picture():
    picture, _ = domes(60, 80)
    found, deep = predictor()(picture), predictor()(picture.astype(np.uint16) * 257)
    np.testing.assert_array_equal(found.labels, deep.labels)


@pytest.mark.parametrize(("largest", "longest"), [(None, 64), (32, 32)])
def test_no_forward_pass_holds_more_than_is_allowed(small_tiles, largest, longest):
    network = Domes(largest)
    predictor(network)(domes(150, 400)[0])
    assert max(max(shape[2:]) for shape in network.seen) == longest
    assert max(shape[0] * shape[2] * shape[3] for shape in network.seen) <= 2 * 64**2


def test_a_small_picture_is_not_blown_up_to_a_whole_tile():
    network = Domes()
    predictor(network)(domes(100, 70)[0])
    assert network.seen == [(1, 3, 112, 80)]


def test_what_overflows_in_mixed_precision_is_computed_again_in_single(monkeypatch):
    class Narrow(Domes):
        def maps(self, images: Tensor) -> CellViTMaps:
            maps = super().maps(images)
            return maps._replace(hv=maps.hv * torch.inf) if torch.is_autocast_enabled("cpu") else maps

    monkeypatch.setattr("nucplan.inference.tiles.mixed_precision", lambda _: torch.autocast("cpu", torch.bfloat16))
    picture, labels = domes(60, 80)
    assert_same_nuclei(predictor(Narrow())(picture).labels, labels)


@pytest.mark.parametrize(("trained_so", "seen"), [(True, True), (None, True), (False, False)])
def test_a_network_that_was_trained_in_single_precision_is_run_so(monkeypatch, trained_so, seen):
    class Asking(Domes):
        def maps(self, images: Tensor) -> CellViTMaps:
            self.mixed = torch.is_autocast_enabled("cpu")
            return super().maps(images)

    monkeypatch.setattr("nucplan.inference.tiles.mixed_precision", lambda _: torch.autocast("cpu", torch.bfloat16))
    network = Asking()
    CellViTPredictor(network, replace(INFO, mixed_precision=trained_so), CPU).maps(domes(60, 80)[0])
    assert network.mixed is seen


@pytest.mark.parametrize(
    ("factor", "dtype", "told"),
    [(1, np.uint16, "8-bit"), (16, np.uint16, "12-bit"), (257, np.uint16, None), (1, np.uint8, None)],
)
def test_eight_or_twelve_bits_in_sixteen_are_told(tmp_path: Path, factor, dtype, told):
    path, notes = tmp_path / "in" / "domes.png", []
    write_image(path, domes(60, 80)[0].astype(dtype) * dtype(factor))
    predict_images(predictor(), {"domes": path}, tmp_path / "out", note=notes.append)
    assert [f"{path} looks like {told} content in 16 bits" in note for note in notes] == [True] * (told is not None)


def test_a_picture_at_another_pixel_size_keeps_its_size():
    picture, labels = domes(120, 150)
    half = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    found = predict_at_scale(predictor(), half, 2.0)
    assert_same_nuclei(found.labels, cv2.resize(labels, (75, 60), interpolation=cv2.INTER_NEAREST), 0.6)


@pytest.mark.parametrize("shape", [(30, 30), (30, 30, 1), (30, 30, 4)])
def test_a_picture_that_is_not_rgb_is_refused(shape):
    with pytest.raises(NucplanError, match="takes RGB"):
        predictor()(np.zeros(shape, np.uint8))


def test_a_picture_without_nuclei_has_none():
    found = predictor()(np.zeros((20, 30, 3), np.uint8))
    assert len(found.table) == 0
    assert found.table.class_probabilities.shape == (0, 2)


def test_a_file_is_recorded_by_its_hash_and_its_numbers(tmp_path: Path, monkeypatch):
    (tmp_path / "weights.pth").write_bytes(b"weights")
    monkeypatch.setattr(cellvit, "read_cellvit", lambda path: (Domes().train(), INFO))
    loaded = CellViTPredictor.from_file(tmp_path / "weights.pth", CPU, mirror=True)
    assert not loaded.network.training
    assert loaded.record["weights"] == file_hash(tmp_path / "weights.pth")
    assert loaded.record["mirror"] is True
    assert loaded.record["decoder"]["kernel"] == loaded.plan.kernel == 9
    assert (loaded.class_names, loaded.channels, loaded.mpp, len(loaded.networks)) == (("a", "b"), 3, 0.25, 1)


def test_a_fold_of_nucplan_is_refused_with_the_way_out(tmp_path: Path):
    path = tmp_path / "checkpoint_final.pth"
    save_checkpoint({"network_kwargs": {}, "network_weights": {"stem.weight": torch.zeros(1)}}, path)
    with pytest.raises(
        NucplanError, match=r"checkpoint_final\.pth is one fold that nucplan trained.* dataset as MODEL"
    ):
        CellViTPredictor.from_file(path, CPU)


def test_another_file_is_refused_by_the_reader(tmp_path: Path):
    torch.save({"state_dict": {"fc.weight": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(NucplanError, match=r"other\.pth is no CellViT"):
        CellViTPredictor.from_file(tmp_path / "other.pth", CPU)
