"""What prediction costs: configs take turns, ratios are of the same turns, and the file says what was measured."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nucplan.files import read_json
from trainers import measure_cost
from trainers.cost_of_prediction import MOST_PIXELS, chosen_images, ratios, summary, take_turns


@pytest.fixture(autouse=True)
def _nnunet_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    # The command sets them for the rest of the process.
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, "")


class Recorder:
    """A predictor that keeps a diary of what it is shown."""

    def __init__(self, name: str, diary: list[tuple[str, int]]) -> None:
        self.name, self.diary = name, diary

    def probabilities(self, image: np.ndarray):
        self.diary.append((self.name, int(image[0, 0])))
        return None, None

    def decode(self, maps, region, shape) -> None:
        pass


def test_every_config_has_predicted_an_image_before_the_next_one_and_each_comes_first_in_turn():
    diary: list[tuple[str, int]] = []
    images = [np.full((2, 2), k) for k in range(3)]
    seconds = take_turns({name: Recorder(name, diary) for name in "ab"}, images, rounds=2)
    warm, first, second = diary[:2], diary[2:8], diary[8:]
    assert warm == [("a", 0), ("b", 0)]
    assert first == [(name, k) for k in range(3) for name in "ab"]
    assert second == [(name, k) for k in range(3) for name in "ba"]
    assert {name: of.shape for name, of in seconds.items()} == {"a": (2, 3, 2), "b": (2, 3, 2)}


def test_a_machine_that_slows_down_changes_no_ratio():
    steady = np.random.default_rng(0).uniform(1, 2, (5, 4, 2))
    slowing = np.array([1, 1, 1, 9, 30])[:, None, None]
    found = ratios(3 * steady * slowing, steady * slowing)
    assert found == pytest.approx({"times_baseline": 3, "times_baseline_of_maps": 3})
    assert ratios(steady, steady) == {"times_baseline": 1, "times_baseline_of_maps": 1}
    # Something else ran while one config had its turns of a round.
    disturbed = np.array([1, 1, 20, 1, 1])[:, None, None]
    assert ratios(3 * steady * disturbed, steady) == pytest.approx(found)


def test_the_network_and_the_decoder_are_told_apart():
    seconds = np.ones((3, 2, 2)) * [1.0, 0.25]
    found = summary(seconds, megapixels=5)
    assert (found["seconds"], found["seconds_of_maps"], found["seconds_of_decoding"]) == (2.5, 2, 0.5)
    assert (found["images_per_second"], found["megapixels_per_second"]) == (0.8, 2)
    baseline = np.ones((3, 2, 2)) * [0.5, 0.25]
    assert ratios(seconds, baseline) == pytest.approx({"times_baseline": 5 / 3, "times_baseline_of_maps": 2})


@pytest.mark.parametrize(("side", "cases", "expected"), [(10, 3, 3), (10, 100, 8), (1200, 5, 2), (5000, 5, 1)])
def test_images_are_few_and_small_but_at_least_one(side, cases, expected):
    raw = SimpleNamespace(image=lambda _case: np.broadcast_to(np.uint8(0), (side, side, 3)))
    found = chosen_images(raw, [f"case{k}" for k in range(cases)])
    assert len(found) == expected
    assert expected == 1 or side * side * expected <= MOST_PIXELS
    assert next(iter(found)) == "case0"


def test_the_file_has_the_figures_of_a_trained_network_and_their_conditions(trained_root: Path, tmp_path, capsys):
    output = tmp_path / "cost.json"
    options = ["--rounds", "1", "--device", "cpu", "--root", str(trained_root), "--output", str(output)]
    assert measure_cost.main(["Tiny", *options]) == 0
    content = read_json(output)
    (splits,) = trained_root.rglob("splits_final.json")
    assert set(content["images"]) <= set(read_json(splits)[0]["val"])
    assert content["megapixels"] == pytest.approx(len(content["images"]) * 96 * 96 / 1e6)
    assert content["device"] == "cpu"
    assert content["device_name"]
    (one,) = content["configs"].values()
    assert one["times_baseline"] == 1
    assert one["megapixels_per_second"] == pytest.approx(one["images_per_second"] * 96 * 96 / 1e6)
    assert 2**20 < one["added_memory_bytes"] < one["peak_memory_bytes"]
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| boundary_attention |")]
    assert len(table) == 1
    assert "not " not in table[0]


def test_no_round_is_refused(trained_root: Path, tmp_path, capsys):
    assert measure_cost.main(["1", "--rounds", "0", "--output", str(tmp_path / "c"), "--root", str(trained_root)]) == 2
    assert "--rounds 0 is less than 1" in capsys.readouterr().err
