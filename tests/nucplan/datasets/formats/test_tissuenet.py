from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nucplan.datasets.formats import tissuenet
from nucplan.errors import NucplanError

from ..touching import HEIGHT, WIDTH, Intruder, assert_same_nuclei, label_map

META = np.array([["filename", "specimen"], ["a.tif", "Breast"], ["a.tif", "Breast"]], object)


def cells() -> np.ndarray:
    """Two whole cells, larger than the nuclei in them; other ids than those of the nuclei."""
    labels = np.zeros((HEIGHT, WIDTH), np.int32)
    labels[2:16, 3:22], labels[18:30, 23:39] = 5, 6
    return labels


def save(folder: Path, split: str, scale: float = 1, **changed: np.ndarray) -> Path:
    images = np.random.default_rng(len(split)).integers(0, 1000, (2, HEIGHT, WIDTH, 2)).astype(np.float32) * scale
    labels = np.stack([np.dstack([cells(), label_map()])] * 2)
    content = {"X": images, "y": labels, "meta": META} | changed
    np.savez_compressed(folder / f"tissuenet_v1.1_{split}.npz", **content)
    return folder


def test_the_first_plane_holds_whole_cells_and_the_second_nuclei(tmp_path: Path):
    source = tissuenet.read(save(tmp_path, "train"))
    assert source.class_names == ("nucleus",)
    assert_same_nuclei(source.cases[1].load(), label_map(), {3: 1, 7: 1, 300: 1})
    source = tissuenet.read(tmp_path, target="whole-cell")
    assert source.class_names == ("cell",)
    assert_same_nuclei(source.cases[0].load(), cells(), {5: 1, 6: 1})


def test_test_is_the_test_part_and_crops_of_one_field_are_one_group(tmp_path: Path):
    for split in ("train", "val", "test"):
        save(tmp_path, split)
    source = tissuenet.read(tmp_path)
    assert {case.name: case.part for case in source.cases} == {
        f"{split}_{i:05d}": "Ts" if split == "test" else "Tr" for split in ("test", "train", "val") for i in (0, 1)
    }
    assert set(source.groups.values()) == {"a.tif"}


def test_the_two_pixel_sizes_of_val_are_told(tmp_path: Path):
    assert tissuenet.read(save(tmp_path, "train")).remarks == ()
    assert tissuenet.read(save(tmp_path, "val")).remarks == (tissuenet.TWO_PIXEL_SIZES,)


def test_without_fields_the_user_is_told_that_groups_are_unknown(tmp_path: Path):
    np.savez(
        tmp_path / "tissuenet_v1.0_train.npz",
        **dict(np.load(save(tmp_path, "val", meta=META[:, 1:]) / "tissuenet_v1.1_val.npz", allow_pickle=True)),
    )
    source = tissuenet.read(tmp_path)
    assert source.groups is None
    assert source.remarks == (tissuenet.TWO_PIXEL_SIZES, tissuenet.NO_GROUPS)


def test_whole_intensities_stay_and_fractions_keep_the_scale_between_images(tmp_path: Path):
    images = [case.load().image for case in tissuenet.read(save(tmp_path, "train")).cases]
    np.testing.assert_array_equal(images[0], np.load(tmp_path / "tissuenet_v1.1_train.npz")["X"][0])
    save(tmp_path, "train", scale=0.001)
    source = tissuenet.read(save(tmp_path, "test", scale=0.003))
    assert "nuclear by" in source.remarks[0]
    stored = np.concatenate([np.load(tmp_path / f"tissuenet_v1.1_{s}.npz")["X"] for s in ("test", "train")])
    loaded = np.stack([case.load().image for case in source.cases])
    for channel in (0, 1):
        factor = 65535 / stored[..., channel].max()
        np.testing.assert_allclose(loaded[..., channel], stored[..., channel] * factor, atol=0.51)


def test_a_converted_set_has_a_file_per_marker(tmp_path: Path, written):
    source = tissuenet.read(save(tmp_path, "train"))
    raw = written(source)
    assert raw.info.markers == ("nuclear", "membrane")
    assert [path.name for path in raw.image_paths("train_00001")] == ["train_00001_0000.png", "train_00001_0001.png"]
    np.testing.assert_array_equal(raw.image("train_00001"), source.cases[1].load().image)


def test_meta_that_would_run_code_is_refused_unless_trusted(tmp_path: Path):
    save(tmp_path, "train", meta=np.array([[Intruder(tmp_path / "made")]], object))
    with pytest.raises(NucplanError, match=r"train\.npz holds a pickle .* --trust"):
        tissuenet.read(tmp_path)
    assert not (tmp_path / "made").exists()
    tissuenet.read(tmp_path, trust=True)
    assert (tmp_path / "made").exists()


def test_a_bad_image_is_refused_alone(tmp_path: Path):
    images = np.ones((2, HEIGHT, WIDTH, 2), np.float32)
    images[1, 0, 0, 0] = np.nan
    first, second = tissuenet.read(save(tmp_path, "train", X=images)).cases
    first.load()
    with pytest.raises(NucplanError, match=r"train\.npz\[1\] holds intensities that are no numbers"):
        second.load()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"X": np.ones((2, HEIGHT, WIDTH, 3), np.float32)}, "X has the shape"),
        ({"y": np.ones((2, HEIGHT, WIDTH, 1), np.int32)}, r"y has the shape \(2, 32, 40, 1\)"),
        ({"y": np.ones((3, HEIGHT, WIDTH, 2), np.int32)}, r"X has the shape .* and y \(3, 32, 40, 2\)"),
    ],
)
def test_arrays_of_another_form_are_refused(tmp_path: Path, changed: dict[str, np.ndarray], message: str):
    save(tmp_path, "train", **changed)
    with pytest.raises(NucplanError, match=rf"train\.npz.*{message}"):
        tissuenet.read(tmp_path)


def test_missing_arrays_files_and_ends_are_refused(tmp_path: Path):
    with pytest.raises(NucplanError, match=r"has no \.npz file"):
        tissuenet.read(tmp_path)
    path = tmp_path / "tissuenet_v1.1_train.npz"
    np.savez(path, X=np.ones((2, 4, 4, 2)))
    with pytest.raises(NucplanError, match=r"train\.npz has no array y, only X"):
        tissuenet.read(tmp_path)
    save(tmp_path, "train")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(NucplanError, match=r"train\.npz is damaged or cut short"):
        tissuenet.read(tmp_path)
