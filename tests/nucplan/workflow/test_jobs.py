"""When a job is done, and what waits for what."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucplan.errors import NucplanError
from nucplan.workflow.jobs import Job, Length, PlanCopy, prerequisites

times = st.one_of(st.none(), st.integers(1, 5))


def files(folder: Path, kind: str, stamps: list[int | None]) -> tuple[Path, ...]:
    """A file per stamp, changed at that time; None for one that is not there."""
    paths = tuple(folder / f"{kind}{i}" for i in range(len(stamps)))
    for path, stamp in zip(paths, stamps, strict=True):
        if stamp is not None:
            path.touch()
            os.utime(path, (stamp, stamp))
    return paths


@given(st.lists(times, max_size=3), st.lists(times, min_size=1, max_size=3))
def test_a_job_is_done_when_all_outputs_are_there_and_none_is_older_than_an_input(inputs, outputs):
    with tempfile.TemporaryDirectory() as folder:
        job = Job("a", ("x",), files(Path(folder), "in", inputs), files(Path(folder), "out", outputs))
        complete = None not in inputs and None not in outputs
        assert job.done == (complete and all(i <= o for i in inputs for o in outputs))


def plan(path: Path, seed: int, **decisions: int) -> Path:
    made = {name: {"value": value, "because": f"of seed {seed}"} for name, value in decisions.items()}
    content = {"plans_name": path.stem, "configurations": {}, "nucplan": {"seed": seed, "decisions": made}}
    path.write_text(json.dumps(content))
    return path


def test_what_was_made_with_the_same_plan_stays_done_when_the_plan_is_written_again(tmp_path):
    base, copy = plan(tmp_path / "base.json", 0, patch=64), plan(tmp_path / "seed1.json", 1, patch=64)
    (output,) = files(tmp_path, "out", [1])
    job = Job("a", ("x",), (), (output,), plan=PlanCopy(base, copy))
    assert job.done
    plan(base, 0, patch=96)
    assert str(copy) in job.unfinished_because()
    copy.unlink()
    assert not job.done


@pytest.mark.parametrize(
    ("iterations", "held", "refused"), [(100, True, False), (150, True, True), (150, False, False), (None, True, False)]
)
def test_a_training_of_another_length_is_refused_where_there_is_one(tmp_path, iterations, held, refused):
    (record,) = files(tmp_path, "run.json", [1])
    record.write_text('{"iterations": 100}')
    (checkpoint,) = files(tmp_path, "checkpoint", [1 if held else None])
    reason = Job("a", ("x",), length=Length(record, iterations, (checkpoint,))).refused_because()
    assert (reason is not None) == refused


@pytest.mark.parametrize("problem", [None, "fold_0 was trained on other images."])
def test_a_training_on_other_data_is_neither_done_nor_run(tmp_path, problem):
    (output,) = files(tmp_path, "out", [1])
    data = SimpleNamespace(record=tmp_path / "fold_0" / "run.json", problem=lambda: problem)
    found = Job("a", ("x",), (), (output,), data=data)
    assert found.done == (problem is None)
    assert found.refused_because() == problem


def test_files_to_wait_for_may_be_younger_than_the_outputs(tmp_path):
    (output,), (marker,) = files(tmp_path, "out", [1]), files(tmp_path, "marker", [5])
    assert Job("a", ("x",), (), (output,), after=(marker,)).done
    assert not Job("a", ("x",), (marker,), (output,)).done


def test_an_output_that_another_command_made_is_made_again(tmp_path):
    output = tmp_path / "table"
    output.write_text("Made by `x --folds 0`.")
    assert Job("a", ("x",), (), (output,), written="x --folds 0").done
    assert not Job("a", ("x",), (), (output,), written="x --folds 0,1").done


def job(name: str, inputs: str = "", outputs: str = "") -> Job:
    return Job(name, ("x",), tuple(map(Path, inputs)), tuple(map(Path, outputs)))


def test_a_job_waits_for_those_that_write_what_it_reads():
    first, second, third = job("first", "r", "ab"), job("second", "a", "c"), job("third", "bc", "d")
    needs = prerequisites([first, second, third])
    assert needs == {"first": (), "second": (first,), "third": (first, second)}


def test_a_plan_is_waited_for_as_well(tmp_path):
    planning = Job("plan", ("x",), (), (tmp_path / "plan.json",))
    training = Job("train", ("x",), (), (Path("m"),), plan=PlanCopy(tmp_path / "plan.json", tmp_path / "copy.json"))
    assert prerequisites([planning, training])["train"] == (planning,)


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ([job("a", "", "x"), job("a", "", "y")], "twice"),
        ([job("a", "", "x"), job("b", "", "x")], "twice"),
        ([job("a", "y", "x"), job("b", "x", "y"), job("c", "", "z")], "wait for each other: a, b"),
    ],
)
def test_lists_that_cannot_be_run_are_refused(jobs, message):
    with pytest.raises(NucplanError, match=message):
        prerequisites(jobs)
