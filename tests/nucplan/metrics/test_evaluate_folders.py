"""Two folders in, named scores out: matching, classes, pixel size, ignore areas and refusals."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from nucplan.errors import NucplanError
from nucplan.images import write_image, write_label_map
from nucplan.metrics.folders import evaluate_folders, write_metrics
from nucplan.metrics.table import format_table

TWO = np.zeros((24, 30), dtype=np.int32)
TWO[4:10, 4:10], TWO[12:18, 14:20] = 1, 2


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A perfect prediction (TIFF) of two images and their reference (PNG)."""
    predicted, reference = tmp_path / "predicted", tmp_path / "data" / "labels"
    predicted.mkdir()
    reference.mkdir(parents=True)
    for stem in ("a", "b"):
        write_label_map(predicted / f"{stem}.tif", TWO)
        write_image(reference / f"{stem}.png", TWO.astype(np.uint16))
    return predicted, reference


def write_table(folder: Path, stem: str, rows: str) -> None:
    (folder / f"{stem}.csv").write_text(f"id,class,probability\n{rows}")


def make_raw(root: Path, labels: dict[str, int], class_map: np.ndarray) -> Path:
    """A raw dataset with the test image ``a``; returns its ``instancesTs``."""
    for kind in ("instancesTs", "labelsTs"):
        (root / kind).mkdir(parents=True)
    write_label_map(root / "instancesTs" / "a.tif", TWO)
    write_image(root / "labelsTs" / "a.png", class_map.astype(np.uint8))
    nnunet = {"channel_names": {"0": "grey"}, "labels": labels, "numTraining": 0, "file_ending": ".png"}
    (root / "dataset.json").write_text(json.dumps(nnunet | {"nuclei": {"mpp": 0.5}}))
    return root / "instancesTs"


def test_maps_are_matched_by_stem_whatever_their_format(folders):
    metrics = evaluate_folders(*folders)
    assert list(metrics["per_image"]) == ["a", "b"]
    assert metrics["summary"]["pq_pooled"] == metrics["summary"]["pq_image_mean"] == 1
    assert metrics["per_class"] == {}
    assert math.isnan(metrics["summary"]["mpq_plus"])


def test_overlays_are_no_label_maps_and_a_tiff_wins_over_a_png(folders):
    predicted, reference = folders
    colours = np.zeros((*TWO.shape, 3), dtype=np.uint8)
    write_image(predicted / "a_overlay.png", colours)
    write_image(predicted / "a.png", colours)
    assert evaluate_folders(predicted, reference)["summary"]["pq_pooled"] == 1


def test_further_predictions_are_left_alone(folders):
    write_label_map(folders[0] / "c.tif", TWO)
    assert evaluate_folders(*folders)["summary"]["n_images"] == 2


def test_class_tables_are_compared_by_name_through_dataset_json(folders):
    predicted, reference = folders
    (reference.parent / "dataset.json").write_text(json.dumps({"classes": {"1": "round", "2": "long"}}))
    (reference.parent / "classes").mkdir()
    for stem in ("a", "b"):
        (reference.parent / "classes" / f"{stem}.json").write_text(json.dumps({"1": 1, "2": 2}))
        write_table(predicted, stem, "1,round,0.9\n2,long,0.8\n" if stem == "a" else "1,round,0.9\n2,round,0.8\n")
    metrics = evaluate_folders(predicted, reference)
    assert list(metrics["per_class"]) == ["round", "long"]
    assert metrics["per_class"]["long"]["pq_pooled"] == pytest.approx(1 / 1.5)
    assert metrics["per_class"]["round"]["n_predicted"] == 3


def test_reference_tables_beside_the_maps_need_no_dataset_json(folders):
    for folder in folders:
        for stem in ("a", "b"):
            write_table(folder, stem, "1,x,1\n2,y,1\n")
    assert evaluate_folders(*folders)["summary"]["mpq_plus"] == 1


