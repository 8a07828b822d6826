"""The test part: scored as prediction and evaluation would, by networks that never saw it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nucplan.cli import predict
from nucplan.files import read_json
from nucplan.layout import find_dataset, resolve_roots
from nucplan.metrics.folders import evaluate_folders
from trainers import score_test


@pytest.fixture(autouse=True)
def _nnunet_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    # The command sets them for the rest of the process.
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, "")


def test_the_ensemble_scores_what_prediction_and_evaluation_say(trained_root: Path, tmp_path: Path):
    common = ["--device", "cpu", "--root", str(trained_root)]
    output = tmp_path / "test.json"
    assert score_test.main(["Tiny", "--output", str(output), *common]) == 0
    content = read_json(output)
    names = ["boundary_attention, fold 0", "boundary_attention, fold 1", "boundary_attention, ensemble"]
    assert [row["name"] for row in content["rows"]] == names
    dataset = find_dataset(resolve_roots(trained_root), 1)
    assert predict.main(["1", str(dataset.part("images", "Ts")), str(tmp_path / "nuclei"), *common]) == 0
    truth = evaluate_folders(tmp_path / "nuclei", dataset.part("instances", "Ts"))["summary"]
    scores = content["rows"][-1]["scores"]
    assert content["images"] == truth["n_images"]
    assert scores["PQ (pooled)"] == pytest.approx(truth["pq_pooled"], nan_ok=True)
    assert scores["Dice (image mean)"] == pytest.approx(truth["dice_image_mean"], nan_ok=True)
    assert (scores["merges"], scores["splits"]) == (truth["merges"], truth["splits"])


def test_a_dataset_without_a_test_part_is_refused(root: Path, tmp_path: Path, capsys):
    for path in (root / "nnUNet_raw/Dataset001_Tiny/imagesTs").iterdir():
        path.unlink()
    assert score_test.main(["1", "--output", str(tmp_path / "t.json"), "--root", str(root)]) == 2
    assert "imagesTs holds no image; convert with --test-split" in capsys.readouterr().err
    assert not (tmp_path / "t.json").exists()
