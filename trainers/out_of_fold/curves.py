"""Training curves and costs, from what a training leaves in its folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nucplan.checkpoints import load_checkpoint
from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.layout import FINAL
from nucplan.networks.nucleus_net import NucleusNet
from nucplan.plans import decision
from nucplan.report.ablation import known

# More points than a small panel can show would only make the report long.
MOST_POINTS = 100


def curves(folder: Path) -> dict[str, list[float | None]] | None:
    """The columns of a fold's ``metrics.csv`` with ``epoch`` among them, at most 100 of the epochs; None without it."""
    path = folder / "metrics.csv"
    if not path.is_file():
        return None
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return None
    shown = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_POINTS)).round().astype(int))
    return {name: [known(float(f"{float(rows[k][name]):.5g}")) for k in shown] for name in rows[0]}


def costs(model: Path, folds: Sequence[int]) -> dict[str, Any]:
    """What a config costs: figures of its finished folds, None where a training has not recorded one.

    Returns
    -------
    dict
        ``parameters`` and ``trained_parameters``, without those of a frozen encoder; ``iterations``, ``precision`` and
        ``features`` of a training, ``stored`` where those of a frozen encoder were read from disk, else ``computed``;
        ``seconds_per_iteration``, the median over epochs and folds, validation patches included;
        ``images_per_second``, patches of the batch over that; ``peak_memory_bytes``, the highest of the folds, and
        ``peak_memory_of``.
    """
    folders = [model / f"fold_{fold}" for fold in folds]
    found = [one for folder in folders if (one := _of_checkpoint(folder / FINAL)) is not None]
    seconds = float(np.median([one["seconds"] for one in found])) if found else None
    records = [read_json(folder / "run.json") for folder in folders if (folder / "run.json").is_file()]
    memory = [read_json(folder / "cost.json") for folder in folders if (folder / "cost.json").is_file()]
    highest = max(memory, key=lambda one: one.get("peak_memory_bytes", 0), default={})
    features = {"stored" if record.get("cached_features") else "computed" for record in records}
    batch = decision(read_json(model / "plans.json"), "batch_size")
    return {
        "parameters": found[0]["parameters"] if found else None,
        "trained_parameters": found[0]["trained_parameters"] if found else None,
        "iterations": records[0].get("iterations") if records else None,
        "precision": " or ".join(sorted({r["precision"] for r in records if "precision" in r})) or None,
        "features": " or ".join(sorted(features)) or None,
        "seconds_per_iteration": seconds,
        "images_per_second": batch / seconds if seconds else None,
        "peak_memory_bytes": highest.get("peak_memory_bytes"),
        "peak_memory_of": highest.get("peak_memory_of"),
    }


def _of_checkpoint(path: Path) -> dict[str, float] | None:
    """Parameters and seconds per iteration; None where the checkpoint is missing, damaged or of an older nucplan."""
    try:
        content = load_checkpoint(path)
        with torch.device("meta"):
            network = NucleusNet(**content["network_kwargs"])
        ends, starts = (np.array(content["logging"][f"epoch_{end}_timestamps"]) for end in ("end", "start"))
        _, iterations = content["epochs"]
    except (KeyError, NucplanError):
        return None
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    return {
        "parameters": sum(size for size, _ in sizes),
        "trained_parameters": sum(size for size, trained in sizes if trained),
        "seconds": float(np.median(ends - starts)) / iterations,
    }