def test_classes_beside_the_prediction_folder_are_not_taken_for_the_predictions(folders):
    predicted, reference = folders
    inside = reference.parent / "predicted"
    predicted.rename(inside)
    (reference.parent / "classes").mkdir()
    for stem in ("a", "b"):
        (reference.parent / "classes" / f"{stem}.json").write_text(json.dumps({"1": 1, "2": 2}))
    assert evaluate_folders(inside, reference)["per_class"] == {}


def test_a_raw_dataset_gives_classes_pixel_size_and_ignore_area(folders, tmp_path):
    class_map = np.where(TWO == 1, 2, np.where(TWO == 2, 1, 0))
    class_map[:, 24:] = 3
    reference = make_raw(tmp_path / "raw", {"background": 0, "long": 1, "round": 2, "ignore": 3}, class_map)
    with_extra = TWO.copy()
    with_extra[4:10, 23:29] = 3
    write_label_map(folders[0] / "a.tif", with_extra)
    write_table(folders[0], "a", "1,round,1\n2,long,1\n3,long,1\n")
    metrics = evaluate_folders(folders[0], reference)
    assert metrics["settings"]["mpp"] == 0.5
    assert metrics["settings"]["detection_radius_px"] == 6
    assert metrics["summary"]["mpq_plus"] == 1
    assert list(metrics["per_class"]) == ["long", "round"]
    assert evaluate_folders(folders[0], reference, mpp=0.25)["settings"]["detection_radius_px"] == 12


def test_a_raw_dataset_is_known_by_a_relative_path(folders, tmp_path, monkeypatch):
    make_raw(tmp_path / "labelsTs" / "instancesTs", {"background": 0, "nucleus": 1}, TWO > 0)
    monkeypatch.chdir(tmp_path / "labelsTs" / "instancesTs")
    assert evaluate_folders(folders[0], Path("instancesTs"))["settings"]["mpp"] == 0.5


def test_a_raw_dataset_of_one_class_is_compared_without_classes(folders, tmp_path):
    reference = make_raw(tmp_path / "raw", {"background": 0, "nucleus": 1}, TWO > 0)
    write_table(folders[0], "a", "1,lymphocyte,1\n2,tumour,1\n")
    assert evaluate_folders(folders[0], reference)["per_class"] == {}


def test_one_boundary_width_serves_all_images(folders):
    large = np.zeros((200, 200), dtype=np.int32)
    large[20:120, 20:120] = 1
    for folder in folders:
        write_label_map(folder / "c.tif", large)
    # Medians per image would be 1 px and 8 px; the median of all five nuclei is that of the small ones.
    assert evaluate_folders(*folders)["settings"]["boundary_width_px"] == 1


def test_progress_wraps_the_images(folders):
    seen = []
    evaluate_folders(*folders, progress=lambda items, description: seen.append((description, len(items))) or items)
    assert seen == [("reading references", 2), ("evaluating", 2)]


