from __future__ import annotations

from pathlib import Path

import pytest

from nucplan.datasets.finding.breast_folds import NONE, slide_of, slides_of_fold
from nucplan.errors import NucplanError


@pytest.mark.parametrize("place", ["source/train_test_splits", "source/deep/er", "train_test_splits"])
def test_the_test_slides_of_a_fold_are_found_in_the_source_and_beside_it(tmp_path: Path, place: str):
    (tmp_path / "source").mkdir()
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / place / "fold_2_test.csv").write_text(",slide_name\n0,TCGA-OL-A5D6-DX1\n1,TCGA-OL-A5D7-DX1_x\n")
    assert slides_of_fold(tmp_path / "source", "2") == {"TCGA-OL-A5D6-DX1", "TCGA-OL-A5D7-DX1"}
    assert slides_of_fold(tmp_path / "source", NONE) == set()
    with pytest.raises(NucplanError, match=r"has no fold_1_test\.csv in it or below"):
        slides_of_fold(tmp_path / "source", "1")


@pytest.mark.parametrize("text", ["name\nTCGA-OL-A5D6-DX1\n", "name\n", ""])
def test_a_table_without_the_column_is_refused(tmp_path: Path, text: str):
    (tmp_path / "fold_1_test.csv").write_text(text)
    with pytest.raises(NucplanError, match=r"fold_1_test\.csv has no column slide_name"):
        slides_of_fold(tmp_path, "1")


def test_the_slide_ends_at_the_first_underscore():
    assert slide_of("TCGA-A2-A0CM-DX1_id-5ea4_left-10") == slide_of("TCGA-A2-A0CM-DX1") == "TCGA-A2-A0CM-DX1"
