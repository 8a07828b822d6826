from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nucplan.datasets import find_format
from nucplan.datasets.conversion import Wishes, with_groups, write_raw
from nucplan.datasets.formats import folder
from nucplan.datasets.raw import RawDataset, check_pixel_size, parse_dataset_json
from nucplan.datasets.reservation import new_dataset
from nucplan.datasets.source import Annotated, Case, Source
from nucplan.datasets.tables import read_group_table
from nucplan.datasets.verify import verify_raw
from nucplan.errors import NucplanError
from nucplan.images import read_image, read_label_map, write_image, write_label_map
from nucplan.layout import Roots


def convert(source_folder: Path, roots: Roots, test_fraction: float | None = None) -> RawDataset:
    dataset = new_dataset(roots, 5, "Small")
    write_raw(folder.read(source_folder), dataset, Wishes(test_fraction))
    return RawDataset(dataset)


def test_a_folder_becomes_a_dataset_that_says_the_same(plain_folder: Path, roots: Roots):
    raw = convert(plain_folder, roots)
    verify_raw(raw.dataset)
    assert raw.cases() == ["a", "b", "c", "d", "e"]
    assert raw.info.class_names == ("long", "round")
    assert (raw.info.mpp, raw.info.licence, raw.info.groups["e"]) == (0.5, "CC0-1.0", "g2")
    np.testing.assert_array_equal(raw.image("b"), read_image(plain_folder / "images" / "b.png"))
    instances, classes = raw.instances("b"), raw.classes_map("b")
    assert {(int(i), int(c)) for i, c in zip(instances.flat, classes.flat, strict=True)} == {(0, 0), (1, 2), (2, 1)}


def test_nnunet_reads_what_was_written(plain_folder: Path, roots: Roots):
    from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

    raw = convert(plain_folder, roots)
    image, _ = NaturalImage2DIO().read_images([str(raw.image_path("a"))])
    labels, _ = NaturalImage2DIO().read_seg(str(raw.classes_path("a")))
    np.testing.assert_array_equal(image[:, 0], np.moveaxis(raw.image("a"), -1, 0))
    np.testing.assert_array_equal(labels[0, 0], raw.classes_map("a"))


@pytest.mark.parametrize(("shape", "ending"), [((24, 32), ".png"), ((24, 32, 3), ".tif")])
def test_nnunet_reads_sixteen_bits_in_full(plain_folder: Path, roots: Roots, shape: tuple[int, ...], ending: str):
    from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

    deep = np.random.default_rng(0).integers(0, 65_535, shape, np.uint16)
    for path in (plain_folder / "images").iterdir():
        write_image(path, deep)
    raw = convert(plain_folder, roots)
    verify_raw(raw.dataset)
    assert raw.info.file_ending == ending
    image, _ = NaturalImage2DIO().read_images([str(raw.image_path("a"))])
    np.testing.assert_array_equal(image[:, 0], np.moveaxis(np.atleast_3d(deep), -1, 0))


def test_whole_groups_go_to_the_test_part(plain_folder: Path, roots: Roots):
    raw = convert(plain_folder, roots, test_fraction=0.2)
    verify_raw(raw.dataset)
    assert raw.cases("Ts") == ["c"]
    assert raw.cases("Tr") == ["a", "b", "d", "e"]


def test_an_image_without_nuclei_is_accepted(plain_folder: Path, roots: Roots):
    write_label_map(plain_folder / "labels" / "a.tif", np.zeros((24, 32), np.int32))
    (plain_folder / "classes" / "a.json").write_text("{}")
    raw = convert(plain_folder, roots)
    verify_raw(raw.dataset)
    assert raw.instances("a").max() == 0


def _remove_label(source: Path) -> None:
    (source / "labels" / "a.tif").unlink()


def _remove_image(source: Path) -> None:
    (source / "images" / "a.png").unlink()


def _remove_images(source: Path) -> None:
    for path in (source / "images").iterdir():
        path.unlink()


def _remove_table(source: Path) -> None:
    (source / "classes" / "a.json").unlink()


def _cut_png(source: Path) -> None:
    path = source / "images" / "e.png"
    path.write_bytes(path.read_bytes()[:200])


def _smaller_label(source: Path) -> None:
    write_label_map(source / "labels" / "e.tif", np.zeros((24, 31), np.int32))


def _grey_image(source: Path) -> None:
    write_image(source / "images" / "e.png", np.zeros((24, 32), np.uint8))


def _deep_image(source: Path) -> None:
    write_image(source / "images" / "e.png", np.zeros((24, 32, 3), np.uint16))


