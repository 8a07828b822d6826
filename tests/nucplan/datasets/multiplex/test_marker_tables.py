"""Names of markers differ from each other; what the tables of MCMICRO and steinbock say is in test_ome."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.datasets.multiplex.marker_tables import MarkerTable, read_marker_table, unique_names
from nucplan.errors import NucplanError


@given(st.lists(st.sampled_from(["DAPI", "CD3", "DAPI_2", "DAPI_3"])))
@settings(max_examples=50, deadline=None)
def test_names_differ_and_each_begins_with_what_it_was(names: list[str]):
    found = unique_names(tuple(names))
    assert len(set(found)) == len(found) == len(names)
    assert all(new.startswith(old) for new, old in zip(found, names, strict=True))
    assert len(set(names)) < len(names) or found == tuple(names)


def test_images_have_all_rows_or_the_kept_ones():
    table = MarkerTable(Path("panel.csv"), ("a", "b", "c"), (True, False, True))
    assert table.planes(3, Path("x.tif")) == (0, 2)
    assert table.planes(2, Path("x.tif")) == (0, 1)
    with pytest.raises(NucplanError, match=r"x\.tif has 4 planes, but panel\.csv has 3 rows \(2 kept\)"):
        table.planes(4, Path("x.tif"))


@pytest.mark.parametrize("text", ["TRUE", "true", "1", "1.0", "Yes", "T"])
def test_flags_are_understood_as_people_write_them(tmp_path: Path, text: str):
    (tmp_path / "markers.csv").write_text(f"marker_name,remove\nDAPI,\nCD3,{text}\n", encoding="utf-8-sig")
    assert read_marker_table(tmp_path / "markers.csv").wanted == ("DAPI",)
