"""NuCLS comes back as its outlined nuclei; boxes and unclear nuclei are areas to ignore."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from nucplan.datasets.annotations.polygons import BOXES, OUTSIDE, TOO_FEW_POINTS, UNCLEAR
from nucplan.datasets.formats import nucls
from nucplan.errors import NucplanError
from nucplan.images import write_image

NAME = "TCGA-A2-A0CM-DX1_id-5ea4_left-10_top-20_bottom-60_right-68"
HEADER = ",raw_classification,main_classification,super_classification,type,xmin,ymin,xmax,ymax,coords_x,coords_y\n"
SHAPE = (40, 48)


def octagon(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    return np.array(
        [
            *[(left + 1, top), (right - 1, top), (right, top + 1), (right, bottom - 1)],
            *[(right - 1, bottom), (left + 1, bottom), (left, bottom - 1), (left, top + 1), (left + 1, top)],
        ]
    )


def row(raw: str, main: str, above: str, ring: np.ndarray, kind: str = "polyline") -> str:
    (left, top), (right, bottom) = ring.min(0), ring.max(0)
    x, y = (",".join(map(str, axis)) for axis in (ring[:, 0], ring[:, 1]))
    cells = f'"{x}","{y}"' if kind == "polyline" else ","
    return f"0,{raw},{main},{above},{kind},{left},{top},{right},{bottom},{cells}\n"


TUMOR = octagon(2, 3, 7, 9), octagon(8, 3, 13, 9)
ROWS = [
    row("tumor", "tumor_nonMitotic", "tumor_any", TUMOR[0]),
    row("correction_mitotic_figure", "tumor_mitotic", "tumor_any", TUMOR[1]),
    row("lymphocyte", "lymphocyte", "sTIL", octagon(-6, 30, 4, 45)),
    row("lymphocyte", "lymphocyte", "sTIL", np.array([(20, 20), (30, 26)]), "rectangle"),
    row("unlabeled", "AMBIGUOUS", "AMBIGUOUS", octagon(36, 2, 44, 9)),
    row("fov", "fov", "fov", np.array([(0, 0), (47, 39)]), "rectangle"),
]


def add(folder: Path, rows: list[str], name: str = NAME, mask: tuple[int, int] | None = SHAPE) -> None:
    write_image(folder / "rgb" / f"{name}.png", np.full((*SHAPE, 3), 200, np.uint8))
    (folder / "csv").mkdir(exist_ok=True)
    (folder / "csv" / f"{name}.csv").write_text(HEADER + "".join(rows))
    (folder / "csv" / "ALL_FOV_LOCATIONS.csv").write_text(",name\n")
    if mask:
        codes = np.zeros((*mask, 3), np.uint8)
        codes[:36, :, 0] = 253
        # Ids whose product wraps in 8 bits, as in the original.
        codes[3:10, 2:8] = (1, 16, 16)
        write_image(folder / "mask" / f"{name}.png", codes)


def filled(ring: np.ndarray) -> np.ndarray:
    return cv2.fillPoly(np.zeros(SHAPE, np.uint8), [ring], 1) > 0


def test_outlines_are_nuclei_and_boxes_and_unclear_ones_are_ignored(tmp_path: Path, written):
    add(tmp_path, ROWS)
    source = nucls.read(tmp_path)
    annotated = source.cases[0].load()
    expected = filled(TUMOR[0]) * 1 + filled(TUMOR[1]) * 2 + filled(octagon(-6, 30, 4, 45)) * 3
    np.testing.assert_array_equal(annotated.instances, expected)
    assert [source.class_names[k - 1] for k in annotated.class_of.values()] == [
        "tumor_nonMitotic",
        "tumor_mitotic",
        "lymphocyte",
    ]
    assert annotated.left_out == {BOXES: 1, UNCLEAR: 1}
    assert annotated.ignored[20:27, 20:31].all()
    assert annotated.ignored[5, 40]
    assert not annotated.ignored[15, 15]
    assert annotated.ignored[36:].all()
    written(source)


@pytest.mark.parametrize(
    ("level", "names"),
    [("raw", ["tumor", "mitotic_figure", "lymphocyte"]), ("super", ["tumor_any", "tumor_any", "sTIL"])],
)
def test_the_level_chooses_the_classes(tmp_path: Path, level: str, names: list[str]):
    add(tmp_path, ROWS)
    source = nucls.read(tmp_path, level=level)
    assert [source.class_names[k - 1] for k in source.cases[0].load().class_of.values()] == names


def test_a_polyline_that_is_a_box_is_a_box(tmp_path: Path):
    box = np.array([(2, 3), (12, 3), (12, 9), (2, 9), (2, 3)])
    add(tmp_path, [row("tumor", "tumor_nonMitotic", "tumor_any", box), ROWS[1]])
    annotated = nucls.read(tmp_path).cases[0].load()
    assert annotated.left_out == {BOXES: 1}
    assert list(annotated.class_of) == [1]


def test_boxes_reach_as_far_as_outlines_with_the_same_corners(tmp_path: Path):
    corners = np.array([(2, 2), (5, 2), (5, 5), (2, 5), (2, 2)])
    for kind in ("rectangle", "polyline"):
        add(tmp_path, [row("tumor", "tumor_nonMitotic", "tumor_any", corners, kind)], mask=None)
        np.testing.assert_array_equal(nucls.read(tmp_path).cases[0].load().ignored, filled(corners))
    assert filled(corners).sum() == 16


def test_outlines_of_another_image_are_refused_unless_something_lies_in_it(tmp_path: Path):
    beyond = row("tumor", "tumor_nonMitotic", "tumor_any", octagon(500, 500, 510, 510))
    add(tmp_path, [beyond])
    with pytest.raises(NucplanError, match=rf"{NAME}\.csv: all outlines lie outside of the image"):
        nucls.read(tmp_path).cases[0].load()
    add(tmp_path, [beyond, ROWS[3]])
    assert nucls.read(tmp_path).cases[0].load().left_out == {OUTSIDE: 1, BOXES: 1}


@pytest.mark.parametrize("size", [(41, 49), (39, 47)])
def test_masks_may_be_a_pixel_larger_or_smaller(tmp_path: Path, size: tuple[int, int]):
    add(tmp_path, ROWS, mask=size)
    annotated = nucls.read(tmp_path).cases[0].load()
    assert annotated.ignored.shape == SHAPE
    assert bool(annotated.ignored[12, 47]) == (size < SHAPE)


def test_groups_are_patients_slides_or_hospitals_and_folds_are_official(tmp_path: Path):
    for name in (NAME, "TCGA-A2-A0CM-DX2_id-1", "TCGA-OL-A5D6-DX1_id-2"):
        add(tmp_path, ROWS, name, mask=None)
    assert set(nucls.read(tmp_path).groups.values()) == {"TCGA-A2-A0CM", "TCGA-OL-A5D6"}
    slides = {"TCGA-A2-A0CM-DX1", "TCGA-A2-A0CM-DX2", "TCGA-OL-A5D6-DX1"}
    assert set(nucls.read(tmp_path, group="slide").groups.values()) == slides
    assert set(nucls.read(tmp_path, group="hospital").groups.values()) == {"A2", "OL"}
    assert "3 images have no mask" in nucls.read(tmp_path).remarks[0]
    with pytest.raises(NucplanError, match=r"no fold_2_test\.csv"):
        nucls.read(tmp_path, fold="2")
    (tmp_path / "train_test_splits").mkdir()
    (tmp_path / "train_test_splits" / "fold_2_test.csv").write_text(",slide_name\n0,TCGA-OL-A5D6-DX1\n")
    parts = {case.name: case.part for case in nucls.read(tmp_path, fold="2").cases}
    assert [name for name, part in parts.items() if part == "Ts"] == ["TCGA-OL-A5D6-DX1_id-2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER.replace("main_", "") + ROWS[0], "no column main_classification"),
        (HEADER.replace("coords_x", "x") + ROWS[0], "no column coords_x"),
        (HEADER + ROWS[0].replace("tumor_nonMitotic", "tumour"), "main class 'tumour'"),
        (HEADER + ROWS[0].replace('"3,6,7', '"3,6,7,8'), "line 2, has no pairs of numbers"),
        (HEADER + ROWS[0].replace('"3,6,7', '"3,six,7'), "line 2, has no pairs of numbers"),
        (HEADER + ROWS[0][:20], "has no pairs of numbers"),
    ],
)
def test_bad_tables_are_refused_by_name(tmp_path: Path, text: str, message: str):
    add(tmp_path, [])
    (tmp_path / "csv" / f"{NAME}.csv").write_text(text)
    with pytest.raises(NucplanError, match=rf"{NAME}\.csv.* {message}"):
        nucls.read(tmp_path).cases[0].load()


@pytest.mark.parametrize(
    ("file", "keep", "message"),
    [(f"rgb/{NAME}.png", 40, "damaged"), (f"mask/{NAME}.png", 40, "damaged"), (f"csv/{NAME}.csv", -1, "no table")],
)
def test_files_cut_short_or_of_another_encoding_are_refused_by_name(tmp_path: Path, file: str, keep: int, message: str):
    add(tmp_path, ROWS)
    path = tmp_path / file
    # The last byte of the table becomes the first of a longer character of UTF-8.
    path.write_bytes(path.read_bytes()[:keep] + (b"\xe4" if path.suffix == ".csv" else b""))
    with pytest.raises(NucplanError, match=rf"{file} is {message}"):
        nucls.read(tmp_path).cases[0].load()


def test_other_bad_input_is_refused_or_counted(tmp_path: Path):
    with pytest.raises(NucplanError, match="holds no rgb; give the folder"):
        nucls.read(tmp_path)
    add(tmp_path, [ROWS[0], row("tumor", "tumor_nonMitotic", "tumor_any", np.array([(1, 1), (5, 5)]))])
    assert nucls.read(tmp_path).cases[0].load().left_out == {TOO_FEW_POINTS: 1}
    add(tmp_path, ROWS, mask=(30, 48))
    with pytest.raises(NucplanError, match=r"mask/.*png has the shape"):
        nucls.read(tmp_path).cases[0].load()
    (tmp_path / "csv" / f"{NAME}.csv").unlink()
    assert nucls.read(tmp_path).faults[0].startswith(str(tmp_path / "rgb" / NAME))
