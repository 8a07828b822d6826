"""The report of a benchmark: ``python -m trainers.report DATASET ... --output FOLDER``.

It writes ``report.json``, every number, and ``report.html``, the same numbers for people, from whatever folds are
finished; those that are not are holes that it names. Folds are scored anew from their stored label maps, all configs
of a dataset with one boundary width.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucplan import __version__
from nucplan.cli import common
from nucplan.errors import NucplanError
from nucplan.files import atomic_path, write_json
from nucplan.layout import FOLDS, Dataset
from trainers import COMPARED, trainer_name

if TYPE_CHECKING:
    from trainers.out_of_fold.comparison import ReportRequest

DESCRIPTION = "Write report.html and report.json of trained configs: what the folds say, also where some are missing."
EXAMPLES = """\
  python -m trainers.report Tissue TNBC --output compared
  python -m trainers.report 2 --configs baseline,boundary --folds 0,1 --seeds 0,1 --output compared"""


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser("python -m trainers.report", DESCRIPTION, EXAMPLES)
    made.add_argument("datasets", metavar="DATASET", nargs="+", help="id or name")
    made.add_argument(
        "--configs", metavar="A,B", default=",".join(COMPARED), help="the first is the baseline (default: %(default)s)"
    )
    made.add_argument("--folds", metavar="0,1", default=",".join(map(str, FOLDS)), help="default: %(default)s")
    made.add_argument("--seeds", metavar="0,1", default="0", help="default: %(default)s")
    made.add_argument("--reference", action="store_true", help="add stock nnU-Net (trainers.run_reference)")
    made.add_argument("--injection-blocks", metavar="1,2", help="those that the config cellvta was trained with")
    made.add_argument("--transfer-to", metavar="B,C", help="datasets of trainers.score_transfer")
    made.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        required=True,
        help="of the report; its logs tell why a fold is missing",
    )
    common.add_device(made)
    made.set_defaults(words=sys.argv[1:] if argv is None else list(argv))
    return common.run(_command, made, argv)


def _command(arguments: argparse.Namespace) -> None:
    from nucplan.layout import activate, find_dataset, resolve_roots

    folds, seeds = common.numbers("--folds", arguments.folds, FOLDS[-1]), common.numbers("--seeds", arguments.seeds)
    configs = tuple(arguments.configs.split(","))
    if len({trainer_name(config) for config in configs}) < len(configs):
        raise NucplanError(f"--configs {arguments.configs} names a config twice; give each once.")
    roots = resolve_roots(arguments.root)
    datasets = [find_dataset(roots, name) for name in arguments.datasets]
    targets = tuple(find_dataset(roots, name) for name in (arguments.transfer_to or "").split(",") if name)
    blocks = common.numbers("--injection-blocks", arguments.injection_blocks) if arguments.injection_blocks else None
    activate(roots, make=False)
    from trainers.out_of_fold.comparison import ReportRequest

    command = shlex.join(["python", "-m", "trainers.report", *arguments.words])
    request = ReportRequest(
        configs,
        folds,
        seeds,
        arguments.reference,
        arguments.output,
        arguments.device,
        command,
        injection_blocks=blocks,
        transfer_to=targets,
    )
    _write(datasets, request)


def _write(datasets: Sequence[Dataset], request: ReportRequest) -> None:
    from nucplan.report.html import render
    from nucplan.report.plots import draw
    from nucplan.report.ranks import ranks
    from nucplan.reproduction.environment import environment
    from trainers.out_of_fold.collect import collect
    from trainers.out_of_fold.runs import STOCK
    from trainers.out_of_fold.transfers import transfers

    made_with = {name: value for name, value in environment(request.device).items() if value is not None}
    found = [collect(dataset, request, common.progress) for dataset in datasets]
    contents = [content for content, _ in found]
    report = {
        "provenance": {"command": request.command, "versions": {"nucplan": __version__, **made_with}},
        "configs": list(request.configs),
        "folds": list(request.folds),
        "datasets": contents,
        "transfers": transfers(datasets, contents, request),
        "ranks": ranks(_compared(contents), [*request.configs, STOCK]),
    }
    pictures = draw(report) | {name: picture for _, of in found for name, picture in of.items()}
    page = render(report, pictures)
    write_json(request.output / "report.json", report)
    with atomic_path(request.output / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(request.output / "report.html")


def _compared(contents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The comparison of the first seed of each dataset that has one."""
    return {
        content["name"]: content["seeds"][0]["comparison"]
        for content in contents
        if content["missing"] is None and content["seeds"][0]["comparison"] is not None
    }


if __name__ == "__main__":
    sys.exit(main())