def test_metrics_are_strict_json_with_null_for_nan(folders, tmp_path):
    write_metrics(tmp_path / "metrics.json", evaluate_folders(*folders))
    text = (tmp_path / "metrics.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["summary"]["mpq_plus"] is None


def test_the_table_has_every_summary_score_and_aligned_columns(folders):
    metrics = evaluate_folders(*folders)
    lines = format_table(metrics).splitlines()
    assert "pooled" in lines[2]
    assert "image mean" in lines[2]
    assert {len(line) for line in lines[3:15]} == {len(lines[2])}
    assert any(line.startswith("mPQ+") and line.endswith("-") for line in lines)


def test_real_nuclei_compared_with_themselves_are_perfect(shared_data):
    labels = shared_data / "dsb2018_fluo" / "labels"
    summary = evaluate_folders(labels, labels)["summary"]
    assert summary["pq_pooled"] == summary["aji_plus_pooled"] == summary["contact_boundary_recall"] == 1
    assert summary["merges"] == summary["splits"] == 0


def remove_prediction(predicted: Path, reference: Path) -> None:
    (predicted / "b.tif").unlink()


def crop_prediction(predicted: Path, reference: Path) -> None:
    write_label_map(predicted / "b.tif", TWO[:20])


def drop_one_class_table(predicted: Path, reference: Path) -> None:
    for stem in ("a", "b"):
        write_table(reference, stem, "1,x,1\n2,y,1\n")
    write_table(predicted, "a", "1,x,1\n2,y,1\n")


def invent_a_class(predicted: Path, reference: Path) -> None:
    drop_one_class_table(predicted, reference)
    (reference.parent / "dataset.json").write_text(json.dumps({"classes": {"1": "x", "2": "y"}}))
    write_table(predicted, "b", "1,x,1\n2,z,1\n")


def drop_a_nucleus(predicted: Path, reference: Path) -> None:
    drop_one_class_table(predicted, reference)
    write_table(predicted, "b", "1,x,1\n")


def rename_a_column(predicted: Path, reference: Path) -> None:
    drop_one_class_table(predicted, reference)
    (predicted / "b.csv").write_text("id,type\n1,x\n2,y\n")


def write_words_for_ids(predicted: Path, reference: Path) -> None:
    drop_one_class_table(predicted, reference)
    write_table(predicted, "b", "one,x,1\n")


def name_a_nucleus_twice(predicted: Path, reference: Path) -> None:
    drop_one_class_table(predicted, reference)
    write_table(predicted, "b", "1,x,1\n1,x,1\n2,y,1\n")


def save_a_table_as_latin_1(predicted: Path, reference: Path) -> None:
    drop_one_class_table(predicted, reference)
    (predicted / "b.csv").write_bytes("id,class\n1,é\n2,y\n".encode("latin-1"))


def write_the_pixel_size_as_text(predicted: Path, reference: Path) -> None:
    (reference.parent / "dataset.json").write_text('{"mpp": "0.25"}')


def list_the_classes(predicted: Path, reference: Path) -> None:
    (reference.parent / "dataset.json").write_text('{"classes": ["x", "y"]}')


def store_references_as_jpeg(predicted: Path, reference: Path) -> None:
    for path in reference.iterdir():
        path.rename(path.with_suffix(".jpg"))


def empty_the_predictions(predicted: Path, reference: Path) -> None:
    for path in predicted.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (remove_prediction, ["predicted", "no label map for b"]),
        (crop_prediction, ["b.tif", "20 x 30", "24 x 30"]),
        (drop_one_class_table, ["predicted", "'b'"]),
        (invent_a_class, ["b.tif", "'z'", "x, y"]),
        (drop_a_nucleus, ["image 'b'", "id 2"]),
        (rename_a_column, ["b.csv", "columns id and class"]),
        (write_words_for_ids, ["b.csv", "instance id 'one'"]),
        (name_a_nucleus_twice, ["b.csv", "instance 1 twice"]),
        (save_a_table_as_latin_1, ["b.csv", "UTF-8"]),
        (write_the_pixel_size_as_text, ["dataset.json", "pixel size '0.25'"]),
        (list_the_classes, ["dataset.json", "'classes'"]),
        (store_references_as_jpeg, ["a.jpg", "JPEG"]),
        (empty_the_predictions, ["predicted", "no label map"]),
    ],
)
def test_a_refusal_names_what_is_wrong(folders, damage, words):
    damage(*folders)
    with pytest.raises(NucplanError) as refusal:
        evaluate_folders(*folders)
    assert all(word in str(refusal.value) for word in words), refusal.value


def test_a_folder_that_does_not_exist_and_a_pixel_size_of_zero_are_refused(folders):
    with pytest.raises(NucplanError, match="nowhere does not exist"):
        evaluate_folders(folders[0] / "nowhere", folders[1])
    with pytest.raises(NucplanError, match="greater than 0"):
        evaluate_folders(*folders, mpp=0)
