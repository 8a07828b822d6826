"""MoNuSAC's folders come back with the class of each attribute, ambiguous regions ignored, no patient in both parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from nucplan.datasets.annotations.polygons import TOO_FEW_POINTS
from nucplan.datasets.formats import monusac
from nucplan.errors import NucplanError

TRAIN, TEST = "MoNuSAC_images_and_annotations", "MoNuSAC Testing Data and Annotations"
SLIDE, TESTED = "TCGA-5P-A9K0-01Z-00-DX1", "TCGA-A2-A0ES-01Z-00-DX1"
PIXELS = np.random.default_rng(0).integers(0, 255, (40, 48, 3), np.uint8)
# The order of the layers in the original files, with an empty one.
LAYERS = {"Epithelial": [(2, 3, 8, 9)], "Lymphocyte": [(8, 3, 14, 9)], "Neutrophil": [], "Macrophage": [(20, 1, 24, 5)]}


def xml(layers: dict[str, list[tuple[int, int, int, int]]]) -> str:
    found = []
    for number, (name, boxes) in enumerate(layers.items(), start=1):
        regions = "".join(
            f'<Region Id="{i}" NegativeROA="0"><Vertices><Vertex X="{x0}" Y="{y0}" Z="0"/><Vertex X="{x1}" Y="{y0}" '
            f'Z="0"/><Vertex X="{x1}" Y="{y1}" Z="0"/><Vertex X="{x0}" Y="{y1}" Z="0"/></Vertices></Region>'
            for i, (x0, y0, x1, y1) in enumerate(boxes, start=1)
        )
        found.append(
            f'<Annotation Id="{number}" Name="Layer {number}"><Attributes><Attribute Id="0" Name="{name}" Value=""/>'
            f"</Attributes><Regions><RegionAttributeHeaders/>{regions}</Regions></Annotation>"
        )
    return f'<Annotations MicronsPerPixel="0.19448">{"".join(found)}</Annotations>'


def add(folder: Path, root: str, slide: str, number: int, layers: dict | None = None, svs: bool = False) -> Path:
    patient = folder / root / slide
    patient.mkdir(parents=True, exist_ok=True)
    stem = patient / f"{slide}_{number}"
    if svs:
        write_svs(stem.with_suffix(".svs"))
    else:
        tifffile.imwrite(stem.with_suffix(".tif"), PIXELS, photometric="rgb")
    stem.with_suffix(".xml").write_text(xml(LAYERS if layers is None else layers))
    return stem


def write_svs(path: Path) -> None:
    """Page 0 tiled in JPEG 2000 as ImageScope does, then a thumbnail and a label of other sizes."""
    with tifffile.TiffWriter(path) as file:
        file.write(
            PIXELS,
            photometric="rgb",
            tile=(32, 32),
            compression="aperio_jp2000_rgb",
            compressionargs={"level": 0, "reversible": True},
            description="Aperio Image Library v1\n48x40|AppMag = 40|MPP = 0.19448",
        )
        file.write(PIXELS[::2, ::2], photometric="rgb", metadata=None)
        file.write(PIXELS[:9, :9], photometric="rgb", compression="lzw", metadata=None)


def expected() -> np.ndarray:
    labels = np.zeros((40, 48), np.int32)
    labels[3:9, 2:8], labels[3:9, 8:14], labels[1:5, 20:24] = 1, 2, 3
    return labels


def test_classes_are_attributes_of_layers_and_both_kinds_of_image_are_read(tmp_path: Path, written):
    add(tmp_path, TRAIN, SLIDE, 1)
    add(tmp_path, TRAIN, SLIDE, 2, svs=True)
    add(tmp_path, TEST, TESTED, 1)
    source = monusac.read(tmp_path)
    assert [(case.name, case.part) for case in source.cases] == [
        (f"{TESTED}_1", "Ts"),
        (f"{SLIDE}_1", "Tr"),
        (f"{SLIDE}_2", "Tr"),
    ]
    assert source.groups == {f"{SLIDE}_1": SLIDE[:12], f"{SLIDE}_2": SLIDE[:12], f"{TESTED}_1": TESTED[:12]}
    assert (source.mpp, source.class_names[2]) == (0.19448, "Macrophage")
    for case in source.cases:
        annotated = case.load()
        np.testing.assert_array_equal(annotated.image, PIXELS)
        np.testing.assert_array_equal(annotated.instances, expected())
        assert annotated.class_of == {1: 1, 2: 2, 3: 3}
        assert annotated.ignored is None
    written(source)


def test_the_tiff_is_read_where_the_slide_is_there_as_well(tmp_path: Path):
    stem = add(tmp_path, TRAIN, SLIDE, 1)
    stem.with_suffix(".svs").write_bytes(b"damaged")
    source = monusac.read(tmp_path)
    assert [case.origin.suffix for case in source.cases] == [".tif"]
    assert not source.faults


def test_ambiguous_regions_are_ignored_and_no_nuclei(tmp_path: Path):
    add(tmp_path, TEST, SLIDE, 1, {"Epithelial": [(2, 3, 8, 9)], "Ambiguous": [(20, 20, 30, 30)]})
    annotated = monusac.read(tmp_path).cases[0].load()
    assert annotated.class_of == {1: 1}
    assert np.argwhere(annotated.ignored).min(0).tolist() == [20, 20]
    assert annotated.ignored.sum() == 100
    assert annotated.remarks == {monusac.IGNORED: 1}


def test_what_is_cut_out_of_an_ambiguous_region_is_not_ignored(tmp_path: Path):
    stem = add(
        tmp_path, TEST, SLIDE, 1, {"Epithelial": [(2, 3, 8, 9)], "Ambiguous": [(20, 20, 30, 30), (23, 23, 26, 26)]}
    )
    text = stem.with_suffix(".xml").read_text()
    stem.with_suffix(".xml").write_text(text.replace('Id="2" NegativeROA="0"', 'Id="2" NegativeROA="1"'))
    annotated = monusac.read(tmp_path).cases[0].load()
    assert annotated.ignored.sum() == 100 - 9
    assert not annotated.ignored[23:26, 23:26].any()
    assert annotated.remarks == {monusac.IGNORED: 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [(xml({"Epithelial": []}), "has no region"), (xml({}), "has no region"), (xml(LAYERS)[:-60], "no whole XML file")],
)
def test_annotations_without_regions_or_cut_short_are_refused_by_name(tmp_path: Path, text: str, message: str):
    add(tmp_path, TRAIN, SLIDE, 1).with_suffix(".xml").write_text(text)
    with pytest.raises(NucplanError, match=rf"{SLIDE}_1\.xml .*{message}"):
        monusac.read(tmp_path).cases[0].load()


def test_a_region_of_two_points_is_counted(tmp_path: Path):
    path = add(tmp_path, TRAIN, SLIDE, 1).with_suffix(".xml")
    two = '<Region Id="9" NegativeROA="0"><Vertices><Vertex X="1" Y="1"/><Vertex X="5" Y="5"/></Vertices></Region>'
    path.write_text(path.read_text().replace("<RegionAttributeHeaders/>", f"<RegionAttributeHeaders/>{two}", 1))
    annotated = monusac.read(tmp_path).cases[0].load()
    assert annotated.left_out == {TOO_FEW_POINTS: 1}
    np.testing.assert_array_equal(annotated.instances > 0, expected() > 0)


def test_training_images_of_patients_of_the_test_part_are_left_out_aloud(tmp_path: Path):
    add(tmp_path, TRAIN, SLIDE, 1)
    add(tmp_path, TRAIN, TESTED, 1)
    add(tmp_path, TEST, TESTED, 1)
    source = monusac.read(tmp_path)
    assert [(case.name, case.part) for case in source.cases] == [(f"{TESTED}_1", "Ts"), (f"{SLIDE}_1", "Tr")]
    assert "1 images of patients that the official test part has too (TCGA-A2-A0ES)" in source.remarks[-1]
    assert not source.faults


def test_bad_input_is_refused_by_name(tmp_path: Path):
    with pytest.raises(NucplanError, match="no XML file"):
        monusac.read(tmp_path)
    add(tmp_path, TRAIN, SLIDE, 1, {"Epitelial": [(2, 3, 8, 9)]})
    with pytest.raises(NucplanError, match=rf"{SLIDE}_1\.xml has a layer with the attribute 'Epitelial'"):
        monusac.read(tmp_path).cases[0].load()
    slide = add(tmp_path, TRAIN, SLIDE, 1, svs=True).with_suffix(".svs")
    slide.with_suffix(".tif").unlink()
    slide.write_bytes(slide.read_bytes()[:2000])
    with pytest.raises(NucplanError, match=rf"{SLIDE}_1\.svs is damaged"):
        monusac.read(tmp_path).cases[0].load()
    slide.with_suffix(".xml").unlink()
    add(tmp_path, TRAIN, SLIDE, 2)
    (tmp_path / TRAIN / SLIDE / f"{SLIDE}_2.tif").unlink()
    assert len(monusac.read(tmp_path).faults) == 2
