"""The demo is the chain of commands; started again it goes on from what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from nucplan.cli.demo import main
from nucplan.images import read_image

COMMANDS = ("convert", "plan_and_preprocess", "train", "predict", "evaluate")


def run(output: Path, *options: str) -> int:
    return main(["--output", str(output), "--images", "12", "--iterations", "2", "--device", "cpu", *options])


def results(output: Path) -> dict[Path, int]:
    """When each file was written that costs time to make."""
    wanted = [*output.glob("source/**/*.*"), *output.glob("nuclei/*.tif"), *output.glob("**/checkpoint_final.pth")]
    return {path: path.stat().st_mtime_ns for path in wanted}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("demo") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            patch.setenv(name, "")
        assert run(output) == 0
    return output


def test_it_ends_with_a_table_of_both_rows_and_a_picture(finished, capsys):
    before = results(finished)
    assert len(before) == 12 * 3 + 1 + 4 + 1
    assert run(finished) == 0
    printed = capsys.readouterr().out
    assert [line.split()[1] for line in printed.splitlines() if line.startswith("$ ")] == [
        f"nucplan_{command}" for command in COMMANDS[1:]
    ]
    _, _, table = printed.partition("on the held-out images")
    assert table.splitlines()[0].split() == ["nucplan", "Otsu", "+", "watershed"]
    ours, otsu = next(line for line in table.splitlines() if line.startswith("PQ (pooled)")).split()[-2:]
    assert float(ours) < float(otsu)
    assert "nucplan_convert folder MY_FOLDER" in table
    height, width, _ = read_image(finished / "demo.png").shape
    assert width > 2 * 256 <= 2 * height
    assert results(finished) == before


def test_a_lost_prediction_is_made_again_and_nothing_else(finished):
    before = results(finished)
    lost = next((finished / "nuclei").glob("*.tif"))
    lost.unlink()
    assert run(finished) == 0
    after = results(finished)
    assert after.keys() == before.keys()
    assert {path for path in before if after[path] != before[path]} == {lost}


def test_another_length_is_refused_with_advice(finished, capsys):
    assert run(finished, "--iterations", "3") == 2
    error = capsys.readouterr().err
    assert "2 iterations, not 3" in error
    assert error.splitlines()[-1] == "nucplan_demo: The demo stopped at nucplan_train, for the reason above."


def test_a_demo_of_other_images_is_refused(finished, capsys):
    assert run(finished, "--seed", "1") == 2
    assert "give another --output" in capsys.readouterr().err


def test_too_few_images_are_refused_before_anything_is_drawn(tmp_path, capsys):
    assert main(["--output", str(tmp_path / "demo"), "--images", "11"]) == 2
    assert "at least 12 images" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
