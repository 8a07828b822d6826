"""``nucplan_demo``: the whole chain on synthetic images, in a few minutes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from nucplan.cli import common

EXAMPLES = """\
  nucplan_demo
  nucplan_demo --output try_it --iterations 600"""


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser(
        "nucplan_demo",
        "Draw H&E-like images with touching and overlapping nuclei of three classes, then convert, plan, train one "
        "fold, predict the held-out images, evaluate and draw, by the commands that you would type.",
        EXAMPLES,
    )
    made.add_argument("--output", type=Path, default=Path("demo"), metavar="FOLDER", help="default: ./%(default)s")
    made.add_argument("--images", type=int, default=40, metavar="N", help="images to draw (default: %(default)s)")
    made.add_argument("--iterations", type=int, default=400, metavar="N", help="training length (default: %(default)s)")
    made.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    common.add_device(made)
    return common.run(_command, made, argv)


def _command(arguments: argparse.Namespace) -> None:
    from nucplan.demo import run_demo

    run_demo(
        arguments.output,
        root=arguments.root or arguments.output / "nucplan_data",
        images=arguments.images,
        iterations=arguments.iterations,
        seed=arguments.seed,
        device=arguments.device,
    )