def _classes(source: Path, text: str) -> None:
    (source / "classes" / "e.json").write_text(text)


def _mask(source: Path) -> None:
    write_image(source / "labels" / "e.png", (read_label_map(source / "labels" / "e.tif") > 0).astype(np.uint8) * 255)
    (source / "labels" / "e.tif").unlink()


def _jpeg_labels(source: Path) -> None:
    (source / "labels" / "e.tif").unlink()
    write_image(source / "labels" / "e.jpg", np.zeros((24, 32), np.uint8))


def _renamed_tables(source: Path) -> None:
    (source / "classes").rename(source / "Classes")


def _no_tables(source: Path) -> None:
    (source / "classes").rename(source / "types")
    _describe(source, {"classes": {"1": "round", "2": "long"}})


def _describe(source: Path, content: object) -> None:
    (source / "dataset.json").write_text(json.dumps(content))


def _latin_1(source: Path) -> None:
    (source / "classes" / "e.json").write_bytes('{"3": "dysplástic", "9": "long"}'.encode("latin-1"))


def _no_group(source: Path) -> None:
    (source / "dataset.json").write_text(json.dumps({"groups": {"a": 1}}))


REFUSED = {
    "image without label": (_remove_label, r"a\.png has no label map"),
    "label without image": (_remove_image, r"a\.tif has no image"),
    "empty image folder": (_remove_images, r"images holds no"),
    "image without class table": (_remove_table, r"a\.png has no class table"),
    "corrupt PNG": (_cut_png, r"e\.png is damaged"),
    "sizes differ": (_smaller_label, r"e\.png is 24 x 32 pixels and its label map 24 x 31"),
    "grey among RGB": (_grey_image, r"e\.png is grey.*a\.png is RGB"),
    "16 among 8 bits": (_deep_image, r"e\.png is RGB with 16 bits.*a\.png is RGB with 8 bits"),
    "two classes": (lambda s: _classes(s, '{"3": "round", "9": "long", "3": "long"}'), r"e\.json.*instance 3 twice"),
    "one class twice": (lambda s: _classes(s, '{"3": 1, "9": 1, "3": 1}'), r"e\.json.*instance 3 twice"),
    "id not in the map": (lambda s: _classes(s, '{"3": "round", "9": "long", "4": "long"}'), r"e\.png.*instance 4"),
    "id without class": (lambda s: _classes(s, '{"3": "round"}'), r"e\.png: instance 9 has no class"),
    "reserved class name": (lambda s: _classes(s, '{"3": "ignore", "9": "long"}'), r"class names .* rename"),
    "id that is a word": (lambda s: _classes(s, '{"three": "long"}'), r"e\.json.*'three'"),
    "binary mask": (_mask, r"e\.png has one id, 255, in 2 separate pieces.*own id"),
    "JPEG label map": (_jpeg_labels, r"labels/e\.jpg is a JPEG"),
    "misspelt class folder": (_renamed_tables, r"Classes would not be read; rename it to 'classes'"),
    "classes without tables": (_no_tables, r"dataset\.json names 2 classes, but .* has no folder 'classes'"),
    "Latin-1 class table": (_latin_1, r"e\.json is not UTF-8"),
    "description is a list": (lambda s: _describe(s, []), r"dataset\.json must be one JSON object"),
    "classes are a list": (lambda s: _describe(s, {"classes": ["a", "b"]}), r"dataset\.json: 'classes' must be"),
    "class 0": (lambda s: _describe(s, {"classes": {"0": "a"}}), r"dataset\.json: 'classes' has the id '0'"),
    "class id is a word": (lambda s: _describe(s, {"classes": {"a": "1"}}), r"dataset\.json.*the id 'a'"),
    "groups are a list": (lambda s: _describe(s, {"groups": ["a"]}), r"dataset\.json: 'groups' must be"),
    "licence is a number": (lambda s: _describe(s, {"licence": 4}), r"dataset\.json: 'licence' must be"),
    "image without group": (_no_group, r"b\.png has no entry under 'groups'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_sentence_and_nothing_is_left(plain_folder: Path, roots: Roots, case: str):
    break_it, message = REFUSED[case]
    break_it(plain_folder)
    with pytest.raises(NucplanError, match=message) as caught:
        convert(plain_folder, roots)
    assert "\n" not in str(caught.value)
    assert not roots.raw.exists() or not list(roots.raw.iterdir())


@pytest.mark.parametrize(
    ("described", "table", "expected"),
    [
        ({"1": "x", "2": "y"}, '{"3": 2, "9": "x"}', ("x", "y")),
        (None, '{"3": 2, "9": 1}', ("class_1", "class_2")),
        (None, '{"3": "b", "9": "a"}', ("a", "b")),
    ],
)
def test_classes_are_named_by_description_or_table(plain_folder: Path, described: dict, table: str, expected: tuple):
    for path in (plain_folder / "classes").iterdir():
        path.write_text(table)
    (plain_folder / "dataset.json").write_text(json.dumps({"classes": described} if described else {}))
    source = folder.read(plain_folder)
    assert source.class_names == expected
    assert source.cases[0].load().class_of == {3: 2, 9: 1}


def test_a_class_table_may_be_a_csv_with_more_columns(plain_folder: Path):
    (plain_folder / "classes" / "a.json").unlink()
    (plain_folder / "classes" / "a.csv").write_text("id,area,class\n3,36,round\n9,150,long\n")
    assert folder.read(plain_folder).cases[0].load().class_of == {3: 2, 9: 1}


def test_without_classes_every_nucleus_is_a_nucleus(plain_folder: Path, roots: Roots):
    for path in (plain_folder / "classes").iterdir():
        path.unlink()
    (plain_folder / "classes").rmdir()
    (plain_folder / "labels").rename(plain_folder / "masks")
    raw = convert(plain_folder, roots)
    assert raw.info.class_names == ("nucleus",)
    assert raw.classes_map("a").max() == 1


def test_a_taken_id_is_refused_in_any_root(plain_folder: Path, roots: Roots):
    convert(plain_folder, roots)
    with pytest.raises(NucplanError, match="id 5 is taken by Dataset005_Small"):
        new_dataset(roots, 5, "Other")
    (roots.results / "Dataset006_Old").mkdir(parents=True)
    with pytest.raises(NucplanError, match="Dataset006_Old"):
        new_dataset(roots, 6, "New")


def test_too_many_instances_are_refused_with_the_advice_to_tile(roots: Roots, tmp_path: Path):
    def load(ids: int) -> Annotated:
        instances = np.zeros((200, 200), np.int32)
        instances.flat[:ids] = np.arange(1, ids + 1)
        return Annotated(np.zeros((200, 200), np.uint8), instances, dict.fromkeys(range(1, ids + 1), 1))

    most = Source([Case("x", tmp_path / "x.png", lambda: load(32_767))])
    verify_raw(write_raw(most, new_dataset(roots, 1, "Most")).dataset)
    more = Source([Case("x", tmp_path / "x.png", lambda: load(32_768))])
    with pytest.raises(NucplanError, match=r"x\.png has 32768 instances.*tiles"):
        write_raw(more, new_dataset(roots, 2, "More"))


@pytest.mark.parametrize("mpp", [0, -1, 0.009, "0.25", 101, float("nan"), True])
def test_a_pixel_size_that_is_none_is_refused(plain_folder: Path, roots: Roots, mpp: object):
    (plain_folder / "dataset.json").write_text(json.dumps({"mpp": mpp}))
    with pytest.raises(NucplanError, match=r"pixel size .*dataset\.json"):
        convert(plain_folder, roots)


def test_groups_from_a_table_must_name_every_image(plain_folder: Path):
    source = folder.read(plain_folder)
    named = with_groups(source, dict.fromkeys("abcde", "one"), Path("groups.csv"))
    assert named.groups == dict.fromkeys("abcde", "one")
    with pytest.raises(NucplanError, match=r"groups\.csv.*image e"):
        with_groups(source, dict.fromkeys("abcd", "one"), Path("groups.csv"))


def test_images_that_only_a_table_of_groups_has_are_told(plain_folder: Path):
    source = folder.read(plain_folder)
    assert with_groups(source, dict.fromkeys("abcde", "one"), Path("groups.csv")).remarks == source.remarks
    more = with_groups(source, dict.fromkeys("abcdexy", "one"), Path("groups.csv"))
    assert more.remarks[-1] == "groups.csv names 2 images that the source lacks, first x."


@pytest.mark.parametrize(
    "text",
    [
        "image,group\na,one\nb,two\n",
        "image;group\na;one\nb;two\n",
        "image, group\r\na, one\r\n b , two\r\n\r\n",
        "number\timage\tgroup\n1\ta\tone\n2\tb\ttwo\n",
    ],
)
def test_a_table_of_groups_is_read_whatever_parts_its_columns(tmp_path: Path, text: str):
    (tmp_path / "groups.csv").write_text(text, newline="")
    assert read_group_table(tmp_path / "groups.csv") == {"a": "one", "b": "two"}


@pytest.mark.parametrize("line", ["b", "b,", ",two"])
def test_a_line_that_lacks_its_group_is_refused(tmp_path: Path, line: str):
    (tmp_path / "groups.csv").write_text(f"image,group\na,one\n{line}\n")
    with pytest.raises(NucplanError, match="has a line without image or group"):
        read_group_table(tmp_path / "groups.csv")


@pytest.mark.parametrize("mpp", [0.01, 100])
def test_every_plausible_pixel_size_is_taken(mpp: float):
    check_pixel_size(mpp, "it")


def test_groups_from_a_table_replace_the_incomplete_ones_of_the_source(plain_folder: Path, roots: Roots):
    _no_group(plain_folder)
    source = with_groups(folder.read(plain_folder), dict.fromkeys("abcde", "one"), Path("groups.csv"))
    assert write_raw(source, new_dataset(roots, 5, "Small")).groups == dict.fromkeys("abcde", "one")


def test_a_group_on_both_sides_is_refused_before_anything_is_written(plain_folder: Path, roots: Roots):
    source = folder.read(plain_folder)
    cases = [replace(case, part="Ts" if case.name == "b" else "Tr") for case in source.cases]
    with pytest.raises(NucplanError, match=r"The group 'g0' is on both sides: a is to train on and b to test on"):
        write_raw(replace(source, cases=cases), new_dataset(roots, 5, "Small"))
    assert not roots.raw.exists() or not list(roots.raw.iterdir())


def _one_id(*rectangles: tuple[slice, slice], value: int = 1) -> np.ndarray:
    labels = np.zeros((24, 32), np.uint8)
    for rows, cols in rectangles:
        labels[rows, cols] = value
    return labels


INSIDE, AT_EDGE, ALSO_AT_EDGE = (slice(4, 8), slice(4, 8)), (slice(0, 3), slice(12, 16)), (slice(9, 12), slice(28, 32))


@pytest.mark.parametrize(
    ("labels", "is_mask"),
    [
        (_one_id(INSIDE, AT_EDGE), True),
        (_one_id(AT_EDGE, ALSO_AT_EDGE, value=255), True),
        (_one_id(INSIDE, value=255), False),
        (_one_id(INSIDE, (slice(8, 10), slice(8, 10))), False),  # pieces that touch at a corner are one
        (_one_id(AT_EDGE, ALSO_AT_EDGE), False),  # one nucleus that the edge cut in two
        (_one_id(INSIDE, AT_EDGE) + 2 * _one_id(ALSO_AT_EDGE), False),
        (_one_id(), False),
    ],
)
def test_one_id_in_pieces_is_a_mask_unless_the_edge_may_have_cut_it(
    plain_folder: Path, labels: np.ndarray, is_mask: bool
):
    shutil.rmtree(plain_folder / "classes")
    write_label_map(plain_folder / "labels" / "a.tif", labels)
    case = folder.read(plain_folder).cases[0]
    if is_mask:
        with pytest.raises(NucplanError, match=r"a\.tif has one id.*binary mask"):
            case.load()
    else:
        np.testing.assert_array_equal(case.load().instances, labels)


def test_one_declared_class_needs_no_tables(plain_folder: Path):
    shutil.rmtree(plain_folder / "classes")
    _describe(plain_folder, {"classes": {"1": "tumour"}})
    assert folder.read(plain_folder).class_names == ("tumour",)


@pytest.mark.parametrize("content", [[], {"nuclei": [1]}, {"nuclei": {"groups": ["a"]}}, {"nuclei": {"mpp": "0.25"}}])
def test_a_raw_dataset_json_of_another_form_is_refused_by_name(plain_folder: Path, roots: Roots, content: object):
    path = convert(plain_folder, roots).dataset.dataset_json
    path.write_text(json.dumps(content if isinstance(content, list) else json.loads(path.read_text()) | content))
    with pytest.raises(NucplanError, match=r"dataset\.json"):
        parse_dataset_json(path)


def test_an_unknown_format_lists_the_choices():
    with pytest.raises(NucplanError, match="choose one of .*dsb2018.*folder"):
        find_format("dsb")


@pytest.mark.parametrize("name", ["dsb2018_tissue", "dsb2018_fluo", "tnbc"])
def test_real_data_convert_with_every_nucleus(shared_data: Path, roots: Roots, name: str):
    described = json.loads((shared_data / name / "dataset.json").read_text())
    done = write_raw(folder.read(shared_data / name), new_dataset(roots, 1, name), Wishes(0.25))
    verify_raw(done.dataset)
    assert done.images.total() == described["images"]
    assert done.nuclei_per_class.total() == described["nuclei"]
