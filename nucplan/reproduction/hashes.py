"""Hashes of what files say, not of their bytes: archives, compression and times differ between equal results."""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nucplan.datasets.record import CONVERSION
from nucplan.files import file_hash, read_json
from nucplan.images import read_label_map
from nucplan.layout import Dataset
from nucplan.origin import json_hash
from nucplan.progress import Progress, silent

PACKAGES = ("nucplan", "planners", "trainers")
# Keys of JSON results that differ between equal runs.
VOLATILE = frozenset({"command", "created", "date", "folder", "made_by", "path", "root", "seconds", "time", "weights"})


def raw_hashes(dataset: Dataset, progress: Progress = silent) -> dict[str, str]:
    """SHA-256 of every file of a raw dataset, by its name relative to the dataset's folder.

    Hidden files are left out, and the record of the conversion, which names folders of the machine.
    """
    # Parts may be links to folders elsewhere.
    folders = [Path(folder) for folder, _, _ in os.walk(dataset.raw, followlinks=True)]
    files = sorted(
        path for folder in folders for path in folder.iterdir() if path.is_file() and path.name != CONVERSION
    )
    names = {path.relative_to(dataset.raw).as_posix(): path for path in files}
    shown = {name: path for name, path in names.items() if not any(part[0] == "." for part in name.split("/"))}
    return {name: file_hash(shown[name]) for name in progress(shown, f"Hashing {dataset.folder_name}")}


def source_hash() -> str:
    """SHA-256 of all Python files of nucplan's packages, by name and content; nothing is imported for it."""
    folders = {name: Path(find_spec(name).submodule_search_locations[0]) for name in PACKAGES}
    return json_hash(
        {
            f"{name}/{path.relative_to(folder).as_posix()}": file_hash(path)
            for name, folder in folders.items()
            for path in sorted(folder.rglob("*.py"))
        }
    )


def weights_hash(checkpoint: Path) -> str:
    """SHA-256 of the tensors of a network by name, type, shape and value.

    Raises
    ------
    NucplanError
        If the checkpoint is missing or damaged.
    """
    import torch

    from nucplan.checkpoints import load_checkpoint

    digest = hashlib.sha256()
    for name, tensor in sorted(load_checkpoint(checkpoint)["network_weights"].items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        # As bytes: numpy has no bfloat16.
        digest.update(tensor.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def pixels_hash(label_map: Path) -> str:
    """SHA-256 of shape and ids of a label map."""
    labels = read_label_map(label_map)
    return hashlib.sha256(f"{labels.shape};".encode() + labels.astype("<i4", order="C").tobytes()).hexdigest()


def content_hash(path: Path) -> str:
    """SHA-256 of a JSON file less what tells of times, paths and the bytes of archives."""
    return json_hash(_lasting(read_json(path)))


def _lasting(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _lasting(value) for key, value in content.items() if key not in VOLATILE}
    return [_lasting(value) for value in content] if isinstance(content, list) else content
