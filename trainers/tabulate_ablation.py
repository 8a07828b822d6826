"""Configs against each other on their finished folds: ``python -m trainers.tabulate_ablation DATASET ...``.

It prints Markdown and stores nothing: the label maps in the folds' ``validation`` are scored anew, so that all configs
of a dataset are scored with one boundary width, and every score has the counts that its interval needs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nucplan.cli import common
from nucplan.layout import PLANS_NAME, Dataset

if TYPE_CHECKING:
    from nucplan.metrics.image import ImageCounts
    from trainers.ablation_runs import Models
    from trainers.out_of_fold_scores import OutOfFoldScores

DESCRIPTION = """\
Compare trained configs out of fold: means over the folds, the paired difference to the first config with its interval,
pooled figures and the sizes of the folds. Only folds that all of them have finished count."""
EXAMPLES = """\
  python -m trainers.tabulate_ablation Tissue TNBC
  python -m trainers.tabulate_ablation 2 --configs baseline,boundary_attention --reference --same-decoder
  python -m trainers.tabulate_ablation 2 --crops pictures"""
# Each of another group, so that no single patient makes all the pictures.
FIELDS = 3


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser("python -m trainers.tabulate_ablation", DESCRIPTION, EXAMPLES)
    made.add_argument("datasets", metavar="DATASET", nargs="+", help="id or name of a dataset with trained folds")
    made.add_argument("--configs", metavar="A,B", help="compared to the first of them (default: all with a fold)")
    made.add_argument("--plans", metavar="NAME", default=PLANS_NAME, help="default: %(default)s")
    made.add_argument("--reference", action="store_true", help="add stock nnU-Net (trainers.run_reference)")
    made.add_argument(
        "--same-decoder", action="store_true", help="add boundary configs decoded as the baseline is, without boundary"
    )
    made.add_argument("--crops", metavar="FOLDER", type=Path, help="draw dense fields side by side, as PNG")
    common.add_device(made)
    return common.run(_command, made, argv)


def _command(arguments: argparse.Namespace) -> None:
    from nucplan.layout import activate, find_dataset, resolve_roots

    roots = resolve_roots(arguments.root)
    datasets = [find_dataset(roots, name) for name in arguments.datasets]
    activate(roots)
    for dataset in datasets:
        print(_report(dataset, arguments), end="\n\n")


def _report(dataset: Dataset, arguments: argparse.Namespace) -> str:
    from nucplan.report.ablation import ablation_tables
    from trainers.ablation_runs import compared_models, remarks, shared_folds
    from trainers.out_of_fold_scores import OutOfFoldScores

    configs = arguments.configs.split(",") if arguments.configs else None
    models = compared_models(dataset, configs, arguments.plans, arguments.reference)
    folds, scores = shared_folds(dataset, models), OutOfFoldScores(dataset)
    counts = _counts(scores, models, folds, arguments.device if arguments.same_decoder else None)
    if arguments.crops is not None:
        _write_crops(scores, models, folds, arguments.crops)
    notes = [*remarks(dataset, models, folds), f"Boundaries count within {scores.boundary_width} px."]
    tables = ablation_tables(counts, scores.raw.info.groups, scores.test_share(folds))
    return "\n\n".join([f"### {dataset.name}", " ".join(notes), tables])


def _counts(
    scores: OutOfFoldScores, models: Models, folds: Sequence[int], device_name: str | None
) -> dict[str, dict[int, list[ImageCounts]]]:
    """Counts by config and fold; with a device also of boundary configs under the decoder of the baseline."""
    found = {}
    for name, model in models.items():
        of_files = common.progress(folds, f"Scoring {name}")
        found[name] = {fold: scores.of_files(model, fold) for fold in of_files}
    return found if device_name is None else found | _same_decoder_counts(scores, models, folds, device_name)


def _same_decoder_counts(
    scores: OutOfFoldScores, models: Models, folds: Sequence[int], device_name: str
) -> dict[str, dict[int, list[ImageCounts]]]:
    from nucplan.devices import choose_device
    from trainers.ablation_runs import STOCK
    from trainers.out_of_fold_scores import has_boundary

    device, found = choose_device(device_name), {}
    for name, model in models.items():
        if name != STOCK and has_boundary(scores.dataset, model, folds[0], device):
            predicted = common.progress(folds, f"Predicting {name}")
            found[f"{name}, decoder of baseline"] = {
                fold: scores.of_foreground_decoder(model, fold, device) for fold in predicted
            }
    return found


def _write_crops(scores: OutOfFoldScores, models: Models, folds: Sequence[int], folder: Path) -> None:
    from nucplan.images import write_image
    from nucplan.report.crops import compare_field

    for rank, (fold, case, field) in enumerate(_dense_fields(scores, folds), start=1):
        predictions = {name: scores.labels(model, fold, case) for name, model in models.items()}
        picture = compare_field(
            scores.raw.image(case), scores.raw.instances(case), predictions, field, scores.ignored(case)
        )
        write_image(folder / f"{scores.dataset.name}_{rank}_{case}.png", picture)


def _dense_fields(scores: OutOfFoldScores, folds: Sequence[int]) -> list[tuple]:
    """The densest fields, each the best of its group, as (fold, case, field)."""
    import numpy as np

    from nucplan.report.crops import densest_field, field_side

    side = field_side(float(np.median(np.sqrt(4 * scores.reference_areas / np.pi))))
    best: dict[str, tuple] = {}
    for fold in folds:
        for case in scores.splits[fold]["val"]:
            field = densest_field(scores.raw.instances(case), side)
            group = scores.raw.info.groups.get(case, case)
            if group not in best or field.touching > best[group][2].touching:
                best[group] = fold, case, field
    return sorted(best.values(), key=lambda found: -found[2].touching)[:FIELDS]


if __name__ == "__main__":
    sys.exit(main())
