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
from typing import TYPE_CHECKING, Any, NamedTuple

from nucplan.cli import common
from nucplan.errors import NucplanError
from nucplan.layout import CHOICE, FINAL, Dataset
from trainers.out_of_fold.selection import add_selection, selected

if TYPE_CHECKING:
    import torch

    from nucplan.datasets.raw import RawDataset
    from nucplan.decoder_plan import DecoderPlan
    from nucplan.inference.predictor import Predictor
    from nucplan.metrics.image import ImageCounts
    from nucplan.metrics.scores import Score
    from trainers.out_of_fold.runs import Models

DESCRIPTION = """\
Score the images of the test part, which had no say in any training or choice: each fold alone, the ensemble of each
config, and the chosen ensemble."""
EXAMPLES = """\
  python -m trainers.score_test Tissue --output test.json
  python -m trainers.score_test 2 --configs baseline,boundary --folds 0,1 --output test.json"""


class Row(NamedTuple):
    """Networks that are scored together: the folds of some configs, and the decoder of their mean maps."""

    name: str
    configs: tuple[str, ...]
    folds: tuple[int, ...]
    decoder: DecoderPlan
    chosen: bool = False


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

    raw = RawDataset(dataset)
    cases = raw.cases("Ts")
    if not cases:
        raise NucplanError(f"{dataset.part('images', 'Ts')} holds no image; convert with --test-split for a test part.")
    models, folds = selected(dataset, arguments)
    rows = _rows(dataset, models, folds)
    scored = _scored(dataset, models, rows, choose_device(arguments.device))
    content = {
        "images": len(cases),
        "groups": len({raw.info.groups.get(case, case) for case in cases}),
        "among": list(models),
        "folds": list(folds),
        "weights": weights_of([model / f"fold_{fold}" / FINAL for model in models.values() for fold in folds]),
        "rows": [_numbers(row, scored[row.name], ablation_scores(len(raw.info.class_names))) for row in rows],
        "made_by": shlex.join(["python", "-m", "trainers.score_test", *arguments.words]),
    }
    write_metrics(arguments.output, content)
    print(f"{len(cases)} images of the test part, {len(rows)} rows: {arguments.output}")


def _rows(dataset: Dataset, models: Models, folds: Sequence[int]) -> list[Row]:
    """Every fold of every config, the ensemble of every config, and the choice, where it is one of these networks."""
    from nucplan.inference.choice import read_choice
    from trainers.out_of_fold.decoders import decoders_anew

    plans = decoders_anew(dataset, models)
    rows = [Row(f"{name}, fold {fold}", (name,), (fold,), plan) for name, plan in plans.items() for fold in folds]
    rows += [Row(f"{name}, ensemble", (name,), tuple(folds), plan) for name, plan in plans.items()]
    if (dataset.results / CHOICE).is_file():
        choice = read_choice(dataset.results)
        # A choice among networks of another seed or plan has the same configs.
        ours = all(name in models and models[name].name == model for name, model in choice.configs.items())
        if ours and set(choice.folds) <= set(folds):
            choice.checkpoints(dataset.results)
            rows.append(Row("the choice", tuple(choice.configs), choice.folds, choice.decoder, chosen=True))
    return rows


def _scored(
    dataset: Dataset, models: Models, rows: Sequence[Row], device: torch.device
) -> dict[str, list[ImageCounts]]:
    """Counts of the test images by row."""
    from nucplan.datasets.raw import RawDataset
    from trainers.out_of_fold.scores import OutOfFoldScores

    raw, width = RawDataset(dataset), OutOfFoldScores(dataset).boundary_width
    wanted = sorted({(name, fold) for row in rows for name in row.configs for fold in row.folds})
    networks = {(name, fold): _open(models[name], fold, device) for name, fold in wanted}
    found: dict[str, list[ImageCounts]] = {row.name: [] for row in rows}
    for case in common.progress(raw.cases("Ts"), f"{dataset.name}, test part"):
        for row, counts in zip(rows, _counts_of_rows(raw, case, networks, rows, width), strict=True):
            found[row.name].append(counts)
    return found


def _open(model: Path, fold: int, device: torch.device) -> Predictor:
    from nucplan.files import read_json
    from nucplan.inference.predictor import Predictor, load_network

    network = load_network(model / f"fold_{fold}" / FINAL, device)
    return Predictor([network], read_json(model / "plans.json"), read_json(model / "dataset.json"), device)


def _counts_of_rows(
    raw: RawDataset, case: str, networks: Mapping[tuple[str, int], Predictor], rows: Sequence[Row], width: int
) -> Iterator[ImageCounts]:
    """Counts of one image by row; each network predicts it once."""
    from nucplan.ensemble_choice import mean_maps
    from nucplan.metrics.class_map import classes_of
    from nucplan.metrics.image import evaluate_image

    image, reference = raw.image(case, "Ts"), raw.instances(case, "Ts")
    classes = classes_of(reference, raw.classes_map(case, "Ts"))
    maps = {key: predictor.probabilities(image) for key, predictor in networks.items()}
    for row in rows:
        keys = [(name, fold) for fold in row.folds for name in sorted(row.configs)]
        region = maps[keys[0]][1]
        found = networks[keys[0]].decode(
            mean_maps([maps[key][0] for key in keys]), region, image.shape[:2], row.decoder
        )
        said = dict(zip(found.table.id.tolist(), found.table.class_id.tolist(), strict=True))
        yield evaluate_image(
            found.labels, reference, said, classes, raw.ignored(case, "Ts"), raw.info.mpp, width, name=case
        )


def _numbers(row: Row, images: Sequence[ImageCounts], scores: Sequence[Score]) -> dict[str, Any]:
    return {
        "name": row.name,
        "configs": list(row.configs),
        "folds": list(row.folds),
        "chosen": row.chosen,
        "scores": {score.title: score(images) for score in scores},
    }


if __name__ == "__main__":
    sys.exit(main())
