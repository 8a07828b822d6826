"""The options by which commands choose among trained networks, and what they choose."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nucplan.cli import common
from nucplan.layout import FOLDS, PLANS_NAME, Dataset

if TYPE_CHECKING:
    from trainers.out_of_fold.runs import Models


def add_selection(made: argparse.ArgumentParser) -> None:
    """Add ``--configs``, ``--folds`` and ``--plans``."""
    made.add_argument("--configs", metavar="A,B", help="the first is compared with (default: all with a finished fold)")
    made.add_argument("--folds", metavar="0,1", help="default: all that every config has finished")
    made.add_argument("--plans", metavar="NAME", default=PLANS_NAME, help="default: %(default)s")


def selected(
    dataset: Dataset, arguments: argparse.Namespace, reference: bool = False
) -> tuple[Models, tuple[int, ...]]:
    """The models that were asked for, with stock nnU-Net where ``reference``, and the folds that all have finished.

    Raises
    ------
    NucplanError
        If a config does not exist, ``--folds`` is no list of folds, or no fold is finished by all.
    """
    from trainers.out_of_fold.runs import compared_models, shared_folds

    configs = arguments.configs.split(",") if arguments.configs else None
    models = compared_models(dataset, configs, arguments.plans, reference)
    wanted = FOLDS if arguments.folds is None else common.numbers("--folds", arguments.folds, FOLDS[-1])
    return models, shared_folds(dataset, models, wanted)
