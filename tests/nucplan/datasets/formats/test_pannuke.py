from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nucplan.cli import convert
from nucplan.datasets.annotations.layers import HIDDEN, OVERLAP
from nucplan.datasets.formats import pannuke
from nucplan.datasets.raw import RawDataset
from nucplan.datasets.source import NO_GROUPS_KNOWN
from nucplan.datasets.verify import verify_raw
from nucplan.errors import NucplanError
from nucplan.layout import Roots, find_dataset

from ..touching import HEIGHT, WIDTH, Intruder, assert_same_nuclei, class_map, picture

LAYOUTS = {
    "official": ("Fold {}/images/fold{}/images.npy", "Fold {}/masks/fold{}/masks.npy"),
    "one folder": ("fold{}/images.npy", "fold{}/masks.npy"),
    "kinds first": ("images/fold{}/images.npy", "masks/fold{}/masks.npy"),
    "capitals": ("Part {}/Images/images.npy", "Part {}/Masks/masks.npy"),
}


def masks() -> np.ndarray:
    """``(32, 40, 6)`` float64: id 300 in channels 1 and 2, touching; 4 and 300 in channel 2, touching; background."""
    channels = np.zeros((HEIGHT, WIDTH, 6))
    channels[4:14, 5:12, 0] = 300
    channels[4:14, 12:20, 1] = 300
    channels[14:20, 12:20, 1] = 4
    channels[..., 5] = channels.max(2) == 0
    return channels


def expected() -> tuple[np.ndarray, dict[int, int]]:
    instances = np.zeros((HEIGHT, WIDTH), np.int32)
    instances[4:14, 5:12], instances[4:14, 12:20], instances[14:20, 12:20] = 1, 2, 3
    return instances, {1: 1, 2: 2, 3: 2}


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


def save_fold(folder: Path, number: int, layout: str = "official", dtype: type = np.float64, images: int = 2) -> None:
    image_path, mask_path = (folder / path.replace("{}", str(number)) for path in LAYOUTS[layout])
    save(image_path, np.stack([picture(number * 10 + i) for i in range(images)]).astype(dtype))
    save(mask_path, np.stack([masks()] * images))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float64, np.uint8])
def test_every_layout_gives_pairs_of_channel_and_id_as_nuclei(tmp_path: Path, layout: str, dtype: type):
    save_fold(tmp_path, 1, layout, dtype)
    save_fold(tmp_path, 2, layout, dtype)
    source = pannuke.read(tmp_path)
    assert [case.name for case in source.cases] == ["fold1_0000", "fold1_0001", "fold2_0000", "fold2_0001"]
    loaded = source.cases[3].load()
    np.testing.assert_array_equal(loaded.image, picture(21))
    assert loaded.image.dtype == np.uint8
    assert_same_nuclei(loaded, *expected())
    assert not loaded.left_out
    assert not loaded.remarks


def test_ids_in_the_table_tell_channel_and_id(tmp_path: Path):
    save_fold(tmp_path, 1)
    assert pannuke.read(tmp_path).cases[0].load().class_of == {300: 1, 1300: 2, 1004: 2}


def test_a_pixel_of_two_channels_goes_to_the_smaller_nucleus_and_both_stay():
    for order in ([0, 3], [3, 0]):
        layers = np.zeros((5, 10, 10), np.int32)
        layers[order[0], 0:8, 0:8], layers[order[1], 6:9, 6:9] = 2, 2
        instances, class_of, contested, hidden = pannuke.merge_channels(layers)
        by_class = {class_id: np.count_nonzero(instances == i) for i, class_id in class_of.items()}
        assert by_class == {order[0] + 1: 60, order[1] + 1: 9}
        assert (contested, hidden) == (4, 0)


def test_a_nucleus_below_smaller_ones_is_counted(tmp_path: Path):
    save_fold(tmp_path, 1, images=1)
    stack = np.load(tmp_path / "Fold 1/masks/fold1/masks.npy")
    stack[0, 4:14, 12:16, 2], stack[0, 4:14, 16:20, 3] = 1, 1
    np.save(tmp_path / "Fold 1/masks/fold1/masks.npy", stack)
    loaded = pannuke.read(tmp_path).cases[0].load()
    assert loaded.left_out == {HIDDEN: 1}
    assert loaded.remarks == {OVERLAP: 80}


