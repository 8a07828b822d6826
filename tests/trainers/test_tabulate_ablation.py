"""The command that compares configs: which folds count, what it says, and what it draws."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from nucplan.datasets.raw import RawDataset
from nucplan.decoder_plan import DecoderPlan
from nucplan.files import read_json, write_json
from nucplan.images import read_image, read_label_map, write_image, write_label_map
from nucplan.layout import Dataset
from nucplan.metrics.folders import evaluate_folders
from nucplan.metrics.image import evaluate_image
from nucplan.metrics.outcomes import Outcome
from nucplan.palette import class_colour
from trainers import tabulate_ablation, trainer_name
from trainers.out_of_fold.maps import open_fold
from trainers.out_of_fold.runs import STOCK_MODEL
from trainers.out_of_fold.scores import OutOfFoldScores


@pytest.fixture
def dataset(two_configs: Dataset) -> Dataset:
    return two_configs


def model(dataset: Dataset, config: str) -> Path:
    return dataset.model(trainer_name(config))


def run(dataset: Dataset, capsys: pytest.CaptureFixture, *options: str) -> str:
    root = dataset.roots.raw.parent
    assert tabulate_ablation.main(["1", "--root", str(root), "--device", "cpu", *options]) == 0
    return capsys.readouterr().out


def refused(dataset: Dataset, capsys: pytest.CaptureFixture, *options: str) -> str:
    assert tabulate_ablation.main(["1", "--root", str(dataset.roots.raw.parent), "--device", "cpu", *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def row(report: str, head: str, name: str) -> dict[str, str]:
    """One row of the table below a line that starts with ``head``."""
    parts = report.split("\n\n")
    table = parts[next(k for k, part in enumerate(parts) if part.startswith(head)) + 1].splitlines()
    titles, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return dict(zip(titles, next(cells for cells in rows if cells[0] == name), strict=True))


def test_finished_folds_are_compared_and_what_is_missing_is_said(dataset, capsys):
    shutil.rmtree(model(dataset, "boundary") / "fold_1" / "validation")
    report = run(dataset, capsys)
    assert "### Tiny" in report
    assert "Folds compared: 0; baseline has not finished 2, 3, 4; boundary has not finished 1, 2, 3, 4." in report
    assert "| images | " in report
    assert "fold 1" not in report
    assert "2 iterations (baseline, boundary)." in report


def test_a_perfect_config_beats_the_baseline(dataset, capsys):
    report = run(dataset, capsys)
    assert row(report, "All out-of-fold", "boundary")["PQ (pooled)"] == "1.000"
    assert row(report, "Difference to baseline", "boundary")["PQ (pooled)"].startswith("+")
    assert "boundary_weighted" not in report
    reversed_report = run(dataset, capsys, "--configs", "boundary,baseline")
    assert row(reversed_report, "Difference to boundary", "baseline")["PQ (pooled)"].startswith("-")


def test_files_are_scored_as_nucplan_evaluate_does_but_with_one_width_for_all_folds(dataset):
    scores = OutOfFoldScores(dataset)
    cases = read_json(dataset.splits)[0]["val"]
    folder = model(dataset, "baseline") / "fold_0" / "validation"
    metrics = evaluate_folders(dataset.part("instances"), dataset.part("instances"))
    assert scores.boundary_width == metrics["settings"]["boundary_width_px"]
    counts = {image.name: image.nuclei for image in scores.of_files(model(dataset, "baseline"), 0)}
    per_image = evaluate_folders(folder, dataset.part("instances"), stems=cases)["per_image"]
    assert counts.keys() == per_image.keys()
    for case, expected in per_image.items():
        np.testing.assert_equal(counts[case].panoptic.pq, expected["pq"])
        assert (counts[case].merges, counts[case].splits) == (expected["merges"], expected["splits"])


def test_every_image_is_scored_with_the_width_of_all(dataset):
    scores, truth = OutOfFoldScores(dataset), model(dataset, "boundary")
    own_width = [image.nuclei.boundary_iou for image in scores.of_files(truth, 0)]
    scores.boundary_width = 6
    for image, before in zip(scores.of_files(truth, 0), own_width, strict=True):
        labels = scores.labels(truth, 0, image.name)
        assert image.nuclei.boundary_iou == evaluate_image(labels, labels, boundary_width=6).nuclei.boundary_iou
        assert image.nuclei.boundary_iou.denominator > before.denominator


def test_ignored_areas_are_not_scored(dataset):
    case = read_json(dataset.splits)[0]["val"][0]
    before = {i.name: i.nuclei.panoptic for i in OutOfFoldScores(dataset).of_files(model(dataset, "boundary"), 0)}
    content = read_json(dataset.dataset_json)
    content["labels"]["ignore"] = len(content["labels"])
    write_json(dataset.dataset_json, content)
    raw = RawDataset(dataset)
    labels = raw.classes_map(case)
    labels[:48] = content["labels"]["ignore"]
    write_image(raw.classes_path(case), labels)
    after = {i.name: i.nuclei.panoptic for i in OutOfFoldScores(dataset).of_files(model(dataset, "boundary"), 0)}
    assert after[case].tp < before[case].tp
    assert after[case].fp == 0


def test_other_lengths_and_plans_are_said(dataset, capsys):
    write_json(model(dataset, "boundary") / "fold_0" / "run.json", {"iterations": 900})
    plans = read_json(model(dataset, "boundary") / "plans.json")
    plans["nucplan"]["decisions"]["boundary_beta"]["value"] = 9.0
    write_json(model(dataset, "boundary") / "plans.json", plans)
    report = run(dataset, capsys)
    assert "Lengths DIFFER: baseline 2 iterations, boundary 900 iterations." in report
    assert "boundary has another plan than baseline in boundary_beta." in report


def test_folds_with_the_same_validation_images_count_once(dataset, capsys):
    splits = read_json(dataset.splits)
    write_json(dataset.splits, [splits[0], splits[0], *splits[2:]])
    report = run(dataset, capsys)
    assert "Folds compared: 0;" in report


def test_the_reference_is_a_row_of_its_own(dataset, capsys):
    stock = dataset.model(*STOCK_MODEL)
    for fold in (0, 1):
        folder = stock / f"fold_{fold}" / "validation"
        folder.mkdir(parents=True)
        for case in read_json(dataset.splits)[fold]["val"]:
            write_label_map(folder / f"{case}.tif", np.zeros((96, 96), np.int32))
    record = dataset.roots.results / "Dataset501_TinyCoreBorder/nnUNetTrainerReference__nnUNetPlans__2d/fold_0"
    record.mkdir(parents=True)
    write_json(record / "run.json", {"epochs": [3, 50], "made_from": {}})
    report = run(dataset, capsys, "--reference")
    assert row(report, "Mean over the folds", "stock nnU-Net")["PQ (pooled)"] == ".000"
    assert "Lengths DIFFER: baseline 2 iterations, boundary 2 iterations, stock nnU-Net 150 iterations." in report


def plan_of_easy_decoders(dataset: Dataset, diameter: float = 8.0) -> dict:
    """The dataset's plan with decoders that find nuclei in the maps of networks that have hardly been trained."""
    fold = open_fold(dataset, model(dataset, "boundary"), 0, torch.device("cpu"))
    background = next(fold.maps()).maps.semantic[0].astype(float)
    plans = read_json(dataset.plans())
    for name, threshold in (("decoder", 0.4), ("foreground_decoder", 0.5)):
        decoder = DecoderPlan(diameter, foreground_threshold=1 - np.quantile(background, threshold))
        plans["nucplan"]["decisions"][name]["value"] = decoder.to_dict()
    return plans


