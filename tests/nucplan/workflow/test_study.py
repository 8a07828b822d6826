"""The jobs that a study asks for, without running any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import trainers
from nucplan.cli.benchmark import main
from nucplan.files import read_json, write_json
from nucplan.images import write_image
from nucplan.layout import FINAL, Dataset, resolve_roots
from nucplan.reproduction.grid import grid, words
from nucplan.workflow.jobs import Job, PlanCopy, prerequisites
from nucplan.workflow.pretrained import Pretrained
from nucplan.workflow.study import Study
from planners.pretrained import EncoderRequest

TRAINERS = {"baseline": "Baseline", "cellvta": "Adapted"}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return raw_dataset(tmp_path, "Dataset001_A")


def raw_dataset(root: Path, name: str, **changes) -> Dataset:
    """Only what is looked at before work: a description, and the names of images."""
    made = Dataset(resolve_roots(root), name)
    content = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "nucleus": 1},
        "numTraining": 1,
        "file_ending": ".png",
        "nuclei": {"mpp": 0.25},
    }
    write_json(made.dataset_json, content | changes)
    for part in ("Tr", "Ts"):
        made.part("images", part).mkdir()
    made.part("instances").mkdir()
    (made.part("images") / "a_0000.png").write_text(name)
    (made.part("instances") / "a.tif").touch()
    return made


def plan(path: Path, scale: int, overridden: bool = False, encoder: Pretrained | None = None, **architecture) -> None:
    decisions = {
        "scale": {"value": scale} | ({"overridden": True} if overridden else {}),
        "batch_size": {"value": 2, "from": {"predicted_bytes": 1}},
    }
    configurations = {"2d": {"batch_size": 2, "architecture": architecture}}
    section = {"decisions": decisions}
    if encoder is not None:
        decisions["encoder"] = {"value": {"depth": 2}, "overridden": True}
        asked = EncoderRequest(encoder.name, encoder.weights, encoder.marker_embeddings, None, encoder.break_contract)
        section["weights"] = {"file": str(encoder.weights), "sha256": encoder.sha256}
        section["encoder_request"] = asked.to_json()
    write_json(path, {"configurations": configurations, "nucplan": section})


def study(dataset: Dataset, **options) -> Study:
    output = dataset.roots.results / "benchmark"
    return Study((dataset,), TRAINERS, output, folds=(0, 1), iterations=2, device="cpu", **options)


def test_the_plan_job_of_a_plan_with_weights_is_done_by_its_own_data(dataset: Dataset) -> None:
    plan(dataset.plans(), 1)
    content = read_json(dataset.plans())
    content["configurations"]["2d"]["data_identifier"] = "nucplanPlans_NoNormalization_2d"
    write_json(dataset.plans(), content)
    planning = job(study(dataset), "plan/Dataset001_A")
    assert dataset.made_from("nucplanPlans_NoNormalization_2d") in planning.outputs


def job(of: Study, name: str) -> Job:
    (found,) = [job for job in of.jobs() if job.name == name]
    return found


def follows(words_of: tuple[str, ...], option: str) -> str | None:
    return words_of[words_of.index(option) + 1] if option in words_of else None


def test_injection_blocks_go_to_the_trainings_of_cellvta_alone_and_into_the_name_of_their_plan(dataset):
    asked = study(dataset, injection_blocks=(1, 2), seeds=(0, 3))
    for seed, suffix in (("", ""), ("seed_3/", "_seed3")):
        adapted = job(asked, f"train/Dataset001_A/cellvta/{seed}fold_0")
        assert follows(adapted.command, "--injection-blocks") == "1,2"
        assert f"Adapted__nucplanPlans_inject1-2{suffix}__2d" in str(adapted.outputs[0])
        baseline = job(asked, f"train/Dataset001_A/baseline/{seed}fold_0")
        assert "--injection-blocks" not in baseline.command
        assert (adapted.plan.variant, baseline.plan.variant) == (True, False)
        assert f"Baseline__nucplanPlans{suffix}__2d" in str(baseline.outputs[0])
    for name in ("choose", "cost"):
        given = follows(job(asked, f"{name}/Dataset001_A").command, "--plans")
        assert given == "nucplanPlans,cellvta=nucplanPlans_inject1-2"
    assert follows(job(asked, "report").command, "--injection-blocks") == "1,2"
    assert "--plans" not in job(study(dataset), "choose/Dataset001_A").command


def test_a_variant_may_differ_from_its_plan_in_its_architecture_and_in_nothing_else(tmp_path):
    base, copy = tmp_path / "plans.json", tmp_path / "copy.json"
    plan(base, scale=1)
    plan(copy, scale=1, blocks=2)
    content = read_json(copy)
    content["nucplan"]["decisions"]["adapter"] = {"value": {"injection_blocks": [1]}}
    write_json(copy, content)
    assert PlanCopy(base, copy, variant=True).same()
    assert not PlanCopy(base, copy).same()
    plan(copy, scale=2, blocks=2)
    assert not PlanCopy(base, copy, variant=True).same()


@pytest.mark.parametrize(("planned", "kept"), [(1, True), (2, False)])
def test_a_dataset_that_is_planned_at_another_scale_is_planned_anew(dataset, planned, kept):
    for path in (dataset.plans(), dataset.made_from()):
        write_json(path, {})
    plan(dataset.plans(), planned, overridden=True)
    dataset.part("labels").mkdir()
    for path in (dataset.plans(), dataset.made_from()):
        path.touch()
    assert job(study(dataset), "plan/Dataset001_A").done
    planning = job(study(dataset, native_resolution=True), "plan/Dataset001_A")
    assert planning.done == kept
    # What the user decides now stands in place of what was decided before.
    assert "--native-resolution" in planning.command
    assert not any(word.startswith("--set=scale") for word in planning.command)
    assert planning.refused_because() is None


def test_a_plan_is_not_made_anew_under_trainings_of_another_scale(dataset):
    plan(dataset.plans(), scale=2)
    model = study(dataset).model(dataset, "baseline")
    plan(model / "plans.json", scale=2)
    planning = job(study(dataset, native_resolution=True), "plan/Dataset001_A")
    assert planning.refused_because() is None
    (model / "fold_0").mkdir()
    (model / "fold_0" / FINAL).touch()
    assert f"{model} was trained with a plan whose scale is not 1" in planning.refused_because()
    assert job(study(dataset), "plan/Dataset001_A").refused_because() is None


def planned_for(path: Path) -> Pretrained:
    return Pretrained("virtues", path, "ab" * 32, path.parent / "embeddings", None, True)


@pytest.mark.parametrize("native", [False, True])
def test_a_dataset_is_planned_again_for_the_encoder_that_it_is_planned_for(dataset, tmp_path, native):
    plan(dataset.plans(), scale=2, overridden=True, encoder=planned_for(tmp_path / "a.safetensors"))
    command = job(study(dataset, native_resolution=native), "plan/Dataset001_A").command
    given = {
        "--encoder=virtues", f"--weights={tmp_path / 'a.safetensors'}", "--break-contract",
        f"--marker-embeddings={tmp_path / 'embeddings'}", '--set=encoder={"depth": 2}',
    }  # fmt: skip
    assert given <= set(command)
    assert not any(word.startswith("--marker-table") for word in command)


def test_other_weights_than_those_of_the_plan_are_planned_for_unless_trainings_are_in_the_way(dataset, tmp_path):
    first, second = (planned_for(tmp_path / name) for name in ("a.safetensors", "b.safetensors"))
    second = replace(second, sha256="cd" * 32)
    write_json(dataset.made_from(), {})
    dataset.part("labels").mkdir()
    plan(dataset.plans(), scale=1, encoder=first)
    dataset.made_from().touch()
    same, other = (study(dataset, encoders={dataset.folder_name: one}) for one in (first, second))
    assert job(same, "plan/Dataset001_A").done
    planning = job(other, "plan/Dataset001_A")
    assert "is not for the encoder virtues with" in planning.unfinished_because()
    assert f"--weights={second.weights}" in planning.command
    # What was set of one encoder is no setting of another.
    assert not any(word.startswith("--set=encoder") for word in planning.command)
    assert planning.refused_because() is None
    model = other.model(dataset, "baseline")
    for planned, refused in ((first, True), (None, True), (second, False), (replace(second, weights=Path("c")), False)):
        plan(model / "plans.json", scale=1, encoder=planned)
        (model / "fold_0").mkdir(exist_ok=True)
        (model / "fold_0" / FINAL).touch()
        reason = job(other, "plan/Dataset001_A").refused_because()
        assert (reason is not None) == refused
    assert job(same, "plan/Dataset001_A").refused_because().startswith(f"{model} was trained with a plan that is not")


def test_an_encoder_of_the_command_is_planned_for_in_all_datasets(dataset, tmp_path, capsys, monkeypatch):
    raw_dataset(tmp_path, "Dataset002_B")
    (tmp_path / "uni.bin").write_bytes(b"weights")
    found = []
    monkeypatch.setattr("nucplan.cli.benchmark._write_manifest", found.append)
    command = ["A", "B", "--configs", "baseline", "--manifest", "--root", str(tmp_path)]
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--encoder", "uni", "--weights", "uni.bin"]) == 0
    for name in ("Dataset001_A", "Dataset002_B"):
        planning = job(found[0], f"plan/{name}").command
        assert {"--encoder=uni", f"--weights={tmp_path / 'uni.bin'}"} <= set(planning)
    for options, part in (
        (["--encoder", "uni"], "--weights is missing"),
        (["--weights", "uni.bin"], "--encoder is missing"),
        (["--encoder", "uni", "--weights", "none.bin"], "none.bin does not exist"),
        (["--encoder", "nothing", "--weights", "uni.bin"], "nothing"),
        (["--encoder", "virtues", "--weights", "uni.bin", "--marker-embeddings", "gone"], "gone does not exist"),
    ):
        assert main([*command, *options]) == 2
        error = capsys.readouterr().err
        assert part in error
        assert error.count("\n") == 1


def test_a_transfer_waits_for_the_choice_and_reads_the_images_of_the_other_dataset(dataset, tmp_path):
    other = raw_dataset(tmp_path, "Dataset002_B")
    asked = study(dataset, transfer_to=(other,))
    jobs = asked.jobs()
    transfer = job(asked, "transfer/Dataset001_A/Dataset002_B")
    assert "choose/Dataset001_A" in [needed.name for needed in prerequisites(jobs)[transfer.name]]
    assert other.part("images") / "a_0000.png" in transfer.inputs
    (other.part("images", "Ts") / "b_0000.png").touch()
    assert other.part("images") / "a_0000.png" in job(asked, transfer.name).inputs
    other.part("instances", "Ts").mkdir()
    (other.part("instances", "Ts") / "b.tif").touch()
    inputs = job(asked, transfer.name).inputs
    assert other.part("images", "Ts") / "b_0000.png" in inputs
    assert other.part("images") / "a_0000.png" not in inputs
    assert follows(job(asked, "report").command, "--transfer-to") == "2"
    assert [needed.name for needed in prerequisites(jobs)["report"]].count(transfer.name) == 1


def test_each_of_two_datasets_is_scored_on_the_other_and_on_itself_never(dataset, tmp_path):
    other = raw_dataset(tmp_path, "Dataset002_B")
    both = Study((dataset, other), TRAINERS, tmp_path / "out", transfer_to=(dataset, other), device="cpu")
    names = [job.name for job in both.jobs() if job.name.startswith("transfer")]
    assert names == ["transfer/Dataset001_A/Dataset002_B", "transfer/Dataset002_B/Dataset001_A"]
    assert both.read == (dataset, other)


def test_what_prediction_costs_waits_for_one_fold_and_for_no_choice(dataset):
    jobs = study(dataset).jobs()
    needed = [needed.name for needed in prerequisites(jobs)["cost/Dataset001_A"]]
    assert needed == [f"train/Dataset001_A/{config}/fold_0" for config in TRAINERS]


def test_the_words_of_a_grid_ask_for_the_same_grid(dataset, tmp_path, monkeypatch):
    other = raw_dataset(tmp_path, "Dataset002_B")
    monkeypatch.setitem(trainers.CONFIGS, "cellvta", "trainers.baseline.Adapted")
    asked = study(dataset, transfer_to=(other,), native_resolution=True, injection_blocks=(1, 3), reference=("a", "b"))
    found = []
    monkeypatch.setattr("nucplan.cli.benchmark._write_manifest", found.append)
    assert main([*words(grid(asked)), "--manifest", "--root", str(tmp_path)]) == 0
    assert grid(found[0]) == grid(asked)
    plain = grid(study(dataset))
    assert not {"transfer_to", "native_resolution", "injection_blocks"} & set(plain)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--transfer-to", "A"), "--transfer-to A is the dataset that is trained on"),
        (("--transfer-to", "Missing"), "Dataset 'Missing' does not exist"),
        (("--transfer-to", "B,Dataset002_B"), "names a dataset twice"),
        (("--transfer-to", "Grey"), "the images of Dataset003_Grey have 1 channel(s) (DNA); leave it out"),
        (("--transfer-to", "Far"), "says 50 um per pixel and"),
        (("--transfer-to", "Twin"), "a_0000.png is the training image a of Dataset001_A, whose models are"),
        (("--transfer-to", "Empty"), "holds no image to score"),
        (("--transfer-to", "Bare"), "a.tif is missing, so its image cannot be scored"),
        (("--injection-blocks", "1,2"), "--injection-blocks is about the config cellvta"),
        (("--injection-blocks", "0,1"), "different numbers from 1 to 4"),
        (("--injection-blocks", "5"), "different numbers from 1 to 4"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_before_any_work(dataset, tmp_path, capsys, options, part):
    raw_dataset(tmp_path, "Dataset002_B")
    raw_dataset(tmp_path, "Dataset003_Grey", channel_names={"0": "DNA"})
    raw_dataset(tmp_path, "Dataset004_Far", nuclei={"mpp": 50})
    for each in (dataset, raw_dataset(tmp_path, "Dataset007_Twin")):
        write_image(each.part("images") / "a_0000.png", np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    (raw_dataset(tmp_path, "Dataset005_Empty").part("images") / "a_0000.png").unlink()
    (raw_dataset(tmp_path, "Dataset006_Bare").part("instances") / "a.tif").unlink()
    assert main(["A", "--configs", "baseline", *options, "--root", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1
    assert not dataset.results.exists()


def test_all_injection_blocks_are_what_is_trained_anyway(dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(trainers.CONFIGS, "cellvta", "trainers.baseline.Adapted")
    options = ["A", "--configs", "cellvta", "--injection-blocks", "1,2,3,4", "--manifest", "--root", str(tmp_path)]
    found = []
    monkeypatch.setattr("nucplan.cli.benchmark._write_manifest", found.append)
    assert main(options) == 0
    assert found[0].injection_blocks is None


def test_a_plan_whose_adapter_a_user_set_is_not_varied(dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(trainers.CONFIGS, "cellvta", "trainers.baseline.Adapted")
    decisions = {"adapter": {"value": {"injection_blocks": [1]}, "overridden": True}}
    write_json(dataset.plans(), {"nucplan": {"decisions": decisions}})
    options = ["A", "--configs", "cellvta", "--injection-blocks", "1,2", "--manifest", "--root", str(tmp_path)]
    assert main(options) == 2
    assert "has an adapter that you set, and --injection-blocks 1,2 is another word" in capsys.readouterr().err
