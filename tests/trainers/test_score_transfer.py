"""Models on another dataset: what they say of the same nuclei stays the same, whatever the pixels and names there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nucplan.datasets.raw import RawDataset
from nucplan.files import read_json, write_json
from nucplan.images import write_image, write_label_map
from nucplan.instances import Instances
from nucplan.layout import Dataset, find_dataset, resolve_roots
from trainers import score_test, score_transfer
from trainers.shared_classes import SharedClasses

ENSEMBLE = "boundary_attention, ensemble"


@pytest.fixture(autouse=True)
def _nnunet_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    # The commands set them for the rest of the process.
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, "")


@pytest.fixture
def _found_by_brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of two iterations find nothing: decoding takes dark pixels of the foreground instead."""
    from nucplan.inference.predictor import Predictor

    seen: list[np.ndarray] = []
    predict = Predictor.probabilities

    def probabilities(self, image, *rest):
        seen[:] = [image]
        return predict(self, image, *rest)

    def by_brightness(self, maps, region, shape, plan=None):
        import cv2

        count, labels = cv2.connectedComponents((seen[0].mean(axis=2) < 128).astype(np.uint8))
        names = np.arange(1, count)
        table = SimpleNamespace(id=names, class_id=1 + names % len(self.class_names))
        return Instances(labels.astype(np.int32), table)

    monkeypatch.setattr(Predictor, "probabilities", probabilities)
    monkeypatch.setattr(Predictor, "decode", by_brightness)
    # Nuclei of a resampled image: the table stays, the labels are enlarged.
    monkeypatch.setattr("nucplan.inference.pixel_size.relabelled", lambda found, labels: found._replace(labels=labels))


@pytest.fixture
def tiny(trained_root: Path, tmp_path: Path) -> Dataset:
    """A copy of the trained dataset, beside which others can be made."""
    return find_dataset(resolve_roots(shutil.copytree(trained_root, tmp_path / "root")), 1)


def copied(tiny: Dataset, change: Callable[[dict], dict]) -> Dataset:
    """The same images under another name, with another ``dataset.json``."""
    other = Dataset(tiny.roots, "Dataset002_Other")
    shutil.copytree(tiny.raw, other.raw)
    write_json(other.dataset_json, change(read_json(other.dataset_json)))
    return other


def doubled(tiny: Dataset) -> Dataset:
    """The test part of ``tiny`` as the training part of another dataset, each pixel four times."""
    other, raw = Dataset(tiny.roots, "Dataset002_Other"), RawDataset(tiny)
    for case in raw.cases("Ts"):
        enlarge = np.ones((2, 2), np.uint8)
        write_image(other.part("images") / f"{case}_0000.png", np.kron(raw.image(case, "Ts"), enlarge[..., None]))
        write_label_map(other.part("instances") / f"{case}.tif", np.kron(raw.instances(case, "Ts"), enlarge))
        write_image(other.part("labels") / f"{case}.png", np.kron(raw.classes_map(case, "Ts"), enlarge))
    content = read_json(tiny.dataset_json)
    content["nuclei"]["mpp"] /= 2
    write_json(other.dataset_json, content)
    return other


def transferred(tiny: Dataset, output: Path) -> dict:
    words = ["Tiny", "--to", "Other", "--output", str(output), "--device", "cpu"]
    assert score_transfer.main([*words, "--root", str(tiny.roots.raw.parent)]) == 0
    return json.loads(output.read_text(), parse_constant=lambda name: pytest.fail(name))


def on_test_part(tiny: Dataset, output: Path) -> dict:
    words = ["Tiny", "--output", str(output), "--device", "cpu", "--root", str(tiny.roots.raw.parent)]
    assert score_test.main(words) == 0
    return read_json(output)


def row_of(content: dict) -> dict:
    (row,) = [row for row in content["rows"] if row["name"] == ENSEMBLE]
    return row


@pytest.mark.usefixtures("_found_by_brightness")
def test_a_copy_of_the_dataset_scores_what_its_own_test_part_scores(tiny, tmp_path):
    copied(tiny, lambda content: content)
    here, there = on_test_part(tiny, tmp_path / "test.json"), transferred(tiny, tmp_path / "transfer.json")
    assert (there["part"], there["images"], there["enlarged"]) == ("test", here["images"], 1)
    own, scores = row_of(here)["scores"], row_of(there)["scores"]
    assert own["PQ (pooled)"] > 0.05
    shared = set(own) & set(scores)
    assert {"PQ (pooled)", "merges", "splits", "boundary F1 (pooled)"} <= shared
    assert {title: scores[title] for title in shared} == {title: own[title] for title in shared}
    assert 0 < scores["detection F1 (pooled)"] < 1
    of_classes = [one["pq_pooled"] for one in row_of(there)["per_class"].values()]
    assert np.mean(of_classes) == pytest.approx(own["mPQ+ (mean of classes)"])


@pytest.mark.usefixtures("_found_by_brightness")
def test_images_of_half_the_pixel_size_are_brought_to_that_of_the_models(tiny, tmp_path):
    doubled(tiny)
    here, there = on_test_part(tiny, tmp_path / "test.json"), transferred(tiny, tmp_path / "transfer.json")
    assert (there["part"], there["enlarged"]) == ("training", 0.5)
    own, scores = row_of(here)["scores"], row_of(there)["scores"]
    for title in ("PQ (pooled)", "Dice (image mean)", "AJI (image mean)", "merges", "splits"):
        assert scores[title] == pytest.approx(own[title], abs=1e-12)


def test_the_dataset_of_the_models_and_images_of_other_channels_are_refused(tiny, tmp_path, capsys):
    root = ["--device", "cpu", "--root", str(tiny.roots.raw.parent), "--output", str(tmp_path / "t.json")]
    assert score_transfer.main(["1", "--to", "Tiny", *root]) == 2
    assert "is the dataset that the models were trained on" in capsys.readouterr().err
    copied(tiny, lambda content: content | {"channel_names": {"0": "DNA"}})
    assert score_transfer.main(["1", "--to", "2", *root]) == 2
    assert "and the images of Dataset002_Other have 1 channel(s) (DNA)" in capsys.readouterr().err
    assert not (tmp_path / "t.json").exists()


def classes(mine: tuple[str, ...], other: tuple[str, ...]) -> SharedClasses:
    source, target = (SimpleNamespace(info=SimpleNamespace(class_names=names)) for names in (mine, other))
    return SharedClasses.of(source, target)


def test_classes_are_shared_by_name_whatever_their_order_and_case():
    found = classes(("lymphocyte", "Tumour", "other"), ("mitosis", "tumour", "Lymphocyte"))
    assert found.names == ("tumour", "Lymphocyte")
    instances, class_map = np.array([[0, 1, 2, 3]]), np.array([[0, 1, 2, 3]])
    assert found.annotated(instances, class_map) == {1: 0, 2: 1, 3: 2}
    assert found.predicted(SimpleNamespace(id=np.arange(1, 4), class_id=np.arange(1, 4))) == {1: 2, 2: 1, 3: 0}


@pytest.mark.parametrize("names", [(("nucleus",), ("nucleus",)), (("a", "b"), ("c", "d"))])
def test_one_class_and_other_names_are_no_classification(names):
    found = classes(*names)
    assert found.names == ()
    assert found.annotated(np.ones((1, 1), int), np.ones((1, 1), int)) is None
