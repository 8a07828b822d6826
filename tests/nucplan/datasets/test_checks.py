"""What no reader may hand over is refused with one sentence that names the image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.datasets.checks import check_class_names, check_source, checked, renumbered
from nucplan.datasets.source import Annotated, Case, Source
from nucplan.errors import NucplanError


def two_nuclei() -> np.ndarray:
    labels = np.zeros((6, 8), np.int32)
    labels[1:3, 1:3], labels[1:3, 3:6] = 5, 70_000
    return labels


GOOD = Annotated(np.zeros((6, 8, 3), np.uint8), two_nuclei(), {5: 1, 70_000: 2})
FIVE = np.zeros((6, 8, 5), np.uint16)


def check(annotated: Annotated, markers: tuple[str, ...] | None = None) -> Annotated:
    case = Case("x", Path("images/x.png"), lambda: annotated)
    return checked(case, Source([case], ("a", "b"), markers=markers))


REFUSED = {
    "another size": (
        GOOD._replace(image=np.zeros((6, 9, 3), np.uint8)),
        None,
        "is 6 x 9 pixels and its label map 6 x 8",
    ),
    "another size to ignore": (GOOD._replace(ignored=np.zeros((8, 6), bool)), None, "area to ignore 8 x 6"),
    "half an id": (GOOD._replace(instances=two_nuclei() * 0.5), None, "fractional ids"),
    "a negative id": (GOOD._replace(instances=-two_nuclei()), None, "negative ids"),
    "a huge id": (GOOD._replace(instances=two_nuclei().astype(np.int64) << 20), None, "ids above 2147483647"),
    "no class": (GOOD._replace(class_of={5: 1}), None, "instance 70000 has no class"),
    "a class of nothing": (GOOD._replace(class_of=GOOD.class_of | {6: 1}), None, "names instance 6"),
    "class 0": (GOOD._replace(class_of={5: 0, 70_000: 2}), None, "instance 5 has class 0, not 1 to 2"),
    "class 3": (GOOD._replace(class_of={5: 3, 70_000: 2}), None, "instance 5 has class 3, not 1 to 2"),
    "planes without names": (GOOD._replace(image=FIVE), None, "has 5 planes, so it is neither grey nor RGB"),
    "a name too many": (GOOD._replace(image=FIVE), tuple("abcdef"), "has 5 planes, but there are 6 markers"),
    "names but one plane": (GOOD._replace(image=FIVE[..., 0]), ("a",), "has 1 planes, but there are 1 markers"),
    "fractions as pixels": (GOOD._replace(image=GOOD.image / 255), None, "holds float64 pixels"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused(case: str):
    annotated, markers, message = REFUSED[case]
    with pytest.raises(NucplanError, match=rf"images/x\.png.*{message}") as caught:
        check(annotated, markers)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.uint32, np.int64, np.float64])
def test_whole_ids_of_any_type_are_taken(dtype: type):
    labels = (two_nuclei() > 0).astype(dtype)
    found = check(Annotated(GOOD.image, labels, {1: 1})).instances
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, labels)


def test_a_nucleus_in_an_ignored_area_stays_a_nucleus():
    everywhere = np.ones((6, 8), bool)
    found = check(GOOD._replace(ignored=everywhere))
    np.testing.assert_array_equal(found.instances, two_nuclei())
    np.testing.assert_array_equal(found.ignored, two_nuclei() == 0)


@given(arrays(np.int32, (5, 6), elements=st.sampled_from([0, 2, 3, 900, 2**31 - 1])))
@settings(max_examples=60, deadline=None)
def test_numbers_run_from_1_in_the_order_of_the_ids_and_belong_to_the_same_pixels(labels: np.ndarray):
    ids = [int(i) for i in np.unique(labels) if i]
    class_of = {i: 1 + i % 3 for i in ids}
    made, found = renumbered(
        Annotated(np.zeros((5, 6), np.uint8), labels, class_of), Case("x", Path("x"), lambda: None)
    )
    assert found == ids
    np.testing.assert_array_equal(np.array([0, *ids])[made.instances], labels)
    assert made.class_of == {new: class_of[old] for new, old in enumerate(ids, start=1)}


@pytest.mark.parametrize("names", [(), ("a", "a"), ("a", "ignore"), ("background",), tuple(map(str, range(255)))])
def test_names_of_classes_that_a_dataset_cannot_hold(names: tuple[str, ...]):
    with pytest.raises(NucplanError, match="cannot be used: .*rename them with --classes new=old"):
        check_class_names(names)


SOURCE = Source([Case("x", Path("a/x.png"), lambda: GOOD)], ("a", "b"))
SOURCES = {
    "no image": (replace(SOURCE, cases=[]), "holds no image"),
    "one name twice": (
        replace(SOURCE, cases=[*SOURCE.cases, Case("x", Path("b/x.png"), lambda: GOOD)]),
        r"a/x\.png and b/x\.png would both be the case 'x'",
    ),
    "no pixel size": (replace(SOURCE, mpp=0), "pixel size 0"),
}


@pytest.mark.parametrize("case", SOURCES)
def test_a_source_is_refused_before_any_image_is_opened(case: str):
    source, message = SOURCES[case]
    with pytest.raises(NucplanError, match=message):
        check_source(source)


@pytest.mark.parametrize("name", ["", "../x", "/etc/x", "a/b", "a\\b", ".hidden", ".."])
def test_a_name_that_leaves_the_folder_is_refused(name: str):
    with pytest.raises(NucplanError, match="which is no name of a file"):
        check_source(replace(SOURCE, cases=[Case(name, Path("coco.json"), lambda: GOOD)]))
