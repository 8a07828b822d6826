"""The report of trained folds: its numbers are theirs, and what is missing is a hole that has a name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nucplan.datasets.raw import RawDataset
from nucplan.files import read_json, write_json
from nucplan.layout import Dataset
from nucplan.metrics.folders import evaluate_folders
from trainers import report, trainer_name
from trainers.out_of_fold.classes import NucleusClasses


@pytest.fixture
def dataset(two_configs: Dataset) -> Dataset:
    """Those whose ``boundary`` predicts the true classes as well."""
    raw = RawDataset(two_configs)
    for path in model(two_configs, "boundary").glob("fold_*/validation/*.tif"):
        truth = raw.instances(path.stem)
        names = {i: raw.info.class_names[k - 1] for i, k in NucleusClasses(raw).annotated(path.stem, truth).items()}
        rows = [f"{nucleus},{name}" for nucleus, name in names.items()]
        path.with_suffix(".csv").write_text("\n".join(["id,class", *rows]) + "\n")
    return two_configs


def model(dataset: Dataset, config: str) -> Path:
    return dataset.model(trainer_name(config))


def made(dataset: Dataset, *options: str) -> dict:
    output = dataset.roots.raw.parent / "compared"
    words = ["1", "--root", str(dataset.roots.raw.parent), "--device", "cpu", "--output", str(output)]
    assert report.main([*words, "--configs", "baseline,boundary", "--folds", "0,1", *options]) == 0
    page = (output / "report.html").read_text()
    assert page.count("<img") >= 2
    # NaN is not JSON.
    content = json.loads((output / "report.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert content["provenance"]["command"].startswith("python -m trainers.report 1 --root")
    return content["datasets"][0] | {"page": page}


def test_its_numbers_are_those_of_the_folds(dataset):
    found = made(dataset)
    (seed,) = found["seeds"]
    comparison = seed["comparison"]
    assert [row["config"] for row in comparison["rows"]] == ["baseline", "boundary", "boundary, decoder of baseline"]
    titles = [score["title"] for score in comparison["scores"]]
    assert [score["title"] for score in comparison["scores"] if score["primary"]] == titles[:2]
    truth = dataset.part("instances")
    for fold in (0, 1):
        cases = read_json(dataset.splits)[fold]["val"]
        folder = model(dataset, "baseline") / f"fold_{fold}" / "validation"
        expected = evaluate_folders(folder, truth, stems=cases)
        cells = dict(zip(titles, comparison["rows"][0]["cells"], strict=True))
        of_fold = {title: cell["of_folds"][fold] for title, cell in cells.items()}
        assert of_fold["PQ (pooled)"] == pytest.approx(expected["summary"]["pq_pooled"])
        assert of_fold["mPQ+ (mean of classes)"] == pytest.approx(expected["summary"]["mpq_plus"])
        assert of_fold["Dice (image mean)"] == pytest.approx(expected["summary"]["dice_image_mean"])
    boundary = dict(zip(titles, comparison["rows"][1]["cells"], strict=True))
    assert boundary["mPQ+ (mean of classes)"]["mean"] == boundary["PQ (pooled)"]["mean"] == 1
    of_classes = seed["classes"]["rows"]["boundary"]
    assert [of["pq_pooled"] for of in of_classes.values()] == [1.0] * len(of_classes)
    assert found["failed"] == []


def test_costs_and_curves_are_what_the_trainings_left(dataset):
    found = made(dataset)
    cost = found["costs"]["boundary"]
    assert cost["iterations"] == 2
    assert cost["parameters"] > 1000
    assert cost["seconds_per_iteration"] > 0
    assert cost["images_per_second"] == pytest.approx(2 / cost["seconds_per_iteration"])
    assert cost["peak_memory_bytes"] > 2**26
    assert {(curve["config"], curve["fold"]) for curve in found["curves"]} == {
        (config, fold) for config in ("baseline", "boundary") for fold in (0, 1)
    }
    assert all("alpha" in curve["columns"] for curve in found["curves"])


def test_a_fold_that_failed_is_a_hole_with_the_last_words_of_its_job_and_in_no_mean(dataset):
    whole = made(dataset)["seeds"][0]["comparison"]["rows"][1]["cells"][0]
    shutil.rmtree(model(dataset, "boundary") / "fold_1" / "validation")
    logs = dataset.roots.raw.parent / "compared" / "logs"
    logs.mkdir()
    (logs / "train.Dataset001_Tiny.boundary.fold_1.log").write_text("$ nucplan_train\n\rbar 1\rbar 2\nno <space>.\n\n")
    found = made(dataset, "--folds", "0,1,2")
    row = found["seeds"][0]["comparison"]["rows"][1]
    assert row["folds"] == [0]
    assert row["cells"][0]["of_folds"] == [whole["of_folds"][0], None]
    assert row["cells"][0]["mean"] == whole["of_folds"][0]
    assert found["seeds"][0]["comparison"]["rows"][0]["folds"] == [0, 1]
    assert [(job["job"], job["state"], job["reason"]) for job in found["failed"]] == [
        ("train/Dataset001_Tiny/baseline/fold_2", "not run", None),
        ("train/Dataset001_Tiny/boundary/fold_1", "failed", "no <space>."),
        ("train/Dataset001_Tiny/boundary/fold_2", "not run", None),
    ]
    assert "no &lt;space&gt;." in found["page"]


def test_a_label_map_that_is_not_there_fails_its_fold_alone(dataset):
    case = read_json(dataset.splits)[1]["val"][0]
    (model(dataset, "boundary") / "fold_1" / "validation" / f"{case}.tif").unlink()
    found = made(dataset)
    (job,) = found["failed"]
    assert f"has no label map of {case}" in job["reason"]
    assert found["seeds"][0]["comparison"]["rows"][1]["folds"] == [0]


def test_without_the_baseline_nothing_is_compared_and_a_config_without_any_fold_is_named(dataset):
    shutil.rmtree(model(dataset, "baseline"))
    found = made(dataset)
    assert found["seeds"][0]["comparison"] is None
    assert found["seeds"][0]["not_compared"].startswith("baseline has no finished fold")
    assert [fold["pq"] for fold in found["seeds"][0]["runs"][1]["folds"]] == [1.0, 1.0]


def test_crops_name_the_field_on_which_configs_differ(dataset):
    crops = made(dataset)["crops"]
    groups = RawDataset(dataset).info.groups
    assert 1 < len(crops) <= 3
    assert len({groups[crop["case"]] for crop in crops}) == len(crops)
    assert [crop["differing"] for crop in crops] == sorted((crop["differing"] for crop in crops), reverse=True)


def test_a_choice_that_failed_says_so_in_the_words_of_its_job(dataset):
    made(dataset)
    log = dataset.roots.raw.parent / "compared" / "logs" / f"choose.{dataset.folder_name}.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text("$ python -m trainers.choose_ensemble\nno space left.\n")
    assert f"choose/{dataset.folder_name} failed: no space left." in made(dataset)["page"]


def test_the_ensemble_and_the_test_part_are_shown_where_they_are_there(dataset):
    assert "There is no choice of an ensemble here. It is made when all trainings are there." in made(dataset)["page"]
    option = {"configs": ["boundary"], "score": 0.5, "merges": 1, "splits": 2, "decoder": {"name": "tempered"}}
    evidence = {"options": [option], "nested": {"score": 0.4567, "of_folds": {"0": option}}}
    chosen = {"configs": ["boundary"], "folds": [0, 1], "decoder": {"name": "tempered"}, "measure": "PQ (pooled)"}
    ours = {"among": ["baseline", "boundary"], "weights": {}}
    write_json(dataset.results / "inference.json", chosen | ours | {"evidence": evidence})
    row = {
        "name": "boundary, fold 0",
        "configs": ["boundary"],
        "folds": [0],
        "chosen": True,
        "scores": {"PQ (pooled)": 0.321},
    }
    test = ours | {"folds": [0, 1], "images": 2, "groups": 1, "rows": [row]}
    write_json(dataset.roots.raw.parent / "compared" / dataset.folder_name / "test.json", test)
    page = made(dataset)["page"]
    assert ".457 PQ (pooled)" in page
    assert '<tr class="chosen"><th scope="row">boundary, fold 0</th><td>.321</td>' in page


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"among": ["baseline"]}, "inference.json is of other configs or folds than this report."),
        ({"folds": [0, 1, 2, 3, 4]}, "inference.json is of other configs or folds than this report."),
        ({"weights": {"gone/fold_0": "0"}}, "inference.json is of networks that were trained anew since or are gone."),
    ],
)
def test_a_choice_among_other_networks_is_not_shown(dataset, other, reason):
    content = {"configs": ["boundary"], "folds": [0], "among": ["baseline", "boundary"], "weights": {}, "evidence": {}}
    write_json(dataset.results / "inference.json", content | other)
    assert f"There is no choice of an ensemble here. {reason}" in made(dataset)["page"]


def test_a_dataset_that_was_not_planned_is_in_the_report_with_the_reason(dataset):
    dataset.plans().unlink()
    output = dataset.roots.raw.parent / "compared"
    (output / "logs").mkdir(parents=True)
    (output / "logs" / "plan.Dataset001_Tiny.log").write_text("$ x\nnucplan_plan_and_preprocess: too few images.\n")
    words = ["1", "--root", str(dataset.roots.raw.parent), "--output", str(output)]
    assert report.main(words) == 0
    assert (
        "there is nothing to report: nucplan_plan_and_preprocess: too few images."
        in (output / "report.html").read_text()
    )


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--configs", "best"), "There is no config 'best'"),
        (("--configs", "boundary,boundary"), "twice"),
        (("--folds", "7"), "numbers from 0 to 4"),
    ],
)
def test_what_cannot_be_reported_is_refused_in_a_sentence(tiny_root, tmp_path, capsys, options, part):
    words = ["1", "--root", str(tiny_root), "--output", str(tmp_path / "compared"), *options]
    assert report.main(words) == 2
    assert part in capsys.readouterr().err
    assert not (tmp_path / "compared").exists()
