"""Pretrained encoders in a manifest: told by the hash of their weights, found again where a user has the file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nucplan.errors import NucplanError
from nucplan.files import file_hash, read_json
from nucplan.layout import Dataset
from nucplan.workflow.pretrained import Pretrained

EMBEDDINGS = re.compile(r"marker_embeddings_[0-9a-f]{8}\.npz")
FILE_OPTIONS = ("--weights=", "--marker-embeddings=", "--marker-table=")


class Given(NamedTuple):
    """Files that a user names for a reproduction; None where the plan beside the data may tell."""

    weights: Path | None = None
    marker_embeddings: Path | None = None
    marker_table: Path | None = None


def encoder_record(plans: Mapping[str, Any]) -> dict[str, Any] | None:
    """The encoder that a plan is for, without paths: what a manifest says of it; None where it is for none."""
    planned = Pretrained.of_plan(plans)
    if planned is None:
        return None
    return {
        "name": planned.name,
        "sha256": planned.sha256,
        # Its name tells what is in it.
        "marker_embeddings": plans["nucplan"]["weights"].get("marker_embeddings"),
        # What it says of the markers is in the plan.
        "marker_table": planned.marker_table is not None,
        "break_contract": planned.break_contract,
    }


def is_record(content: Any) -> bool:
    """Whether ``content`` is what `encoder_record` makes."""
    if not isinstance(content, Mapping):
        return False
    known = isinstance(content.get("name"), str) and isinstance(content.get("sha256"), str)
    embeddings = content.get("marker_embeddings")
    # It becomes a path: a manifest from a stranger may not name one elsewhere.
    return known and (embeddings is None or EMBEDDINGS.fullmatch(str(embeddings)) is not None)


def without_folders(words: Iterable[str]) -> list[str]:
    """The words of a command, files of an encoder by their names alone."""
    return [
        f"{option}{Path(word.removeprefix(option)).name}"
        if (option := next((option for option in FILE_OPTIONS if word.startswith(option)), None))
        else word
        for word in words
    ]


def find_encoders(original: Mapping[str, Any], datasets: Sequence[Dataset], given: Given) -> dict[str, Pretrained]:
    """By folder name of a dataset, the encoder that it has to be planned for again.

    Parameters
    ----------
    original
        The manifest.
    datasets
        With the raw files; where one is planned already, its plan tells of files that are not given.
    given
        By the user.

    Raises
    ------
    NucplanError
        If a file is not found, the weights are others, or files are given for no encoder.
    """
    records = {
        dataset: record
        for dataset in datasets
        if (record := original["planning"].get(dataset.folder_name, {}).get("encoder")) is not None
    }
    if not records and any(given):
        raise NucplanError("The manifest is of no pretrained encoder; leave out --weights and what belongs to it.")
    return {dataset.folder_name: _found(dataset, record, given) for dataset, record in records.items()}


def _found(dataset: Dataset, record: Mapping[str, Any], given: Given) -> Pretrained:
    planned = Pretrained.of_plan(read_json(dataset.plans())) if dataset.plans().is_file() else None
    known = Given() if planned is None else Given(planned.weights, planned.marker_embeddings, planned.marker_table)
    embeddings, table = record["marker_embeddings"], None
    if embeddings is not None:
        places = (given.marker_embeddings, known.marker_embeddings, dataset.preprocessed / embeddings)
        embeddings = _first(places, dataset, "marker embeddings", "--marker-embeddings")
    if record.get("marker_table"):
        table = _first((given.marker_table, known.marker_table), dataset, "a table of markers", "--marker-table")
    weights = _weights((given.weights, known.weights), dataset, record)
    broken = bool(record.get("break_contract"))
    return Pretrained(record["name"], weights, record["sha256"], embeddings, table, broken)


def _first(places: Sequence[Path | None], dataset: Dataset, what: str, option: str) -> Path:
    found = next((path for path in places if path is not None and path.exists()), None)
    if found is None:
        raise NucplanError(
            f"{dataset.folder_name} was planned with {what}, and nothing of that is here; give it with {option}."
        )
    return found.resolve()


def _weights(places: Sequence[Path | None], dataset: Dataset, record: Mapping[str, Any]) -> Path:
    """The file with the hash of the manifest."""
    there = [path for path in places if path is not None and path.is_file()]
    found = next((path for path in there if file_hash(path) == record["sha256"]), None)
    if found is None:
        wrong = f"{there[0]} has others" if there else "their file is not here"
        raise NucplanError(
            f"{dataset.folder_name} was planned for the encoder {record['name']} with weights of SHA-256 "
            f"{record['sha256'][:12]}..., and {wrong}; give the file with --weights."
        )
    return found.resolve()
