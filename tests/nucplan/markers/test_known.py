"""Names of channels in any spelling."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucplan.errors import NucplanError
from nucplan.markers.known import ACCESSION, ROLES, TABLE, known_markers, spelling_key

HISTONE = "P68431"


def rows() -> list[dict[str, str]]:
    with open(TABLE, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_the_table_has_one_meaning_per_spelling_and_real_accessions_and_roles():
    meant: dict[str, str] = {}
    for row in rows():
        assert row["role"] in ROLES
        assert not row["uniprot"] or ACCESSION.fullmatch(row["uniprot"])
        for written in [row["name"], *filter(None, row["aliases"].split("|"))]:
            assert meant.setdefault(spelling_key(written), row["name"]) == row["name"]
    assert len(rows()) > 150


@pytest.mark.parametrize(
    ("written", "accession"),
    [
        ("CD3", "P07766"), ("cd-3", "P07766"), ("CD3e", "P07766"), ("CD3_2", "P07766"), ("CD3 (Er170Di)", "P07766"),
        ("141Pr_CD3", "P07766"), ("Er170-CD3", "P07766"), ("CD8a", "P01732"), ("αSMA", "P62736"),
        ("alpha-SMA", "P62736"), ("aSMA", "P62736"), ("panCK", "P02533"), ("Pan-Cytokeratin", "P02533"),
        ("pan_CK-AF555", "P02533"), ("HLA_DR", "P01903"), ("PD-L1 (E1L3N)", "Q9NZQ7"), ("CD4-EPR6855", "P01730"),
        ("FOXP3", "Q9BZS1"), ("Ki-67", "P46013"), ("γH2AX", "P16104"), ("β-catenin", "P35222"), ("P01730", "P01730"),
        ("P08575-8", "P08575-8"), ("A0A024R1R8", "A0A024R1R8"), ("vimentin", "P08670"), ("CD45RO", "P08575-4"),
        ("anti-CD3", "P07766"), ("Er(170)_CD3", "P07766"), ("CD3_1841((3117))Er(170)", "P07766"),
    ],
)  # fmt: skip
def test_spellings_of_a_marker_are_found(written, accession):
    assert known_markers().find(written).uniprot == accession


@pytest.mark.parametrize(
    "written",
    ["DAPI", "dapi_01", "DAPI-3", "cycle2_DAPI", "Hoechst", "Hoechst 33342", "DRAQ5", "Ir191", "193Ir", "DNA1", "DNA_2",
     "DNA1(Ir191Di)", "Ir193Di", "Iridium191", "191Ir-DNA1(Ir191Di)", "Ir(191)", "Ir(193)_DNA2",
     "SYTOX Green", "Nucleus", "DAPI_AF1", "Iridium_1033((1254))Ir(193)", "Histone H3", "HistoneH3", "HH3"],
)  # fmt: skip
def test_stains_of_dna_stand_for_histone_and_are_in_every_nucleus(written):
    marker = known_markers().find(written)
    assert (marker.uniprot, marker.role) == (HISTONE, "nuclear")


@pytest.mark.parametrize("written", ["CD45-RB", "CD4/CD163", "HLA-X", "", "__", "Unknowable", "CD999"])
def test_what_is_not_known_is_not_guessed(written):
    assert known_markers().find(written) is None


def test_an_unknown_name_has_near_ones():
    assert "CD45RO" in known_markers().near("CD45-RB")
    assert "vimentin" in known_markers().near("vimentine")


@given(st.text(max_size=20))
def test_any_text_is_looked_up(text):
    known_markers().find(text)
    known_markers().near(text)


@given(st.sampled_from(rows()), st.sampled_from(["{}", "{}_3", "{} (Er170)", "144Nd_{}", " {} "]), st.booleans())
def test_case_counters_and_isotopes_do_not_matter(row, form, upper):
    written = form.format(row["name"].upper() if upper else row["name"])
    assert known_markers().find(written).name == row["name"]


def test_rows_of_a_user_are_above_those_of_the_package(tmp_path: Path):
    table = tmp_path / "mine.csv"
    table.write_text("name,uniprot,role,aliases\nStrange,Q12345,nuclear,odd|very odd\nCD3,P04234,,\n", encoding="utf-8")
    known = known_markers(table)
    assert known.find("VERY-ODD").uniprot == "Q12345"
    assert (known.find("cd3").uniprot, known.find("cd3").role) == ("P04234", "other")
    assert known.find("CD4") == known_markers().find("CD4")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"marker,uniprot\nA,P01730\n", "lacks the column name"),
        (b"name,uniprot\nA,CD4\n", r"row 2 has the UniProt accession 'CD4'"),
        (b"name,uniprot,role\nA,P01730,\nB,P01730,wall\n", r"row 3 has the role 'wall'"),
        (b"name,uniprot\n-,P01730\n", "row 2 has no name"),
        (b"name,uniprot\n\xff\xfe,P01730\n", "not UTF-8"),
    ],
)
def test_a_wrong_table_is_refused_with_its_row(tmp_path: Path, content, message):
    table = tmp_path / "mine.csv"
    table.write_bytes(content)
    with pytest.raises(NucplanError, match=message):
        known_markers(table)


def test_a_missing_table_is_refused(tmp_path: Path):
    with pytest.raises(NucplanError, match="cannot be read"):
        known_markers(tmp_path / "none.csv")
