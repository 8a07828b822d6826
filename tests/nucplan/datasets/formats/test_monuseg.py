"""MoNuSeg's folders come back as the nuclei that were outlined, the first one included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from nucplan.datasets.annotations.aperio import CUT_OUT, LONELY
from nucplan.datasets.annotations.polygons import OUTSIDE, TOO_FEW_POINTS
from nucplan.datasets.formats import monuseg
from nucplan.errors import NucplanError

TRAIN, TEST = "MoNuSeg 2018 Training Data", "MoNuSegTestData"
SLIDE = "TCGA-A7-A13E-01Z-00-DX1"
# Left, top, right, bottom: two neighbours that touch, and one that reaches over the edge.
BOXES = [(2, 3, 8, 9), (8, 3, 14, 9), (-2.9, 20.5, 4, 99.25)]


def region(points: list[tuple[float, float]], number: int, negative: int = 0) -> str:
    vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in points)
    return (
        f'<Region Id="{number}" Type="0" Zoom="1" Length="9" Area="9" Text="" NegativeROA="{negative:d}" '
        f'InputRegionId="0" DisplayId="{number}"><Attributes/><Vertices>{vertices}</Vertices></Region>'
    )


def corners(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def xml(*regions: str, mpp: str = ' MicronsPerPixel="0.252"') -> str:
    return (
        f'<Annotations{mpp}><Annotation Id="1" Name="" ReadOnly="0" Type="4" LineColor="65280"><Attributes>'
        '<Attribute Name="Description" Id="0" Value=""/></Attributes><Regions><RegionAttributeHeaders/>'
        f"{''.join(regions)}</Regions><Plots/></Annotation></Annotations>"
    )


def write_image(path: Path, channels: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 48, channels), np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", compression="lzw")


def write_source(folder: Path, text: str, name: str = SLIDE) -> Path:
    write_image(folder / TRAIN / "Tissue Images" / f"{name}.tif")
    annotation = folder / TRAIN / "Annotations" / f"{name}.xml"
    annotation.parent.mkdir(parents=True, exist_ok=True)
    annotation.write_text(text)
    return annotation


def nuclei() -> list[str]:
    # Ids of regions do not start at 1 in the original either.
    return [region(corners(*box), number) for number, box in enumerate(BOXES, start=7)]


def expected() -> np.ndarray:
    labels = np.zeros((40, 48), np.int32)
    labels[3:9, 2:8], labels[3:9, 8:14], labels[20:, :4] = 1, 2, 3
    return labels


def test_both_parts_come_back_with_touching_nuclei_apart_and_the_first_one_there(tmp_path: Path, written):
    write_source(tmp_path, xml(*nuclei()))
    write_image(tmp_path / TEST / "TCGA-2Z-A9J9-01A-01-TS1.tif", channels=4)
    (tmp_path / TEST / "TCGA-2Z-A9J9-01A-01-TS1.xml").write_text(xml(*nuclei(), mpp=""))
    source = monuseg.read(tmp_path)
    assert [(case.name, case.part) for case in source.cases] == [
        (SLIDE, "Tr"),
        ("TCGA-2Z-A9J9-01A-01-TS1", "Ts"),
    ]
    assert source.groups == {SLIDE: "TCGA-A7-A13E", "TCGA-2Z-A9J9-01A-01-TS1": "TCGA-2Z-A9J9"}
    for case in source.cases:
        annotated = case.load()
        assert annotated.image.shape == (40, 48, 3)
        assert annotated.class_of == {1: 1, 2: 1, 3: 1}
        np.testing.assert_array_equal(annotated.instances, expected())
    written(source)


def test_the_pixel_size_is_the_median_and_the_file_without_one_is_told(tmp_path: Path):
    for name, mpp in (("a", "0.26"), ("b", "0.2456"), ("c", "0.25"), ("d", None)):
        write_source(tmp_path, xml(*nuclei(), mpp="" if mpp is None else f' MicronsPerPixel="{mpp}"'), name)
    source = monuseg.read(tmp_path)
    assert source.mpp == 0.25
    assert "median of 3 annotation files (0.2456 to 0.26; 1 files state none)" in source.remarks[0]
    write_source(tmp_path / "none", xml(*nuclei(), mpp=""))
    assert monuseg.read(tmp_path / "none").mpp is None


def test_regions_without_area_or_outside_are_counted_and_the_others_stay(tmp_path: Path):
    write_source(tmp_path, xml(region([(1, 1), (5, 5)], 1), region([], 2), region(corners(60, 1, 70, 9), 3), *nuclei()))
    annotated = monuseg.read(tmp_path).cases[0].load()
    assert annotated.left_out == {TOO_FEW_POINTS: 2, OUTSIDE: 1}
    np.testing.assert_array_equal(annotated.instances > 0, expected() > 0)
    assert len(annotated.class_of) == 3


def test_negative_regions_are_cut_out(tmp_path: Path):
    hole, all_of_it = region(corners(4, 5, 6, 7), 20, 1), region(corners(8, 3, 14, 9), 21, 1)
    write_source(tmp_path, xml(hole, *nuclei(), all_of_it))
    annotated = monuseg.read(tmp_path).cases[0].load()
    assert not annotated.instances[5:7, 4:6].any()
    assert (annotated.instances == 1).sum() == 36 - 4
    assert len(annotated.class_of) == 2
    assert not annotated.instances[3:9, 8:14].any()
    assert annotated.left_out == {CUT_OUT: 1}


def test_a_nucleus_inside_of_what_is_cut_out_of_another_stays(tmp_path: Path):
    ring, hole, inner = corners(2, 3, 20, 21), corners(4, 5, 18, 19), corners(6, 7, 17, 18)
    lonely = corners(30, 3, 36, 9)
    write_source(tmp_path, xml(*(region(p, i, p in (hole, lonely)) for i, p in enumerate((ring, hole, inner, lonely)))))
    annotated = monuseg.read(tmp_path).cases[0].load()
    expected = np.zeros((40, 48), np.int32)
    expected[3:21, 2:20], expected[5:19, 4:18], expected[7:18, 6:17] = 1, 0, 2
    np.testing.assert_array_equal(annotated.instances, expected)
    assert not annotated.left_out
    assert annotated.remarks == {LONELY: 1}


def test_regions_of_another_image_are_refused(tmp_path: Path):
    write_source(tmp_path, xml(region(corners(5000, 5000, 5010, 5010), 1)))
    with pytest.raises(NucplanError, match=rf"{SLIDE}\.xml: all outlines lie outside of the image"):
        monuseg.read(tmp_path).cases[0].load()


def test_classes_of_monusac_are_not_lost_without_a_word(tmp_path: Path):
    write_source(tmp_path, xml(*nuclei()).replace('"Description"', '"Epithelial"'))
    with pytest.raises(NucplanError, match=rf"{SLIDE}\.xml holds the class Epithelial, as MoNuSAC does; .* 'monusac'"):
        monuseg.read(tmp_path).cases[0].load()


def test_halves_without_the_other_are_faults_that_name_the_file(tmp_path: Path):
    write_source(tmp_path, xml(*nuclei()))
    write_image(tmp_path / TRAIN / "Tissue Images" / "lonely.tif")
    (tmp_path / TRAIN / "Annotations" / "widow.xml").write_text(xml(*nuclei()))
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "ghost.xml").write_text("")
    source = monuseg.read(tmp_path)
    assert [case.name for case in source.cases] == [SLIDE]
    assert [fault.split(" has no ")[0].rsplit("/", 1)[1] for fault in source.faults] == ["lonely.tif", "widow.xml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (xml(*nuclei())[:-40], "no whole XML file"),
        ("", "no whole XML file"),
        (xml(), "has no region"),
        ("<html/>", "has no region"),
        (xml(*nuclei()).replace('X="8"', ""), "vertex without numbers"),
        (xml(*nuclei()).replace('X="8"', 'X="eight"'), "vertex without numbers"),
        ('<!DOCTYPE a [<!ENTITY b "bbbb">]>' + xml(*nuclei()).replace('Name=""', 'Name="&b;"'), "document type"),
    ],
)
def test_bad_annotations_are_refused_by_name(tmp_path: Path, text: str, message: str):
    write_source(tmp_path, text)
    with pytest.raises(NucplanError, match=rf"{SLIDE}\.xml .*{message}"):
        monuseg.read(tmp_path).cases[0].load()


def test_a_truncated_image_and_an_empty_folder_are_refused(tmp_path: Path):
    with pytest.raises(NucplanError, match="no XML file"):
        monuseg.read(tmp_path)
    write_source(tmp_path, xml(*nuclei()))
    image = tmp_path / TRAIN / "Tissue Images" / f"{SLIDE}.tif"
    image.write_bytes(image.read_bytes()[:300])
    with pytest.raises(NucplanError, match=rf"{SLIDE}\.tif is damaged"):
        monuseg.read(tmp_path).cases[0].load()
