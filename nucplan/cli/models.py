"""Which trained networks a command means."""

from __future__ import annotations

from pathlib import Path

from nucplan.layout import CHOICE, PLANS_NAME, Dataset
from trainers import DEFAULT_CONFIG, trainer_name


def chosen_or_named(dataset: Dataset, config: str | None, plans: str | None) -> tuple[Path, bool]:
    """The folder of a model, or, where neither config nor plans are named, that of the choice among all, if any.

    Returns
    -------
    (Path, bool)
        The folder of one model with its folds, and False; or the results of the dataset, and True.
    """
    if config is None and plans is None and (dataset.results / CHOICE).is_file():
        return dataset.results, True
    return dataset.model(trainer_name(config or DEFAULT_CONFIG), plans or PLANS_NAME), False