def write_decoded(dataset: Dataset, config: str, decision: str, plans: dict) -> None:
    """Give a config the label maps that a decision of ``plans`` makes of the maps of its networks."""
    plan = DecoderPlan.from_dict(plans["nucplan"]["decisions"][decision]["value"])
    for fold in (0, 1):
        opened = open_fold(dataset, model(dataset, config), fold, torch.device("cpu"))
        for case, maps, region, shape in opened.maps():
            labels = opened.predictor.decode(maps, region, shape, plan).labels
            assert labels.any()
            write_label_map(model(dataset, config) / f"fold_{fold}" / "validation" / f"{case}.tif", labels)


def cells(report: str, name: str) -> list[list[str]]:
    return [list(row(report, head, name).values())[1:] for head in ("Mean over the folds", "All out-of-fold")]


def test_the_same_decoder_reads_the_maps_of_boundary_configs_anew(dataset, capsys):
    plans = plan_of_easy_decoders(dataset)
    write_json(model(dataset, "boundary") / "plans.json", plans)
    # Both configs have the same networks, so that what differs is the decoder.
    write_decoded(dataset, "baseline", "foreground_decoder", plans)
    report = run(dataset, capsys, "--same-decoder")
    assert cells(report, "boundary, decoder of baseline") == cells(report, "baseline")
    assert row(report, "All out-of-fold", "boundary")["PQ (pooled)"] == "1.000"
    assert "baseline, decoder of baseline" not in report
    assert "Decoded anew" not in report