def test_ids_of_any_size_and_images_without_nuclei_or_without_background_are_understood():
    layers = np.zeros((5, 6, 6), np.int32)
    assert pannuke.merge_channels(layers)[1] == {}
    layers[1], layers[0, :3] = 2_000_000_000, 2_000_000_001
    instances, class_of, contested, hidden = pannuke.merge_channels(layers)
    assert sorted(class_of.values()) == [1, 2]
    assert (contested, hidden, np.count_nonzero(instances)) == (18, 0, 36)
    layers[:] = 1_000_000
    assert list(pannuke.merge_channels(layers)[1].values()) == [5]


@pytest.mark.parametrize(("split", "test"), [("none", None), ("1", "fold3"), ("2", "fold3"), ("3", "fold1")])
def test_the_third_fold_of_the_official_triple_is_the_test_part(tmp_path: Path, split: str, test: str | None):
    for number in (1, 2, 3):
        save_fold(tmp_path, number, images=1)
    parts = {case.name[:5]: case.part for case in pannuke.read(tmp_path, split=split).cases}
    assert parts == {fold: "Ts" if fold == test else "Tr" for fold in ("fold1", "fold2", "fold3")}


def test_a_converted_split_passes_verification(tmp_path: Path, roots: Roots):
    for number in (1, 2, 3):
        save_fold(tmp_path, number, images=1)
    options = ["--set", "split=3", "--root", str(tmp_path / "root")]
    assert convert.main(["pannuke", str(tmp_path), "1", "PanNuke", *options]) == 0
    dataset = find_dataset(roots, 1)
    verify_raw(dataset)
    raw = RawDataset(dataset)
    assert (raw.cases("Tr"), raw.cases("Ts")) == (["fold2_0000", "fold3_0000"], ["fold1_0000"])
    assert raw.info.class_names == pannuke.CLASSES
    labels, class_of = expected()
    np.testing.assert_array_equal(raw.classes_map("fold1_0000", "Ts"), class_map(labels, class_of))


def test_one_fold_without_a_number_is_trained_on(tmp_path: Path):
    save(tmp_path / "images.npy", picture()[None])
    save(tmp_path / "masks.npy", masks()[None])
    source = pannuke.read(tmp_path)
    assert [(case.name, case.part) for case in source.cases] == [("tile_0000", "Tr")]
    assert source.remarks == (NO_GROUPS_KNOWN, pannuke.NO_TEST_PART)


def test_folds_counted_from_0_are_numbered_as_the_official_ones(tmp_path: Path):
    for number in (0, 1, 2):
        save_fold(tmp_path, number, "one folder", images=1)
    test = [case for case in pannuke.read(tmp_path, split="1").cases if case.part == "Ts"]
    assert [(case.name, case.origin.parent.name) for case in test] == [("fold3_0000", "fold2")]


@pytest.mark.parametrize(("folders", "unsure"), [((1, 2), True), ((1,), True), ((0, 1), False), ((1, 2, 3), False)])
def test_numbers_that_may_count_from_0_are_told(tmp_path: Path, folders: tuple[int, ...], unsure: bool):
    for number in folders:
        save_fold(tmp_path, number, "one folder", images=1)
    told = [remark for remark in pannuke.read(tmp_path).remarks if "counts from 0" in remark]
    assert bool(told) == unsure
    assert not told or " and ".join(map(str, folders)) in told[0]


def test_a_split_with_a_missing_fold_is_refused(tmp_path: Path):
    save_fold(tmp_path, 1)
    with pytest.raises(NucplanError, match="has no fold 2 of PanNuke, which split=1 needs"):
        pannuke.read(tmp_path, split="1")


