"""How much room the checkpoints of trainings will take, from finished ones or from the planned network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nucplan.files import read_json
from nucplan.layout import FINAL, LATEST, Dataset
from trainers import CONFIGS, trainer_class, trainer_name

# AdamW keeps two moments of each weight.
COPIES_OF_WEIGHTS = 3
# No planned network takes more, the largest encoder included.
LARGEST_BYTES = 4 * 2**30


def bytes_to_come(dataset: Dataset, checkpoints: Sequence[Path]) -> int:
    """Bytes that are still to be written for these final checkpoints of a dataset; 0 before it is planned.

    The last one counts twice: it is written beside the one before it. Without a finished fold the network is built to
    be weighed, which takes seconds.
    """
    if not checkpoints:
        return 0
    trainers = [path.parent.parent.name.split("__")[0] for path in checkpoints]
    size = {name: _finished_bytes(dataset, name) or _planned_bytes(dataset, name) for name in set(trainers)}
    there = [path.with_name(name) for path in checkpoints for name in (FINAL, LATEST)]
    written = sum(path.stat().st_size for path in there if path.is_file())
    return max(0, sum(size[name] for name in trainers) + max(size.values()) - written)


def _finished_bytes(dataset: Dataset, trainer: str) -> int:
    """Size of the largest checkpoint of a trainer, whatever its fold and seed; 0 where there is none."""
    found = dataset.results.glob(f"{trainer}__*/fold_*/{FINAL}")
    return max((path.stat().st_size for path in found), default=0)


def _planned_bytes(dataset: Dataset, trainer: str) -> int:
    """Size by the weights of the planned network, built without memory for them."""
    config = next((name for name in CONFIGS if trainer_name(name) == trainer), None)
    if config is None or not (dataset.plans().is_file() and dataset.dataset_json.is_file()):
        return 0
    import torch

    from nucplan.datasets.raw import RawDataset
    from nucplan.networks.nucleus_net import NucleusNet

    info = RawDataset(dataset).info
    with torch.device("meta"):
        network = NucleusNet(
            len(info.channel_names),
            1 + len(info.class_names),
            **trainer_class(config).network_arguments(read_json(dataset.plans())),
        )
    return COPIES_OF_WEIGHTS * sum(weight.nbytes for weight in network.parameters())
