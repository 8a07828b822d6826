"""The room that checkpoints will take is known before they are written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nucplan.layout import FINAL, LATEST, Dataset, find_dataset, resolve_roots
from trainers import trainer_name
from trainers.checkpoint_size import LARGEST_BYTES, bytes_to_come


@pytest.fixture
def dataset(trained_root: Path, tmp_path: Path) -> Dataset:
    return find_dataset(resolve_roots(shutil.copytree(trained_root, tmp_path / "root")), 1)


def final(dataset: Dataset, fold: int, config: str = "boundary_attention") -> Path:
    return dataset.model(trainer_name(config)) / f"fold_{fold}" / FINAL


def test_the_planned_network_tells_what_a_checkpoint_will_take(dataset):
    written = final(dataset, 0).stat().st_size
    shutil.rmtree(dataset.results)
    assert bytes_to_come(dataset, [final(dataset, 0)]) == pytest.approx(2 * written, rel=0.05)
    assert 2 * written < LARGEST_BYTES


def test_a_finished_fold_tells_what_the_others_take_and_what_is_there_is_not_counted_again(dataset):
    size = final(dataset, 0).stat().st_size
    assert bytes_to_come(dataset, [final(dataset, 2), final(dataset, 3)]) == 3 * size
    assert bytes_to_come(dataset, [final(dataset, 0)]) == size
    final(dataset, 2).parent.mkdir()
    shutil.copy(final(dataset, 0), final(dataset, 2).with_name(LATEST))
    assert bytes_to_come(dataset, [final(dataset, 2), final(dataset, 3)]) == 2 * size


def test_nothing_to_train_and_nothing_planned_take_no_room(dataset):
    assert bytes_to_come(dataset, []) == 0
    dataset.plans().unlink()
    assert bytes_to_come(dataset, [final(dataset, 0, "baseline")]) == 0
