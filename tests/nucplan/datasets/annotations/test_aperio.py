"""Regions of ImageScope, their layers and the pixel size; files that harm or lack something are in test_monuseg."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.datasets.annotations.aperio import CUT_OUT, HEAD_BYTES, Region, draw_regions, pixel_size, read_regions
from nucplan.errors import NucplanError

points = st.lists(st.tuples(*[st.floats(allow_nan=False)] * 2), max_size=5)
# XML has no control characters and reads every kind of white space as a blank.
names = st.text(st.characters(categories=("L", "N", "P", "S")), max_size=8)


def region(vertices: list[tuple[float, float]], negative: bool = False) -> str:
    found = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in vertices)
    return f'<Region NegativeROA="{int(negative)}"><Vertices>{found}</Vertices></Region>'


def layer(*regions: str, name: str | None = None) -> str:
    attribute = "" if name is None else f"<Attribute Name={quoteattr(name)}/>"
    return f"<Annotation><Attributes>{attribute}</Attributes><Regions>{''.join(regions)}</Regions></Annotation>"


def write(path: Path, *layers: str, mpp: str | None = None) -> Path:
    size = "" if mpp is None else f' MicronsPerPixel="{mpp}"'
    path.write_text(f"<Annotations{size}>{''.join(layers)}</Annotations>", encoding="utf-8")
    return path


@given(st.lists(st.tuples(names, st.lists(st.tuples(points, st.booleans()), min_size=1, max_size=3)), min_size=1))
@settings(max_examples=30, deadline=None)
def test_every_region_comes_with_its_layer_its_vertices_and_its_sign(tmp_path_factory, layers: list):
    texts = [layer(*(region(*found) for found in regions), name=name) for name, regions in layers]
    found = read_regions(write(tmp_path_factory.getbasetemp() / "a.xml", *texts))
    expected = [(name, vertices, negative) for name, regions in layers for vertices, negative in regions]
    assert [(r.layer, [tuple(v) for v in r.vertices.tolist()], r.negative) for r in found] == expected
    assert all(r.vertices.shape == (len(r.vertices), 2) for r in found)


def test_a_layer_may_have_no_name(tmp_path: Path):
    assert read_regions(write(tmp_path / "a.xml", layer(region([(1, 2)]))))[0].layer == ""


def test_a_negative_region_is_cut_out_of_the_outline_around_it_and_of_none_inside():
    def square(side: float, negative: bool = False) -> Region:
        return Region("", np.array([[0, 0], [side, 0], [side, side], [0, side]], float), negative)

    path = Path("a.xml")
    drawn = draw_regions([square(8), square(3, negative=True), square(2)], [5, 9, 6], (10, 10), path)
    assert np.bincount(drawn.instances.ravel()).tolist() == [100 - 64 + 9 - 4, 64 - 9, 4]
    assert drawn.class_of == {1: 5, 2: 6}
    drawn = draw_regions([square(3), square(3, negative=True)], [5, 9], (10, 10), path)
    assert (drawn.class_of, drawn.left_out) == ({}, {CUT_OUT: 1})


def test_the_pixel_size_is_the_median_of_the_files_that_state_a_plausible_one(tmp_path: Path):
    stated = ("0.2", "0.25", "0.5", None, "0", "-1", "nan", "inf", "wide", "1000")
    paths = [write(tmp_path / f"{i}.xml", layer(), mpp=mpp) for i, mpp in enumerate(stated)]
    mpp, (remark,) = pixel_size([*paths, tmp_path / "missing.xml"])
    assert mpp == 0.25
    assert "median of 3 annotation files (0.2 to 0.5; 8 files state none)" in remark
    mpp, (remark,) = pixel_size(paths[3:])
    assert mpp is None
    assert "give it with --mpp" in remark


def test_of_a_long_file_the_head_alone_tells_the_pixel_size(tmp_path: Path):
    path = write(tmp_path / "a.xml", layer(*[region([(1, 2)] * 99)] * 40), mpp="0.25")
    assert path.stat().st_size > HEAD_BYTES
    path.write_text(path.read_text()[:-100])
    assert pixel_size([path])[0] == 0.25
    with pytest.raises(NucplanError, match=r"a\.xml is no whole XML file"):
        read_regions(path)


def test_a_document_type_is_not_looked_into(tmp_path: Path):
    path = write(tmp_path / "a.xml", layer(region([(1, 2)])), mpp="0.25")
    path.write_text('<!DOCTYPE a [<!ENTITY b "bbbb">]>' + path.read_text())
    assert pixel_size([path])[0] is None
    with pytest.raises(NucplanError, match=r"a\.xml declares a document type"):
        read_regions(path)
