from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from nucplan.datasets.against_source import partition_difference
from nucplan.datasets.formats import cellpose
from nucplan.errors import NucplanError
from nucplan.images import read_image, read_label_map, write_image, write_label_map

from ..touching import Intruder, label_map


def grey() -> np.ndarray:
    return np.where(label_map() > 0, 200, 20).astype(np.uint8)


def segmentation(path: Path, masks: np.ndarray, **more: object) -> None:
    """What Cellpose saves, flows and all."""
    content = {
        "outlines": np.zeros_like(masks),
        "masks": masks,
        "chan_choose": [0, 0],
        "ismanual": np.zeros(3, bool),
        "filename": "somewhere/x.tif",
        "flows": [np.zeros((2, 2)), [], None],
        "diameter": np.float32(30.0),
    }
    np.save(path, content | more, allow_pickle=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """``a`` with masks, flows and outlines, ``b`` with what Cellpose wrote, ``c`` with its own file alone."""
    for stem in "abc":
        tifffile.imwrite(tmp_path / f"{stem}.tif", grey())
    write_image(tmp_path / "a_masks.png", label_map())
    tifffile.imwrite(tmp_path / "a_flows.tif", np.zeros((3, 4, 4), np.float32))
    write_image(tmp_path / "a_outlines.png", grey())
    write_image(tmp_path / "b_cp_masks.png", label_map())
    segmentation(tmp_path / "c_seg.npy", label_map())
    return tmp_path


def test_masks_are_found_in_every_form_and_flows_are_no_images(source: Path, written):
    raw = written(cellpose.read(source))
    assert raw.cases() == ["a", "b", "c"]
    for case in raw.cases():
        assert partition_difference(raw.instances(case), label_map()) is None
        np.testing.assert_array_equal(raw.image(case), grey())


def test_of_several_masks_tif_comes_first_and_ones_own_before_cellposes(source: Path):
    write_label_map(source / "a_masks.tif", np.roll(label_map(), 1, axis=0))
    write_image(source / "a_cp_masks.png", np.zeros_like(label_map()))
    found = cellpose.read(source).cases[0].load()
    np.testing.assert_array_equal(found.instances, np.roll(label_map(), 1, axis=0))


def test_names_may_end_otherwise_and_test_is_the_test_part(tmp_path: Path, written):
    for part, stem in (("train", "000"), ("test", "100")):
        write_image(tmp_path / part / f"{stem}_img.png", np.dstack([grey()] * 3))
        write_image(tmp_path / part / f"{stem}_nuclei.png", label_map())
        write_image(tmp_path / part / f"{stem}_overview.png", grey())
    raw = written(cellpose.read(tmp_path, img_filter="_img", mask_filter="_nuclei"))
    assert (raw.cases("Tr"), raw.cases("Ts")) == (["000"], ["100"])
    assert partition_difference(raw.instances("100", "Ts"), label_map()) is None


def test_stems_that_are_in_both_parts_get_the_part_in_their_names(tmp_path: Path, written):
    for part in ("train", "test"):
        write_image(tmp_path / part / "000_img.png", grey())
        write_image(tmp_path / part / "000_masks.png", label_map())
    raw = written(cellpose.read(tmp_path, img_filter="_img"))
    assert (raw.cases("Tr"), raw.cases("Ts")) == (["train_000"], ["test_000"])


def test_an_empty_end_of_masks_is_refused(source: Path):
    with pytest.raises(NucplanError, match="mask_filter is empty"):
        cellpose.read(source, mask_filter="")


def test_cellposes_own_file_can_be_chosen(source: Path):
    moved = np.roll(label_map(), 2, axis=1)
    segmentation(source / "a_seg.npy", moved)
    segmentation(source / "b_seg.npy", moved)
    for case in cellpose.read(source, mask_filter="_seg.npy").cases[:2]:
        np.testing.assert_array_equal(case.load().instances, moved)


def test_a_pickle_that_would_make_a_file_does_not_run_unless_trusted(source: Path, tmp_path: Path):
    trap = tmp_path / "made_by_the_pickle"
    segmentation(source / "c_seg.npy", label_map(), model_path=Intruder(trap))
    with pytest.raises(NucplanError, match=r"c_seg\.npy holds a pickle that wants to run .*--trust"):
        cellpose.read(source).cases[2].load()
    assert not trap.exists()
    cellpose.read(source, trust=True).cases[2].load()
    assert trap.exists()


def test_planes_of_a_stack_become_channels_in_their_order(tmp_path: Path, written):
    planes = np.stack([grey(), 255 - grey()])
    for stem, photometric in (("a", "minisblack"), ("b", "minisblack")):
        tifffile.imwrite(tmp_path / f"{stem}.tif", planes, photometric=photometric)
        write_label_map(tmp_path / f"{stem}_masks.tif", label_map())
    raw = written(cellpose.read(tmp_path))
    assert raw.info.markers == ("channel_1", "channel_2")
    np.testing.assert_array_equal(raw.image("a"), np.moveaxis(planes, 0, -1))
    tifffile.imwrite(tmp_path / "b.tif", np.concatenate([planes, planes[:1]]), photometric="minisblack")
    assert "b.tif has 3 planes, but others have 2" in cellpose.read(tmp_path).faults[0]


def test_what_is_missing_is_named(source: Path, tmp_path: Path):
    (source / "a_masks.png").unlink()
    found = cellpose.read(source)
    assert re.search(r"a\.tif has no a_masks\.tif, \.tiff or \.png; add it", found.faults[0])
    assert [case.name for case in found.cases] == ["b", "c"]
    (source / "b.tif").unlink()
    (source / "c.tif").unlink()
    faults = " ".join(cellpose.read(source).faults)
    assert re.search(r"b_cp_masks\.png has no image b\.tif.*c_seg\.npy has no image c\.tif", faults)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NucplanError, match=r"holds no image; expected are <x>\.tif"):
        cellpose.read(tmp_path / "empty")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"outlines": 1}, "holds no dict with an array 'masks'"),
        ({"masks": np.zeros((3, 4, 4), np.uint16)}, r"masks of shape \(3, 4, 4\)"),
        (np.zeros((4, 4)), "holds no dict"),
    ],
)
def test_a_segmentation_of_another_form_is_refused_by_name(source: Path, content: object, message: str):
    np.save(source / "c_seg.npy", content, allow_pickle=True)
    with pytest.raises(NucplanError, match=rf"c_seg\.npy .*{message}"):
        cellpose.read(source).cases[2].load()


