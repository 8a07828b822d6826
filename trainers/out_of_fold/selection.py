"""The options by which commands choose among trained networks, and what they choose."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nucplan.cli import common
from nucplan.errors import NucplanError
from nucplan.layout import FOLDS, PLANS_NAME, Dataset
from trainers import CONFIGS, trainer_name

if TYPE_CHECKING:
    from trainers.out_of_fold.runs import Models


def add_selection(made: argparse.ArgumentParser) -> None:
    """Add ``--configs``, ``--folds`` and ``--plans``."""
    made.add_argument("--configs", metavar="A,B", help="the first is compared with (default: all with a finished fold)")
    made.add_argument("--folds", metavar="0,1", help="default: all that every config has finished")
    made.add_argument(
        "--plans",
        metavar="NAME,CONFIG=NAME",
        default=PLANS_NAME,
        help="which plan was trained, and that of a config where it is another one (default: %(default)s)",
    )


def selected(
    dataset: Dataset, arguments: argparse.Namespace, reference: bool = False
) -> tuple[Models, tuple[int, ...]]:
    """The models that were asked for, with stock nnU-Net where ``reference``, and the folds that all have finished.

    Raises
    ------
    NucplanError
        If a config does not exist, ``--folds`` is no list of folds, ``--plans`` has another form, or no fold is
        finished by all.
    """
    from trainers.out_of_fold.runs import compared_models, shared_folds

    configs = arguments.configs.split(",") if arguments.configs else None
    models = compared_models(dataset, configs, plans_of_configs(arguments.plans), reference)
    wanted = FOLDS if arguments.folds is None else common.numbers("--folds", arguments.folds, FOLDS[-1])
    return models, shared_folds(dataset, models, wanted)


def plans_of_configs(text: str) -> dict[str, str]:
    """Config to the name of its plan, by what ``--plans`` says.

    Raises
    ------
    NucplanError
        If a config does not exist, or there is not one name for all others.
    """
    usual, named = [], {}
    for part in text.split(","):
        config, equals, name = part.partition("=")
        if equals:
            trainer_name(config)
            named[config] = name
        else:
            usual.append(part)
    if len(usual) > 1:
        raise NucplanError(f"--plans {text} names {len(usual)} plans for all configs; give one, others as CONFIG=NAME.")
    return dict.fromkeys(CONFIGS, usual[0] if usual else PLANS_NAME) | named
