"""Two configs to compare, made of one training."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nucplan.datasets.raw import RawDataset
from nucplan.images import write_label_map
from nucplan.layout import Dataset, find_dataset, resolve_roots
from trainers import trainer_name


@pytest.fixture
def two_configs(trained_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Two trained folds that stand for ``baseline``, and for ``boundary`` with the true label maps as predictions."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        # The command sets these for the rest of the process.
        monkeypatch.setenv(name, "")
    shutil.copytree(trained_root, tmp_path / "root")
    made = find_dataset(resolve_roots(tmp_path / "root"), 1)
    (trained,) = made.results.iterdir()
    baseline, boundary = (made.model(trainer_name(config)) for config in ("baseline", "boundary"))
    for model in (baseline, boundary):
        shutil.copytree(trained, model)
    shutil.rmtree(trained)
    for path in boundary.glob("fold_*/validation/*.tif"):
        write_label_map(path, RawDataset(made).instances(path.stem))
    return made
