"""What prediction costs under each config: ``python -m trainers.measure_cost DATASET --output FILE``.

One network of each config predicts validation images of its fold. All configs are measured in one process and take
turns, image by image, so that a machine that slows down slows all of them; ratios to the first config are of the same
turns. Memory is measured in a process of its own for each config, on its largest image.

Times are other ones each time, so they stand in a file of their own, in none that a reproduction compares.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucplan.cli import common
from nucplan.layout import FINAL
from trainers.out_of_fold.selection import add_selection, selected

if TYPE_CHECKING:
    import torch

    from nucplan.layout import Dataset
    from trainers.out_of_fold.runs import Models

ROUNDS = 5
DESCRIPTION = """\
Measure time and memory of prediction by one network of each config, side by side, and print what each config costs."""
EXAMPLES = """\
  python -m trainers.measure_cost Tissue --output cost.json
  python -m trainers.measure_cost 2 --configs baseline,cellvta --folds 0 --device cuda --output cost.json"""


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser("python -m trainers.measure_cost", DESCRIPTION, EXAMPLES)
    made.add_argument("dataset", metavar="DATASET", help="id or name of a dataset with trained folds")
    add_selection(made)
    made.add_argument(
        "--rounds", type=int, metavar="N", default=ROUNDS, help="predict each image so often (default: %(default)s)"
    )
    made.add_argument("--output", metavar="FILE", type=Path, required=True, help="where the figures go (JSON)")
    common.add_device(made)
    made.set_defaults(words=sys.argv[1:] if argv is None else list(argv))
    return common.run(_command, made, argv)


def _command(arguments: argparse.Namespace) -> None:
    from nucplan.errors import NucplanError
    from nucplan.layout import activate, find_dataset, resolve_roots

    if arguments.rounds < 1:
        raise NucplanError(f"--rounds {arguments.rounds} is less than 1; give a positive number.")
    roots = resolve_roots(arguments.root)
    dataset = find_dataset(roots, arguments.dataset)
    activate(roots)

    from nucplan.devices import choose_device
    from nucplan.files import write_json
    from nucplan.report.costs import cost_tables
    from trainers.out_of_fold.curves import costs

    models, folds = selected(dataset, arguments)
    content = _measured(dataset, models, folds[0], arguments.rounds, choose_device(arguments.device))
    content["made_by"] = shlex.join(["python", "-m", "trainers.measure_cost", *arguments.words])
    write_json(arguments.output, content)
    trained = {name: costs(model, folds) for name, model in models.items()}
    print(f"{cost_tables(trained, content)}\n\n{arguments.output}")


def _measured(dataset: Dataset, models: Models, fold: int, rounds: int, device: torch.device) -> dict[str, Any]:
    from nucplan.inference.choice import weights_of
    from trainers.cost_of_prediction import chosen_images, conditions, ratios, summary, take_turns, used_memory
    from trainers.out_of_fold.maps import open_fold

    opened = {name: open_fold(dataset, model, fold, device) for name, model in models.items()}
    raw, cases = next((one.raw, one.cases) for one in opened.values())
    images = chosen_images(raw, cases)
    predictors = {name: one.predictor for name, one in opened.items()}
    seconds = take_turns(predictors, list(images.values()), rounds, common.progress)
    largest = max(images.values(), key=lambda image: image.size)
    baseline, pixels = next(iter(models)), sum(image.shape[0] * image.shape[1] for image in images.values())
    return {
        "baseline": baseline,
        "images": list(images),
        "megapixels": pixels / 1e6,
        "rounds": rounds,
        **conditions(device),
        "among": list(models),
        "folds": [fold],
        "weights": weights_of([model / f"fold_{fold}" / FINAL for model in models.values()]),
        "configs": {
            name: summary(seconds[name], pixels / 1e6)
            | ratios(seconds[name], seconds[baseline])
            | used_memory(models[name], fold, largest, device)
            for name in models
        },
    }


if __name__ == "__main__":
    sys.exit(main())
