from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from nucplan.datasets.against_source import partition_difference
from nucplan.datasets.checks import checked
from nucplan.datasets.formats import stardist
from nucplan.errors import NucplanError
from nucplan.images import read_image, read_label_map, write_image

from ..touching import label_map


def add(folder: Path, stem: str, image: np.ndarray, labels: np.ndarray) -> None:
    for name, pixels in (("images", image), ("masks", labels.astype(np.uint16))):
        (folder / name).mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(folder / name / f"{stem}.tif", pixels)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    image = np.full(label_map().shape, 7, np.uint8)
    add(tmp_path / "dsb2018" / "train", "a", image, label_map())
    add(tmp_path / "dsb2018" / "test", "b", image, label_map())
    return tmp_path


def test_the_test_folder_becomes_the_test_part(source: Path, written):
    raw = written(stardist.read(source))
    assert (raw.cases("Tr"), raw.cases("Ts")) == (["a"], ["b"])
    assert partition_difference(raw.instances("a"), label_map()) is None
    assert partition_difference(raw.instances("b", "Ts"), label_map()) is None
    assert raw.image("a").shape == label_map().shape


def test_one_pair_of_folders_is_understood_too(source: Path):
    cases = stardist.read(source / "dsb2018" / "train").cases
    assert [(case.name, case.part) for case in cases] == [("a", "Tr")]


def test_two_unpacked_copies_are_not_guessed_between(source: Path):
    shutil.copytree(source / "dsb2018", source / "dsb2018 (1)")
    with pytest.raises(NucplanError, match=r"dsb2018 and .*dsb2018 \(1\) both hold"):
        stardist.read(source)


def test_bad_sources_are_refused_by_name(source: Path):
    train = source / "dsb2018" / "train"
    write_image(train / "masks" / "a.png", np.isin(label_map(), (3, 300)).astype(np.uint8) * 255)
    (train / "masks" / "a.tif").unlink()
    with pytest.raises(NucplanError, match=r"a\.png has one id, 255, in .* pieces"):
        stardist.read(source).cases[0].load()
    (train / "masks" / "a.png").unlink()
    assert "a.tif has no label map" in stardist.read(source).faults[0]
    (train / "masks").rmdir()
    with pytest.raises(NucplanError, match="train has no folder 'masks'"):
        stardist.read(source)
    with pytest.raises(NucplanError, match="holds no images or train/images"):
        stardist.read(train / "images")


def test_stems_that_are_in_both_parts_get_the_part_in_their_names(source: Path):
    add(source / "dsb2018" / "test", "a", np.full(label_map().shape, 9, np.uint8), label_map())
    found = {case.name: (case.part, int(case.load().image[0, 0])) for case in stardist.read(source).cases}
    assert found == {"train_a": ("Tr", 7), "test_a": ("Ts", 9), "test_b": ("Ts", 7)}


def test_a_mask_of_another_size_is_refused_by_name(source: Path):
    tifffile.imwrite(source / "dsb2018" / "train" / "masks" / "a.tif", label_map()[:-1])
    found = stardist.read(source)
    with pytest.raises(NucplanError, match=r"images/a\.tif is 32 x 40 pixels and its label map 31 x 40"):
        checked(found.cases[0], found)


def test_a_truncated_image_is_refused_by_name(source: Path):
    path = source / "dsb2018" / "train" / "images" / "a.tif"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(NucplanError, match=r"images/a\.tif is damaged"):
        stardist.read(source).cases[0].load()


def test_real_images_come_back_nucleus_by_nucleus(shared_data: Path, tmp_path: Path):
    real = shared_data / "dsb2018_fluo"
    stems = sorted(path.stem for path in (real / "images").iterdir())[:3]
    for stem in stems:
        image, labels = (real / kind / f"{stem}.png" for kind in ("images", "labels"))
        add(tmp_path, stem, read_image(image), read_label_map(labels))
    for case in stardist.read(tmp_path).cases:
        found = case.load()
        assert partition_difference(found.instances, read_label_map(real / "labels" / f"{case.name}.png")) is None
        np.testing.assert_array_equal(found.image, read_image(real / "images" / f"{case.name}.png"))