def test_decoding_anew_takes_the_present_plan_of_the_dataset_for_each_kind_of_config(dataset, capsys):
    plans = plan_of_easy_decoders(dataset)
    write_json(dataset.plans(), plans)
    stored = run(dataset, capsys)
    report = run(dataset, capsys, "--decode-anew", "--same-decoder")
    assert f"Decoded anew, as {dataset.plans().name} says now: baseline by distance (" in report
    assert "; boundary by distance (" in report
    write_decoded(dataset, "baseline", "foreground_decoder", plans)
    write_decoded(dataset, "boundary", "decoder", plans)
    expected = run(dataset, capsys)
    assert cells(expected, "baseline") != cells(expected, "boundary") != cells(stored, "boundary")
    for config in ("baseline", "boundary"):
        assert cells(report, config) == cells(expected, config)
    assert cells(report, "boundary, decoder of baseline") == cells(expected, "baseline")


def test_a_fold_is_predicted_once_for_all_its_rows(dataset, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr(
        "trainers.out_of_fold.maps.open_fold", lambda *fold: opened.append(fold[1:3]) or open_fold(*fold)
    )
    run(dataset, capsys, "--decode-anew", "--same-decoder")
    assert sorted(opened) == [(model(dataset, config), fold) for config in ("baseline", "boundary") for fold in (0, 1)]


def test_crops_show_what_is_decoded_anew(dataset, capsys, tmp_path):
    plans = plan_of_easy_decoders(dataset)
    write_json(dataset.plans(), plans)
    run(dataset, capsys, "--crops", str(tmp_path / "stored"))
    run(dataset, capsys, "--crops", str(tmp_path / "anew"), "--decode-anew")
    write_decoded(dataset, "baseline", "foreground_decoder", plans)
    write_decoded(dataset, "boundary", "decoder", plans)
    run(dataset, capsys, "--crops", str(tmp_path / "expected"))
    for picture in sorted((tmp_path / "expected").iterdir()):
        pixels = {name: read_image(tmp_path / name / picture.name) for name in ("stored", "anew", "expected")}
        assert np.array_equal(pixels["anew"], pixels["expected"])
        assert not np.array_equal(pixels["stored"], pixels["expected"])


def test_what_cannot_be_decoded_anew_is_refused(dataset, capsys):
    plans = read_json(dataset.plans())
    plans["nucplan"]["decisions"]["scale"]["value"] = 2
    write_json(dataset.plans(), plans)
    assert "was trained on images enlarged 1 times" in refused(dataset, capsys, "--decode-anew")


def test_decoders_that_are_not_read_are_no_difference_between_plans(dataset, capsys):
    plans = read_json(model(dataset, "boundary") / "plans.json")
    plans["nucplan"]["decisions"]["decoder"]["value"]["neck"] = 0.1234
    write_json(model(dataset, "boundary") / "plans.json", plans)
    assert "boundary has another plan than baseline in decoder." in run(dataset, capsys)
    assert "another plan" not in run(dataset, capsys, "--decode-anew")


def test_the_test_shares_are_those_of_the_splits(dataset):
    write_json(dataset.splits, [{"train": list("abcd"), "val": ["e"]}, {"train": list("ab"), "val": list("cd")}])
    assert OutOfFoldScores(dataset).test_shares([0]) == {0: 1 / 4}
    assert OutOfFoldScores(dataset).test_shares([0, 1]) == {0: 1 / 4, 1: 1}


def test_crops_are_drawn_of_the_densest_field_of_different_groups(dataset, capsys, tmp_path):
    run(dataset, capsys, "--crops", str(tmp_path / "crops"))
    pictures = sorted((tmp_path / "crops").glob("Tiny_*.png"))
    groups = RawDataset(dataset).info.groups
    assert 1 < len(pictures) <= 3
    assert len({groups[path.stem.split("_", 2)[2]] for path in pictures}) == len(pictures)
    assert read_image(pictures[0]).shape[2] == 3


def test_what_cannot_be_compared_is_refused_in_a_sentence(dataset, capsys):
    assert "no config 'nonsense'" in refused(dataset, capsys, "--configs", "baseline,nonsense")
    error = refused(dataset, capsys, "--configs", "baseline,boundary_attention")
    assert "no fold that all of these have finished (baseline: 0, 1; boundary_attention: none)" in error
    assert "run nucplan_train 1 0 --config boundary_attention --iterations 2, or leave out boundary_attention" in error
    error = refused(dataset, capsys, "--folds", "3")
    assert "has no fold of 3 that all of these have finished" in error
    assert "run nucplan_train 1 3 --config baseline" in error
    error = refused(dataset, capsys, "--reference")
    assert "run python -m trainers.run_reference 1 0 --iterations 2, or leave out --reference." in error
    assert "no finished fold of any config" in refused(dataset, capsys, "--plans", "otherPlans")
    case = read_json(dataset.splits)[0]["val"][0]
    (model(dataset, "boundary") / "fold_0" / "validation" / f"{case}.tif").unlink()
    assert f"has no label map of {case}" in refused(dataset, capsys)


def test_crops_show_nothing_of_ignored_areas(dataset, capsys, tmp_path):
    content = read_json(dataset.dataset_json)
    content["labels"]["ignore"] = len(content["labels"])
    write_json(dataset.dataset_json, content)
    for case in RawDataset(dataset).cases():
        ignored = np.full((96, 96), content["labels"]["ignore"], np.uint8)
        write_image(RawDataset(dataset).classes_path(case), ignored)
    run(dataset, capsys, "--crops", str(tmp_path / "crops"))
    picture = read_image(next((tmp_path / "crops").glob("Tiny_1_*.png")))
    panels = picture[44 : 44 + 480].reshape(-1, 3)
    drawn = [(panels == class_colour(outcome)).all(axis=1).any() for outcome in Outcome]
    assert not any(drawn)


def test_label_maps_are_those_of_the_fold(dataset):
    scores = OutOfFoldScores(dataset)
    case = read_json(dataset.splits)[1]["val"][0]
    path = model(dataset, "baseline") / "fold_1" / "validation" / f"{case}.tif"
    np.testing.assert_array_equal(scores.labels(model(dataset, "baseline"), 1, case), read_label_map(path))
