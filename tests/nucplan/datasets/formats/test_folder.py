"""How the plain format reads label maps; its checks are in test_conversion."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from nucplan.datasets.against_source import partition_difference
from nucplan.datasets.conversion import Wishes, write_raw
from nucplan.datasets.formats import folder
from nucplan.datasets.reservation import new_dataset
from nucplan.errors import NucplanError
from nucplan.images import read_image, read_label_map, write_image, write_label_map
from nucplan.layout import Roots

from ..touching import CLASS_OF, label_map


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_image(tmp_path / "images" / "a.png", np.full((*label_map().shape, 3), 90, np.uint8))
    (tmp_path / "labels").mkdir()
    return tmp_path


def with_lines(labels: np.ndarray) -> np.ndarray:
    """``labels`` without the pixels that meet another nucleus to the right, below or at a corner."""
    kept = labels.copy()
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        other = np.roll(labels, (-dy, -dx), (0, 1))
        kept[(other > 0) & (other != labels)] = 0
    return kept


def test_colours_are_ids_of_24_bits(source: Path, written):
    ids = label_map().astype(np.int32)
    # These two differ in green and blue alone, and both wrap around in 8 bits.
    ids[ids == 3], ids[ids == 7] = 256, 65536
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
    write_image(source / "labels" / "a.png", rgb)
    with pytest.raises(NucplanError, match=r"a\.png is a colour picture"):
        folder.read(source).cases[0].load()
    np.testing.assert_array_equal(folder.read(source, labels="rgb").cases[0].load().instances, ids)
    assert partition_difference(written(folder.read(source, labels="rgb")).instances("a"), label_map()) is None


def test_ids_in_a_grey_file_are_not_read_as_colours(source: Path):
    write_image(source / "labels" / "a.png", label_map())
    with pytest.raises(NucplanError, match=r"a\.png is no RGB picture .* leave labels=rgb out"):
        folder.read(source, labels="rgb").cases[0].load()


def test_pieces_of_black_and_white_masks_are_nuclei(source: Path, written):
    parted = with_lines(label_map())
    write_image(source / "labels" / "a.png", (parted > 0).astype(np.uint8) * 255)
    with pytest.raises(NucplanError, match=r"a\.png has one id, 255.*--set labels=binary"):
        folder.read(source).cases[0].load()
    assert partition_difference(written(folder.read(source, labels="binary")).instances("a"), parted) is None


def test_ids_are_not_read_as_binary_and_class_tables_need_ids(source: Path):
    write_image(source / "labels" / "a.png", label_map())
    with pytest.raises(NucplanError, match=r"a\.png holds 3 values besides 0"):
        folder.read(source, labels="binary").cases[0].load()
    (source / "classes").mkdir()
    (source / "classes" / "a.json").write_text("{}")
    with pytest.raises(NucplanError, match=r"classes names ids, which binary masks do not have"):
        folder.read(source, labels="binary")


def test_of_a_palette_the_indices_are_the_ids(source: Path):
    indices = np.searchsorted([0, *CLASS_OF], label_map()).astype(np.uint8)
    picture = Image.fromarray(indices, mode="P")
    # Two entries of one colour: read as colours, two touching nuclei would be one.
    picture.putpalette([0, 0, 0, 255, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(source / "labels" / "a.png")
    assert partition_difference(folder.read(source).cases[0].load().instances, label_map()) is None


def test_grey_label_maps_may_carry_alpha(source: Path):
    grey = np.where(label_map() == 300, 4, label_map()).astype(np.uint8)
    cv2.imwrite(str(source / "labels" / "a.png"), np.dstack([grey] * 3 + [np.full_like(grey, 255)]))
    assert partition_difference(folder.read(source).cases[0].load().instances, label_map()) is None


def test_images_with_faults_can_be_skipped(source: Path, roots: Roots):
    for stem in "abc":
        write_image(source / "images" / f"{stem}.png", np.full((*label_map().shape, 3), 90, np.uint8))
    for stem in "bcd":
        write_label_map(source / "labels" / f"{stem}.tif", label_map())
    (source / "classes").mkdir()
    (source / "classes" / "b.json").write_text("[1]")
    (source / "classes" / "c.json").write_text('{"3": 1, "7": 2, "300": 1}')
    done = write_raw(folder.read(source), new_dataset(roots, 1, "Few"), Wishes(skip_bad=True))
    assert list(done.record.images) == ["c"]
    expected = [r"a\.png has no label map", r"d\.tif has no image", r"b\.json must be one JSON object"]
    assert all(re.search(a, b) for a, b in zip(expected, done.record.skipped, strict=True))


def test_real_masks_with_lines_come_back_piece_by_piece(shared_data: Path, tmp_path: Path):
    for stem in ("01_1", "04_6"):
        labels = read_label_map(shared_data / "tnbc" / "labels" / f"{stem}.png")
        write_image(tmp_path / "images" / f"{stem}.png", read_image(shared_data / "tnbc" / "images" / f"{stem}.png"))
        write_image(tmp_path / "masks" / f"{stem}.png", (labels > 0).astype(np.uint8) * 255)
    for case in folder.read(tmp_path, labels="binary").cases:
        expected = read_label_map(shared_data / "tnbc" / "labels" / f"{case.name}.png")
        assert partition_difference(case.load().instances, expected) is None
