"""The models of one dataset on another: ``python -m trainers.score_transfer DATASET --to OTHER --output FILE``.

Nothing was trained, planned or chosen on the other dataset; an image file that is in the training part of the first is
refused. Its test part is scored where it has one, so that its own models can be held against these, else its training
part. Images are brought to the pixel size of the models where both are known, markers by name to their order and
scale, nuclei back to the size of the images. Nuclei are scored whatever their class, and those of classes whose names
both datasets have by class as well.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucplan.cli import common
from nucplan.errors import NucplanError
from nucplan.layout import FINAL
from trainers.out_of_fold.selection import add_selection, selected

if TYPE_CHECKING:
    import numpy as np
    import torch

    from nucplan.datasets.raw import Part, RawDataset
    from nucplan.inference.panel_reader import PanelReader
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
    from nucplan.workflow.transfer import annotated_part, enlargement, panel_reader, refuse_shared, refuse_unfit
    from trainers.ensemble_rows import ensembles
    from trainers.shared_classes import SharedClasses

    source, target = RawDataset(dataset), RawDataset(other)
    refuse_unfit(source, target)
    refuse_shared(source, target)
    models, folds = selected(dataset, arguments)
    rows, classes = ensembles(dataset, models, folds), SharedClasses.of(source, target)
    images = Images(target, panel_reader(source), enlargement(source, target))
    counts = _scored(images, models, rows, classes, choose_device(arguments.device))
    part = annotated_part(other)
    cases = target.cases(part)
    content = {
        "dataset": dataset.folder_name,
        "to": other.folder_name,
        "part": "test" if part == "Ts" else "training",
        "images": len(cases),
        "groups": len({target.info.groups.get(case, case) for case in cases}),
        "mpp": [source.info.mpp, target.info.mpp],
        "enlarged": images.scale,
        "classes": list(classes.names),
        "among": list(models),
        "folds": list(folds),
        "weights": weights_of([model / f"fold_{fold}" / FINAL for model in models.values() for fold in folds]),
        "rows": [_numbers(row, counts[row.name], classes) for row in rows],
        "made_by": shlex.join(["python", "-m", "trainers.score_transfer", *arguments.words]),
    }
    write_metrics(arguments.output, content)
    print(f"{len(cases)} images of the {content['part']} part of {other.name}, {len(rows)} rows: {arguments.output}")


@dataclass(frozen=True)
class Images:
    """Of another dataset, as the models of this one take them.

    Attributes
    ----------
    target
        Whose annotated part is scored.
    reader
        What arranges the markers of multiplex images; None for grey and RGB.
    scale
        By which images are enlarged for the models.
    """

    target: RawDataset
    reader: PanelReader | None
    scale: float

    def image(self, case: str, part: Part) -> np.ndarray:
        """(H, W) or (H, W, C), uint8 or uint16, at the size that it has."""
        image, info = self.target.image(case, part), self.target.info
        if self.reader is None:
            return image
        return self.reader.arranged(image, info.panel, info.factors, self.target.image_path(case, part))


def _scored(
    images: Images, models: Models, rows: Sequence[Row], classes: SharedClasses, device: torch.device
) -> dict[str, list[ImageCounts]]:
    """Counts of the images by row."""
    from nucplan.metrics.boundary import boundary_distance
    from nucplan.workflow.transfer import annotated_part
    from trainers.ensemble_rows import open_networks
    from trainers.out_of_fold.scores import reference_areas

    # As the target's own models are scored.
    target, part = images.target, annotated_part(images.target.dataset)
    width = boundary_distance(reference_areas(target))
    networks = open_networks(models, rows, device)
    found: dict[str, list[ImageCounts]] = {row.name: [] for row in rows}
    for case in common.progress(target.cases(part), f"{target.dataset.name}, {part}"):
        counts = _counts_of_rows(images, case, networks, rows, classes, width)
        for row, of_row in zip(rows, counts, strict=True):
            found[row.name].append(of_row)
    return found


def _counts_of_rows(
    images: Images,
    case: str,
    networks: Mapping[Network, Predictor],
    rows: Sequence[Row],
    classes: SharedClasses,
    width: int,
) -> Iterator[ImageCounts]:
    """Counts of one image by row."""
    from nucplan.metrics.image import evaluate_image
    from nucplan.workflow.transfer import annotated_part
    from trainers.ensemble_rows import nuclei_of_rows

    target, part = images.target, annotated_part(images.target.dataset)
    reference, ignored = target.instances(case, part), target.ignored(case, part)
    true = classes.annotated(reference, target.classes_map(case, part))
    for found in nuclei_of_rows(images.image(case, part), networks, rows, images.scale):
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
