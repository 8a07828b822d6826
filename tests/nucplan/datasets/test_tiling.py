"""Tiles cover the image, are windows of it, and a nucleus that they cut stays one nucleus of the source."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.datasets.annotations.layers import areas_of
from nucplan.datasets.conversion import Wishes, write_raw
from nucplan.datasets.raw import RawDataset
from nucplan.datasets.reservation import new_dataset
from nucplan.datasets.source import Annotated, Case, Source
from nucplan.datasets.tiling import Tiling
from nucplan.datasets.verify import verify_raw
from nucplan.errors import NucplanError
from nucplan.layout import Roots

tilings = st.integers(1, 17).flatmap(lambda size: st.builds(Tiling, st.just(size), st.integers(0, size - 1)))


def annotated(height: int, width: int, ids: int = 6) -> Annotated:
    rng = np.random.default_rng(height * 100 + width)
    instances = rng.integers(0, ids, (height, width)).astype(np.int32) * 7
    ignored = (instances == 0) & (rng.random((height, width)) < 0.5)
    class_of = {i: 1 + i % 2 for i in areas_of(instances)}
    return Annotated(rng.integers(0, 255, (height, width, 3)).astype(np.uint8), instances, class_of, ignored)


def window(name: str, tile: Annotated) -> tuple[slice, slice]:
    found = re.fullmatch(r"x_y(\d{5})_x(\d{5})", name)
    y, x = (int(found[1]), int(found[2])) if found else (0, 0)
    return slice(y, y + tile.instances.shape[0]), slice(x, x + tile.instances.shape[1])


@given(st.integers(1, 50), tilings)
@settings(max_examples=150, deadline=None)
def test_tiles_begin_in_order_cover_the_axis_and_share_at_least_the_overlap(length: int, tiling: Tiling):
    starts = tiling.starts(length)
    ends = [min(start + tiling.size, length) for start in starts]
    assert starts[0] == 0
    assert ends[-1] == length
    assert all(start >= 0 and start + min(tiling.size, length) == end for start, end in zip(starts, ends, strict=True))
    assert all(a < b for a, b in zip(starts, starts[1:], strict=False))
    assert all(end - start >= tiling.overlap for end, start in zip(ends, starts[1:], strict=False))


@given(st.integers(1, 40), st.integers(1, 40), tilings)
@settings(max_examples=60, deadline=None)
def test_every_pixel_is_in_a_tile_and_every_tile_is_a_window_of_the_image(height: int, width: int, tiling: Tiling):
    whole, covered = annotated(height, width), np.zeros((height, width), bool)
    names = []
    for name, tile in tiling.cut("x", whole):
        where = window(name, tile)
        names.append(name)
        covered[where] = True
        for part, of in ((tile.image, whole.image), (tile.instances, whole.instances), (tile.ignored, whole.ignored)):
            np.testing.assert_array_equal(part, of[where])
        assert tile.class_of == {i: whole.class_of[i] for i in areas_of(tile.instances)}
    assert covered.all()
    assert len(set(names)) == len(names)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_without_overlap_the_pieces_of_each_nucleus_add_up_to_it(rows: int, columns: int, size: int):
    whole, pieces = annotated(rows * size, columns * size), {}
    for _, tile in Tiling(size).cut("x", whole):
        for i, area in areas_of(tile.instances).items():
            pieces[i] = pieces.get(i, 0) + area
    assert pieces == areas_of(whole.instances)


def test_an_image_that_fits_keeps_its_name():
    whole = annotated(8, 8)
    assert [name for name, _ in Tiling(8, 3).cut("x", whole)] == ["x"]


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (-4, 0), (8, 8), (8, 9), (8, -1)])
def test_tiles_that_cannot_be_are_refused(size: int, overlap: int):
    with pytest.raises(NucplanError, match=f"--tile {size} with --overlap {overlap} cannot be cut"):
        Tiling(size, overlap)


def test_the_table_says_which_nuclei_are_cut_and_what_they_are_in_the_source(roots: Roots, tmp_path: Path):
    instances = np.zeros((20, 20), np.int32)
    # Whole in the first tile and cut in the second; cut by both; whole in the last.
    instances[2:5, 5:10], instances[8:12, 2:6], instances[14:18, 14:18] = 50, 7, 400
    load = lambda: Annotated(np.zeros((20, 20), np.uint8), instances, {50: 1, 7: 2, 400: 1})  # noqa: E731
    source = Source([Case("x", tmp_path / "x", load)], ("a", "b"))
    dataset = write_raw(source, new_dataset(roots, 1, "Tiles"), Wishes(tiling=Tiling(12, 4))).dataset
    verify_raw(dataset)
    with open(dataset.raw / "nuclei.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    found = {
        (r["case"][2:], int(r["source_id"])): (int(r["id"]), r["class"], int(r["area_px"]), r["cut"]) for r in rows
    }
    assert found == {
        ("y00000_x00000", 7): (1, "b", 16, "0"),
        ("y00000_x00000", 50): (2, "a", 15, "0"),
        ("y00000_x00008", 50): (1, "a", 6, "1"),
        ("y00008_x00000", 7): (1, "b", 16, "0"),
        ("y00008_x00008", 400): (1, "a", 16, "0"),
    }
    assert {r["source_image"] for r in rows} == {"x"}
    raw = RawDataset(dataset)
    assert raw.info.groups == {f"x_{name}": "x" for name in {key[0] for key in found}}
