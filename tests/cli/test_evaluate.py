"""The command: its table, its file, its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nucplan.cli.evaluate import main
from nucplan.images import write_label_map


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labels = np.zeros((20, 20), dtype=np.int32)
    labels[5:15, 5:15] = 1
    (tmp_path / "maps").mkdir()
    write_label_map(tmp_path / "maps" / "a.tif", labels)
    return tmp_path / "maps"


def test_it_prints_the_table_and_writes_metrics_into_the_prediction_folder(folder, capsys):
    assert main([str(folder), str(folder)]) == 0
    assert json.loads((folder / "metrics.json").read_text())["summary"]["pq_pooled"] == 1
    shown = capsys.readouterr().out
    assert "mPQ+" in shown
    assert str(folder / "metrics.json") in shown


def test_out_names_the_file_and_mpp_the_pixel_size(folder, tmp_path):
    out = tmp_path / "elsewhere" / "scores.json"
    assert main([str(folder), str(folder), "--out", str(out), "--mpp", "0.5"]) == 0
    assert json.loads(out.read_text())["settings"]["detection_radius_px"] == 6
    assert not (folder / "metrics.json").exists()


def test_a_file_where_a_folder_is_needed_is_one_sentence(folder, tmp_path, assert_refused):
    (tmp_path / "file").touch()
    assert_refused(main([str(folder), str(folder), "--out", str(tmp_path / "file" / "scores.json")]), "file")


def test_help_offers_no_root_as_none_is_used(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--root" not in capsys.readouterr().out


def test_bad_input_is_one_sentence_exit_code_2_and_no_file(folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), str(folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "empty" / "metrics.json").exists()
