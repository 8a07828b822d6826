"""``nucplan_evaluate``: compare a folder of predicted label maps with a folder of reference label maps."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from nucplan.cli.common import parser, progress, run

_DESCRIPTION = """\
Compare predicted with reference label maps (PNG or TIFF, matched by file stem): print a table and write metrics.json.

Classes are compared where both folders have them: a table <stem>.csv (columns id and class), a <stem>.json
(id -> class) beside the maps or in a sibling folder "classes", or, for instancesTr and instancesTs of a raw dataset,
its labels. The pixel size comes from the dataset.json of the reference, or from --mpp."""

_EXAMPLES = """\
  nucplan_evaluate predictions reference
  nucplan_evaluate predictions nucplan_data/nnUNet_raw/Dataset007_Breast/instancesTs --out breast.json
  nucplan_evaluate predictions reference --mpp 0.25"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    made = parser("nucplan_evaluate", _DESCRIPTION, _EXAMPLES, root=False)
    made.add_argument("predicted", metavar="PREDICTED", type=Path, help="folder of predicted label maps")
    made.add_argument("reference", metavar="REFERENCE", type=Path, help="folder of reference label maps")
    made.add_argument("--out", metavar="FILE", type=Path, help="where to write (default: PREDICTED/metrics.json)")
    made.add_argument("--mpp", metavar="X", type=float, help="microns per pixel: detection within 3 um, else 12 px")
    return run(_evaluate, made, argv)


def _evaluate(arguments: argparse.Namespace) -> None:
    from nucplan.metrics.folders import evaluate_folders, write_metrics
    from nucplan.metrics.table import format_table

    metrics = evaluate_folders(arguments.predicted, arguments.reference, arguments.mpp, progress)
    out = arguments.out or arguments.predicted / "metrics.json"
    out = out / "metrics.json" if out.is_dir() else out
    write_metrics(out, metrics)
    print(format_table(metrics))
    print(f"\nwritten to {out}")
