"""The command that finds the decoder: from finished folds to tables, and the tables from scores."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from nucplan.datasets.raw import RawDataset
from nucplan.decoder_candidates import Candidate, candidates, variations
from nucplan.decoder_plan import DecoderPlan
from nucplan.decoder_search import ScoredSet
from nucplan.files import read_json, write_json
from nucplan.images import write_image
from nucplan.layout import find_dataset, resolve_roots
from trainers import CONFIGS, search_decoder, trainer_name
from trainers.out_of_fold.decoder_scores import load_set, scorer
from trainers.search_decoder import all_sets_table, sensitivity_table, set_table

PLAN = DecoderPlan.default("interior", 20.0)
OWN = Candidate.of(PLAN)


def scored_set(name: str, peak: float) -> ScoredSet:
    """Four images in two folds; the PQ of a candidate falls by what its neck lies off the peak."""
    scores = {}
    for candidate in candidates(PLAN, has_boundary=True):
        pq = 0.8 - abs(candidate.values["neck"] - peak)
        scores[candidate] = np.array([[100, 0, 0, 100 * pq, 3, 2]] * 4)
    return ScoredSet(name, PLAN, np.array([0, 0, 0, 1]), scores)


@pytest.fixture
def nnunet_variables(monkeypatch):
    # The command sets them for the rest of the process.
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, "")


def test_the_table_of_a_set_shows_the_plan_the_best_of_each_decoder_and_the_choice():
    lines = set_table(scored_set("Breast", 0.8)).splitlines()
    assert lines[0].startswith("### Breast: 4 images, 400 nuclei, diameter 20 px")
    assert any(line.startswith("| the plan: interior (") and line.endswith("| 0.600 | 12 | 8 |") for line in lines)
    for name in ("distance", "boundary", "tempered", "interior"):
        assert any(line.startswith(f"| {name} (") and ", neck 0.8," in line and "| 0.800 |" in line for line in lines)
    assert "| each fold by what the others choose from the coarse grid | 0.800 | 12 | 8 |" in lines
    assert any(line.startswith("- fold 0 (3 images): PQ 0.800, the plan 0.600") for line in lines)


def test_the_table_of_all_sets_says_what_a_set_loses_by_the_choice_of_the_others():
    lines = all_sets_table([scored_set("A", 0.8), scored_set("B", 0.6)]).splitlines()
    assert lines[2] == "| decoder | A | B | mean regret |"
    name, cells = lines[-1].strip("| ").split(" | ", 1)
    assert name == "each set by what suits the others, from the coarse grid"
    assert cells == "0.600 (0.200) | 0.600 (0.200) | 0.2000"
    assert lines[4].endswith("| 0.1000 |")


def test_the_table_of_variations_marks_the_centre():
    sets = [scored_set("A", 0.6)]
    for candidate in (one for row in variations(OWN).values() for one in row):
        sets[0].scores.setdefault(candidate, np.array([[100, 0, 0, 50, 1, 1]] * 4))
    table = sensitivity_table(sets, OWN)
    assert "| neck | " in table
    assert "**0.6: 0.800 (12 / 8)**" in table
    assert "0.7: 0.500 (4 / 4)" in table


@pytest.fixture
def config(trained_root) -> str:
    dataset = find_dataset(resolve_roots(trained_root), 1)
    return next(name for name in CONFIGS if dataset.model(trainer_name(name)).is_dir())


def test_finished_folds_are_searched_and_nothing_is_written(trained_root, config, nnunet_variables, capsys):
    before = sorted(trained_root.rglob("*"))
    arguments = ["Tiny", "1", "--config", config, "--device", "cpu", "--root", str(trained_root)]
    assert search_decoder.main(arguments) == 0
    out = capsys.readouterr().out
    assert out.count("### Tiny: ") == 1
    assert "| each fold by what the others choose from the coarse grid |" in out
    assert out.count("\n- fold ") == 2
    assert "### Around " in out
    assert sorted(trained_root.rglob("*")) == before


def test_a_model_without_a_finished_fold_is_refused(tiny_root, nnunet_variables, capsys):
    assert search_decoder.main(["1", "--root", str(tiny_root)]) == 2
    error = capsys.readouterr().err
    assert "has no finished fold; train one first, for example with nucplan_train 1 0 --config boundary_atten" in error


def test_an_unfinished_fold_is_refused_by_name(trained_root, config, nnunet_variables, capsys):
    assert search_decoder.main(["1", "--config", config, "--folds", "3", "--root", str(trained_root)]) == 2
    assert "fold_3 is not finished" in capsys.readouterr().err


@pytest.mark.parametrize("folds", ["0,7", "0,x", "", "0,,1", "-1"])
def test_what_is_no_list_of_folds_is_refused_in_a_sentence(trained_root, capsys, folds):
    assert search_decoder.main(["1", f"--folds={folds}", "--root", str(trained_root)]) == 2
    error = capsys.readouterr().err
    assert error.endswith(f"--folds {folds} is not a list of different numbers from 0 to 4; give it like 0,1.\n")
    assert error.count("\n") == 1


def test_areas_that_are_not_annotated_have_no_say(trained_root, config, tmp_path):
    """Half of an image is ignored: of its nuclei none is missed there, and none there is false."""
    shutil.copytree(trained_root, tmp_path / "root")
    dataset = find_dataset(resolve_roots(tmp_path / "root"), 1)
    content, raw = read_json(dataset.dataset_json), RawDataset(dataset)
    content["labels"]["ignore"] = len(content["labels"])
    case = read_json(dataset.splits)[0]["val"][0]
    labels, instances = raw.classes_map(case), raw.instances(case)
    labels[:48] = content["labels"]["ignore"]
    whole = load_set(dataset, dataset.model(trainer_name(config)), [0], torch.device("cpu"))
    write_json(dataset.dataset_json, content)
    write_image(raw.classes_path(case), labels)
    partly = load_set(dataset, dataset.model(trainer_name(config)), [0], torch.device("cpu"))
    candidate = Candidate.of(DecoderPlan(8.0))
    with scorer([whole, partly]) as score:
        before, after = (score(one.scored, [candidate])[0, 0] for one in (whole, partly))
    annotated = before[0] + before[2], after[0] + after[2]
    assert annotated[0] == len(np.unique(instances)) - 1
    assert annotated[1] <= len(np.unique(instances[48:])) - 1 < annotated[0]
