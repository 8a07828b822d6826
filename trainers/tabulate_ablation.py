"""Configs against each other on their finished folds: ``python -m trainers.tabulate_ablation DATASET ...``.

It prints Markdown, or writes it to a file, and stores nothing else: the label maps in the folds' ``validation`` are
scored anew, so that all configs of a dataset are scored with one boundary width, and every score has the counts that
its interval needs. Where the plan decodes otherwise than when the folds were trained, ``--decode-anew`` predicts their
images again and scores what its decoder makes of them.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nucplan.cli import common
from nucplan.files import atomic_path
from nucplan.layout import Dataset
from trainers.out_of_fold.selection import add_selection, selected

if TYPE_CHECKING:
    from nucplan.decoder_plan import DecoderPlan
    from trainers.out_of_fold.runs import Models
    from trainers.out_of_fold.scores import OutOfFoldScores

DESCRIPTION = """\
Compare trained configs out of fold: means over the folds, the paired difference to the first config with its interval,
pooled figures and the sizes of the folds. Only folds that all of them have finished count."""
EXAMPLES = """\
  python -m trainers.tabulate_ablation Tissue TNBC
  python -m trainers.tabulate_ablation 2 --configs baseline,boundary_attention --reference --same-decoder
  python -m trainers.tabulate_ablation 2 --decode-anew
  python -m trainers.tabulate_ablation 2 --crops pictures"""


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser("python -m trainers.tabulate_ablation", DESCRIPTION, EXAMPLES)
    made.add_argument("datasets", metavar="DATASET", nargs="+", help="id or name of a dataset with trained folds")
    add_selection(made)
    made.add_argument("--reference", action="store_true", help="add stock nnU-Net (trainers.run_reference)")
    made.add_argument(
        "--same-decoder", action="store_true", help="add boundary configs decoded as the baseline is, without boundary"
    )
    made.add_argument(
        "--decode-anew", action="store_true", help="score what the dataset's plan, as it is now, decodes from the maps"
    )
    made.add_argument("--output", metavar="FILE", type=Path, help="write the tables there instead of printing them")
    made.add_argument("--crops", metavar="FOLDER", type=Path, help="draw dense fields side by side, as PNG")
    common.add_device(made)
    made.set_defaults(words=sys.argv[1:] if argv is None else list(argv))
    return common.run(_command, made, argv)


def _command(arguments: argparse.Namespace) -> None:
    from nucplan.layout import activate, find_dataset, resolve_roots

    roots = resolve_roots(arguments.root)
    datasets = [find_dataset(roots, name) for name in arguments.datasets]
    activate(roots)
    reports = (_report(dataset, arguments) for dataset in datasets)
    if arguments.output is None:
        for report in reports:
            print(report, end="\n\n")
        return
    made_by = f"Made by `{shlex.join(['python', '-m', 'trainers.tabulate_ablation', *arguments.words])}`."
    with atomic_path(arguments.output) as temporary:
        temporary.write_text("\n\n".join([*reports, made_by]) + "\n", encoding="utf-8")


def _report(dataset: Dataset, arguments: argparse.Namespace) -> str:
    from nucplan.report.ablation import ablation
    from nucplan.report.markdown import ablation_tables
    from trainers.out_of_fold.decoders import DECISIONS, decoders_anew, decoders_of_baseline, describe
    from trainers.out_of_fold.rows import decoded_rows, row_counts, under_same_decoder
    from trainers.out_of_fold.runs import remarks
    from trainers.out_of_fold.scores import OutOfFoldScores

    models, folds = selected(dataset, arguments, arguments.reference)
    scores = OutOfFoldScores(dataset)
    anew = decoders_anew(dataset, models) if arguments.decode_anew else {}
    same = decoders_of_baseline(dataset, models, arguments.decode_anew) if arguments.same_decoder else {}
    counts = row_counts(scores, models, folds, decoded_rows(anew, same), arguments.device, common.progress)
    if arguments.crops is not None:
        _write_crops(scores, models, folds, anew, arguments)
    notes = [remark.text for remark in remarks(dataset, models, folds, unread=DECISIONS if anew else ())]
    notes += [f"Boundaries count within {scores.boundary_width} px."]
    notes += [f"Decoded anew, as {dataset.plans().name} says now: {describe(anew)}."] if anew else []
    shares, untested = scores.test_shares(folds), under_same_decoder(counts)
    tables = ablation_tables(ablation(counts, scores.raw.info.groups, shares, untested=untested))
    return "\n\n".join([f"### {dataset.name}", " ".join(notes), tables])


def _write_crops(
    scores: OutOfFoldScores,
    models: Models,
    folds: Sequence[int],
    anew: Mapping[str, DecoderPlan],
    arguments: argparse.Namespace,
) -> None:
    from nucplan.devices import choose_device
    from nucplan.images import write_image
    from nucplan.report.crops import compare_field
    from trainers.out_of_fold.fields import dense_fields
    from trainers.out_of_fold.maps import open_fold

    device = choose_device(arguments.device)
    for rank, (fold, case, field) in enumerate(dense_fields(scores, folds), start=1):
        predictions = {
            name: open_fold(scores.dataset, model, fold, device).labels(case, anew[name])
            if name in anew
            else scores.labels(model, fold, case)
            for name, model in models.items()
        }
        picture = compare_field(
            scores.raw.image(case), scores.raw.instances(case), predictions, field, scores.raw.ignored(case)
        )
        write_image(arguments.crops / f"{scores.dataset.name}_{rank}_{case}.png", picture)


if __name__ == "__main__":
    sys.exit(main())
