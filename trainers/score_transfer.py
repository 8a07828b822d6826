"""The models of one dataset on another: ``python -m trainers.score_transfer DATASET --to OTHER --output FILE``.

Nothing was trained, planned or chosen on the other dataset. Its test part is scored where it has one, so that its own
models can be held against these, else its training part. Images are brought to the pixel size of the models where both
are known, nuclei back to the size of the images. Nuclei are scored whatever their class, and those of classes whose
names both datasets have by class as well.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucplan.cli import common
from nucplan.errors import NucplanError
from nucplan.layout import FINAL
from trainers.out_of_fold.selection import add_selection, selected

if TYPE_CHECKING:
    import torch

    from nucplan.datasets.raw import RawDataset
    from nucplan.inference.predictor import Predictor
    from nucplan.metrics.image import ImageCounts
    from trainers.ensemble_rows import Network, Row
    from trainers.out_of_fold.runs import Models
    from trainers.shared_classes import SharedClasses

DESCRIPTION = """\
Score images of another dataset by the ensemble of each config and the chosen ensemble, none of which was trained,
planned or chosen on them."""
EXAMPLES = """\
  python -m trainers.score_transfer Tissue --to TNBC --output transfer.json
  python -m trainers.score_transfer 2 --to 3 --configs baseline,boundary --folds 0,1 --output transfer.json"""


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser("python -m trainers.score_transfer", DESCRIPTION, EXAMPLES)
    made.add_argument("dataset", metavar="DATASET", help="id or name of the dataset whose models predict")
    made.add_argument("--to", metavar="OTHER", required=True, help="id or name of the dataset whose images are scored")
    add_selection(made)
    made.add_argument("--output", metavar="FILE", type=Path, required=True, help="where the scores go (JSON)")
    common.add_device(made)
    made.set_defaults(words=sys.argv[1:] if argv is None else list(argv))
    return common.run(_command, made, argv)


def _command(arguments: argparse.Namespace) -> None:
    from nucplan.layout import activate, find_dataset, resolve_roots

    roots = resolve_roots(arguments.root)
    dataset, other = (find_dataset(roots, name) for name in (arguments.dataset, arguments.to))
    if dataset == other:
        raise NucplanError(f"--to {arguments.to} is the dataset that the models were trained on; name another one.")
    activate(roots)

    from nucplan.datasets.raw import RawDataset
    from nucplan.devices import choose_device
    from nucplan.inference.choice import weights_of
    from nucplan.metrics.folders import write_metrics
    from nucplan.workflow.transfer import annotated_part, enlargement, refuse_unfit
    from trainers.ensemble_rows import ensembles
    from trainers.shared_classes import SharedClasses

    source, target = RawDataset(dataset), RawDataset(other)
    refuse_unfit(source, target)
    models, folds = selected(dataset, arguments)
    rows, classes = ensembles(dataset, models, folds), SharedClasses.of(source, target)
    counts = _scored(target, models, rows, classes, enlargement(source, target), choose_device(arguments.device))
    part = annotated_part(other)
    cases = target.cases(part)
    content = {
        "dataset": dataset.folder_name,
        "to": other.folder_name,
        "part": "test" if part == "Ts" else "training",
        "images": len(cases),
        "groups": len({target.info.groups.get(case, case) for case in cases}),
        "mpp": [source.info.mpp, target.info.mpp],
        "enlarged": enlargement(source, target),
        "classes": list(classes.names),
        "among": list(models),
        "folds": list(folds),
        "weights": weights_of([model / f"fold_{fold}" / FINAL for model in models.values() for fold in folds]),
        "rows": [_numbers(row, counts[row.name], classes) for row in rows],
        "made_by": shlex.join(["python", "-m", "trainers.score_transfer", *arguments.words]),
    }
    write_metrics(arguments.output, content)
    print(f"{len(cases)} images of the {content['part']} part of {other.name}, {len(rows)} rows: {arguments.output}")


def _scored(
    target: RawDataset,
    models: Models,
    rows: Sequence[Row],
    classes: SharedClasses,
    scale: float,
    device: torch.device,
) -> dict[str, list[ImageCounts]]:
    """Counts of the images of ``target`` by row."""
    from nucplan.metrics.boundary import boundary_distance
    from nucplan.workflow.transfer import annotated_part
    from trainers.ensemble_rows import open_networks
    from trainers.out_of_fold.scores import reference_areas

    # As the target's own models are scored.
    part, width = annotated_part(target.dataset), boundary_distance(reference_areas(target))
    networks = open_networks(models, rows, device)
    found: dict[str, list[ImageCounts]] = {row.name: [] for row in rows}
    for case in common.progress(target.cases(part), f"{target.dataset.name}, {part}"):
        counts = _counts_of_rows(target, case, networks, rows, classes, scale, width)
        for row, of_row in zip(rows, counts, strict=True):
            found[row.name].append(of_row)
    return found


def _counts_of_rows(
    target: RawDataset,
    case: str,
    networks: Mapping[Network, Predictor],
    rows: Sequence[Row],
    classes: SharedClasses,
    scale: float,
    width: int,
) -> Iterator[ImageCounts]:
    """Counts of one image by row."""
    from nucplan.metrics.image import evaluate_image
    from nucplan.workflow.transfer import annotated_part
    from trainers.ensemble_rows import nuclei_of_rows

    part = annotated_part(target.dataset)
    reference, ignored = target.instances(case, part), target.ignored(case, part)
    true = classes.annotated(reference, target.classes_map(case, part))
    for found in nuclei_of_rows(target.image(case, part), networks, rows, scale):
        said = classes.predicted(found.table)
        yield evaluate_image(found.labels, reference, said, true, ignored, target.info.mpp, width, name=case)


def _numbers(row: Row, images: Sequence[ImageCounts], classes: SharedClasses) -> dict[str, Any]:
    from nucplan.metrics.summary import summarise
    from nucplan.report.ablation import known
    from trainers.ensemble_rows import row_numbers
    from trainers.out_of_fold.transfers import TRANSFER_SCORES

    of_classes = summarise(images, classes.names)["per_class"] if classes.names else {}
    tables = {name: {key: known(value) for key, value in of.items()} for name, of in of_classes.items()}
    return row_numbers(row, images, TRANSFER_SCORES) | {"per_class": tables}


if __name__ == "__main__":
    sys.exit(main())