def test_a_truncated_segmentation_is_refused_by_name(source: Path):
    path = source / "c_seg.npy"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(NucplanError, match=r"c_seg\.npy is damaged"):
        cellpose.read(source).cases[2].load()


def test_real_images_come_back_nucleus_by_nucleus(shared_data: Path, tmp_path: Path):
    real = shared_data / "dsb2018_fluo"
    first, second = sorted(path.stem for path in (real / "images").iterdir())[:2]
    for stem in (first, second):
        tifffile.imwrite(tmp_path / f"{stem}.tif", read_image(real / "images" / f"{stem}.png"))
    write_label_map(tmp_path / f"{first}_masks.tif", read_label_map(real / "labels" / f"{first}.png"))
    segmentation(tmp_path / f"{second}_seg.npy", read_label_map(real / "labels" / f"{second}.png").astype(np.uint16))
    for case in cellpose.read(tmp_path).cases:
        assert partition_difference(case.load().instances, read_label_map(real / "labels" / f"{case.name}.png")) is None


def test_float_stacks_get_one_factor_per_plane(tmp_path: Path):
    stack = np.stack([label_map() > 0, label_map() > 3]).astype(np.float32) / 4
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    write_label_map(tmp_path / "a_masks.tif", label_map())
    found = cellpose.read(tmp_path)
    assert "channel_1 by 262140, channel_2 by 262140" in found.remarks[0]
    assert found.cases[0].load().image.max() == 65_535
