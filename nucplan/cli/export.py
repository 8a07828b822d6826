"""``nucplan_export``: a trained ensemble as one folder, for machines without the training data."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from nucplan.cli import common
from nucplan.cli.models import chosen_or_named
from nucplan.files import read_json
from nucplan.layout import CHOICE, activate, find_dataset, resolve_roots
from trainers import CONFIGS, DEFAULT_CONFIG

EXAMPLES = """\
  nucplan_export Breast models/breast
  nucplan_export 7 models/breast_baseline --config baseline"""


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser(
        "nucplan_export",
        "Write the trained folds of a dataset to one folder that predicts on any machine: nucplan_predict FOLDER "
        "INPUT OUTPUT. It holds networks, plan and classes, and nothing of the training data.",
        EXAMPLES,
    )
    made.add_argument("dataset", metavar="DATASET", help="id or name")
    made.add_argument("folder", metavar="FOLDER", type=Path, help="folder to write, which must not exist yet")
    made.add_argument(
        "--config",
        choices=list(CONFIGS),
        help=f"default: the ensemble that nucplan_benchmark chose, or else {DEFAULT_CONFIG}",
    )
    made.add_argument("--plans", metavar="NAME", help="which plans, where others than the dataset's own were trained")
    return common.run(_command, made, argv)


def _command(arguments: argparse.Namespace) -> None:
    roots = resolve_roots(arguments.root)
    dataset = find_dataset(roots, arguments.dataset)
    activate(roots, make=False)

    from nucplan.inference.export import export_choice, export_model

    model, chosen = chosen_or_named(dataset, arguments.config, arguments.plans)
    networks = (export_choice if chosen else export_model)(model, arguments.folder)
    size = sum(path.stat().st_size for path in arguments.folder.rglob("*") if path.is_file())
    source = model / CHOICE if chosen else model.name
    print(f"{networks} network(s) of {source}, {size / 2**20:.1f} MiB: {arguments.folder}")
    if (weights := read_json(arguments.folder / "plans.json")["nucplan"].get("weights")) is not None:
        print(f"it holds the pretrained weights of {Path(weights['file']).name}: see whether you may pass them on.")
    print(f"predict with them: nucplan_predict {arguments.folder} INPUT OUTPUT")
