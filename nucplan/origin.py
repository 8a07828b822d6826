"""What a training learned from, told by content: the times of files say nothing of what is in them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucplan.files import read_json
from nucplan.layout import CONFIGURATION, Dataset
from nucplan.plans import data_identifier as own_identifier


def json_hash(content: Any) -> str:
    """SHA-256 of plain values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def training_data(dataset: Dataset, data_identifier: str | None = None) -> str | None:
    """SHA-256 of what trainings of a planned dataset learn from: its files, folds, and size and number of patches.

    Parameters
    ----------
    data_identifier
        Name of the preprocessed data, where they are not those of the dataset's own plan.

    Returns
    -------
    str or None
        None where the data were not preprocessed, or by an older nucplan, which kept no hash of the files.
    """
    marker = dataset.made_from(data_identifier or own_identifier(dataset))
    files = read_json(marker).get("content") if marker.is_file() else None
    if files is None or not dataset.plans().is_file() or not dataset.splits.is_file():
        return None
    configuration = read_json(dataset.plans())["configurations"][CONFIGURATION]
    patches = [configuration[name] for name in ("patch_size", "batch_size")]
    return json_hash([files, read_json(dataset.splits), patches])


@dataclass(frozen=True)
class TrainedOn:
    """The data of a training that may lie in a folder, and the data that the dataset has now.

    Attributes
    ----------
    record
        JSON file of the training with the hash of its ``data``; one without it, of an older nucplan, is believed.
    dataset
        Of the training.
    holds
        Without one of these files the folder holds no training, whatever the record says.
    data_identifier
        As of `training_data`.
    """

    record: Path
    dataset: Dataset
    holds: tuple[Path, ...]
    data_identifier: str | None = None

    def problem(self) -> str | None:
        """A sentence where the training learned from other data than there are now."""
        if not self.record.is_file() or not any(path.is_file() for path in self.holds):
            return None
        there, here = read_json(self.record).get("data"), training_data(self.dataset, self.data_identifier)
        if there is None or here is None or there == here:
            return None
        return (
            f"{self.record.parent} was trained on other images, labels, folds or patches than "
            f"{self.dataset.folder_name} has now; move that folder away to train anew, or restore them and plan again."
        )
