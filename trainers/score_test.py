"""The test part under every ensemble and each of its folds: ``python -m trainers.score_test DATASET --output FILE``.

Nothing was trained, planned or chosen on the test part, so that its figures hold after a choice. Each network predicts
each image once; the single folds, the ensemble of each config (both decoded as planned) and the chosen ensemble are
scored on these maps.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nucplan.cli import common
from nucplan.errors import NucplanError
from nucplan.layout import FINAL, Dataset
from trainers.out_of_fold.selection import add_selection, selected

if TYPE_CHECKING:
    import torch

    from nucplan.datasets.raw import RawDataset
    from nucplan.inference.predictor import Predictor
    from nucplan.metrics.image import ImageCounts
    from trainers.ensemble_rows import Row
    from trainers.out_of_fold.runs import Models

DESCRIPTION = """\
Score the images of the test part, which had no say in any training or choice: each fold alone, the ensemble of each
config, and the chosen ensemble."""
EXAMPLES = """\
  python -m trainers.score_test Tissue --output test.json
  python -m trainers.score_test 2 --configs baseline,boundary --folds 0,1 --output test.json"""


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser("python -m trainers.score_test", DESCRIPTION, EXAMPLES)
    made.add_argument("dataset", metavar="DATASET", help="id or name of a dataset with a test part")
    add_selection(made)
    made.add_argument("--output", metavar="FILE", type=Path, required=True, help="where the scores go (JSON)")
    common.add_device(made)
    made.set_defaults(words=sys.argv[1:] if argv is None else list(argv))
    return common.run(_command, made, argv)


def _command(arguments: argparse.Namespace) -> None:
    from nucplan.layout import activate, find_dataset, resolve_roots

    roots = resolve_roots(arguments.root)
    dataset = find_dataset(roots, arguments.dataset)
    activate(roots)

    from nucplan.datasets.raw import RawDataset
    from nucplan.devices import choose_device
    from nucplan.inference.choice import weights_of
    from nucplan.metrics.folders import write_metrics
    from nucplan.report.ablation import ablation_scores
    from trainers.ensemble_rows import ensembles, row_numbers

    raw = RawDataset(dataset)
    cases = raw.cases("Ts")
    if not cases:
        raise NucplanError(f"{dataset.part('images', 'Ts')} holds no image; convert with --test-split for a test part.")
    models, folds = selected(dataset, arguments)
    rows = ensembles(dataset, models, folds, singles=True)
    scored = _scored(dataset, models, rows, choose_device(arguments.device))
    content = {
        "images": len(cases),
        "groups": len({raw.info.groups.get(case, case) for case in cases}),
        "among": list(models),
        "folds": list(folds),
        "weights": weights_of([model / f"fold_{fold}" / FINAL for model in models.values() for fold in folds]),
        "rows": [row_numbers(row, scored[row.name], ablation_scores(len(raw.info.class_names))) for row in rows],
        "made_by": shlex.join(["python", "-m", "trainers.score_test", *arguments.words]),
    }
    write_metrics(arguments.output, content)
    print(f"{len(cases)} images of the test part, {len(rows)} rows: {arguments.output}")


def _scored(
    dataset: Dataset, models: Models, rows: Sequence[Row], device: torch.device
) -> dict[str, list[ImageCounts]]:
    """Counts of the test images by row."""
    from nucplan.datasets.raw import RawDataset
    from trainers.ensemble_rows import open_networks
    from trainers.out_of_fold.scores import OutOfFoldScores

    raw, width = RawDataset(dataset), OutOfFoldScores(dataset).boundary_width
    networks = open_networks(models, rows, device)
    found: dict[str, list[ImageCounts]] = {row.name: [] for row in rows}
    for case in common.progress(raw.cases("Ts"), f"{dataset.name}, test part"):
        for row, counts in zip(rows, _counts_of_rows(raw, case, networks, rows, width), strict=True):
            found[row.name].append(counts)
    return found


def _counts_of_rows(
    raw: RawDataset, case: str, networks: Mapping[tuple[str, int], Predictor], rows: Sequence[Row], width: int
) -> Iterator[ImageCounts]:
    """Counts of one image by row."""
    from nucplan.metrics.class_map import classes_of
    from nucplan.metrics.image import evaluate_image
    from trainers.ensemble_rows import nuclei_of_rows

    image, reference = raw.image(case, "Ts"), raw.instances(case, "Ts")
    classes = classes_of(reference, raw.classes_map(case, "Ts"))
    for found in nuclei_of_rows(image, networks, rows):
        said = dict(zip(found.table.id.tolist(), found.table.class_id.tolist(), strict=True))
        yield evaluate_image(
            found.labels, reference, said, classes, raw.ignored(case, "Ts"), raw.info.mpp, width, name=case
        )


if __name__ == "__main__":
    sys.exit(main())