@pytest.mark.parametrize("dtype", [str, object])
def test_tissues_become_remarks(tmp_path: Path, dtype: type):
    save_fold(tmp_path, 1)
    save(tmp_path / "Fold 1/images/fold1/types.npy", np.array(["Breast", "Bile-duct"], dtype))
    assert pannuke.read(tmp_path).cases[1].load().remarks == {"images of the tissue Bile-duct": 1}
    save(tmp_path / "Fold 1/images/fold1/types.npy", np.array(["Breast"], dtype))
    with pytest.raises(NucplanError, match=r"types\.npy names 1 tissues for 2 images"):
        pannuke.read(tmp_path)


def test_a_pickle_that_would_run_code_is_refused_unless_trusted(tmp_path: Path):
    save_fold(tmp_path, 1)
    types = save(tmp_path / "Fold 1/images/fold1/types.npy", np.array([Intruder(tmp_path / "made"), "b"], object))
    with pytest.raises(NucplanError, match=r"types\.npy holds a pickle .* --trust"):
        pannuke.read(tmp_path)
    assert not (tmp_path / "made").exists()
    pannuke.read(tmp_path, trust=True)
    assert (tmp_path / "made").exists()
    types.unlink()
    save(tmp_path / "Fold 1/masks/fold1/masks.npy", np.array([Intruder(tmp_path / "again"), "b"], object))
    with pytest.raises(NucplanError, match=r"masks\.npy holds Python objects"):
        pannuke.read(tmp_path, trust=True)
    assert not (tmp_path / "again").exists()


def test_a_missing_half_is_a_fault_of_its_fold_alone(tmp_path: Path):
    save_fold(tmp_path, 1)
    save_fold(tmp_path, 2)
    (tmp_path / "Fold 1/masks/fold1/masks.npy").unlink()
    source = pannuke.read(tmp_path)
    assert [case.name for case in source.cases] == ["fold2_0000", "fold2_0001"]
    assert len(source.faults) == 1
    assert "fold1/images.npy has no masks.npy beside it" in source.faults[0]
    with pytest.raises(NucplanError, match=r"has no images\.npy and masks\.npy"):
        pannuke.read(tmp_path / "Fold 1/masks")


def test_files_cut_short_or_of_another_form_are_refused(tmp_path: Path):
    save_fold(tmp_path, 1)
    path = tmp_path / "Fold 1/masks/fold1/masks.npy"
    content = path.read_bytes()
    for length in (len(content) - 1, 60, 0):
        path.write_bytes(content[:length])
        with pytest.raises(NucplanError, match=r"masks\.npy is damaged or cut short"):
            pannuke.read(tmp_path)
    np.save(path, np.stack([masks()] * 3))
    with pytest.raises(NucplanError, match=r"images\.npy holds 2 images .* and .*masks\.npy 3"):
        pannuke.read(tmp_path)
    np.save(path, np.stack([masks()] * 2)[..., :3])
    with pytest.raises(NucplanError, match=r"masks\.npy holds float64 of shape \(2, 32, 40, 3\)"):
        pannuke.read(tmp_path)


@pytest.mark.parametrize("value", [0.5, -1, 256, np.nan])
def test_intensities_that_do_not_fit_8_bits_are_refused_by_image(tmp_path: Path, value: float):
    save_fold(tmp_path, 1)
    stack = np.load(tmp_path / "Fold 1/images/fold1/images.npy")
    stack[1, 0, 0, 0] = value
    np.save(tmp_path / "Fold 1/images/fold1/images.npy", stack)
    first, second = pannuke.read(tmp_path).cases
    first.load()
    with pytest.raises(NucplanError, match=r"images\.npy\[1\] holds intensities"):
        second.load()


@pytest.mark.parametrize(("value", "fault"), [(0.5, "fractional ids"), (-2, "negative ids"), (np.nan, "values .*NaN")])
def test_ids_that_are_none_are_refused_by_image(tmp_path: Path, value: float, fault: str):
    save_fold(tmp_path, 1)
    stack = np.load(tmp_path / "Fold 1/masks/fold1/masks.npy")
    stack[1, 0, 0, 0] = value
    np.save(tmp_path / "Fold 1/masks/fold1/masks.npy", stack)
    with pytest.raises(NucplanError, match=rf"masks\.npy\[1\] holds {fault}"):
        pannuke.read(tmp_path).cases[1].load()
