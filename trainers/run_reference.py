"""Stock nnU-Net on core and border labels, for comparison: train, predict, decode and score it as nucplan is scored.

``python -m trainers.run_reference DATASET FOLD --iterations N`` takes a dataset that nucplan_plan_and_preprocess has
planned. Same images, folds, patch size, batch size and number of iterations; network, augmentation, optimiser and loss
are nnU-Net's own. It makes the nnU-Net dataset ``Dataset(500 + id)_<Name>CoreBorder`` and writes label maps and
``metrics.json`` to ``nnUNetTrainerReference__coreBorder__2d`` in the results of the original dataset: ``fold_k/
validation`` out of fold, ``test`` by the ensemble of all finished folds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucplan.cli import common
from nucplan.errors import NucplanError
from nucplan.files import read_json, write_json
from nucplan.layout import FOLDS, Dataset, require_plan
from nucplan.locks import fold_lock
from nucplan.plans import decision
from nucplan.schedule import BUDGETS, epochs

if TYPE_CHECKING:
    import numpy as np

    from nucplan.datasets.raw import Part, RawDataset

EXAMPLES = """\
  python -m trainers.run_reference 7 0 --iterations 150
  python -m trainers.run_reference Breast all --iterations 150 --device cpu"""


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser(
        "python -m trainers.run_reference",
        "Train stock nnU-Net on core and border labels of a planned dataset and score its nuclei. "
        "Finished folds are kept.",
        EXAMPLES,
    )
    made.add_argument("dataset", metavar="DATASET", help="id or name")
    made.add_argument("fold", metavar="FOLD", choices=(*map(str, FOLDS), "all"), help="0 to 4, or all")
    length = made.add_mutually_exclusive_group()
    length.add_argument("--budget", choices=BUDGETS, default="quick", help="as in nucplan_train (default: %(default)s)")
    length.add_argument("--iterations", type=int, metavar="N", help="train N iterations instead")
    made.add_argument("--wait", action="store_true", help="wait for a fold that another process trains")
    common.add_device(made)
    return common.run(_command, made, argv)


def _command(arguments: argparse.Namespace) -> None:
    from nucplan.layout import activate, find_dataset, resolve_roots

    if arguments.iterations is not None and arguments.iterations < 1:
        raise NucplanError(f"--iterations {arguments.iterations} is less than 1; give a positive number.")
    folds = FOLDS if arguments.fold == "all" else (int(arguments.fold),)
    roots = resolve_roots(arguments.root)
    dataset = find_dataset(roots, arguments.dataset)
    activate(roots)
    # One worker that augments: more of them take the processor from a network that trains on it.
    os.environ.setdefault("nnUNet_n_proc_DA", "1")
    os.environ.setdefault("nnUNet_compile", "f")
    require_plan(dataset)
    iterations = arguments.iterations
    if iterations is None:
        iterations = decision(read_json(dataset.plans()), "iterations")[arguments.budget]
    _run(dataset, folds, iterations, arguments.device, arguments.wait)


def _run(dataset: Dataset, folds: Sequence[int], iterations: int, device_name: str, wait: bool) -> None:
    from nucplan.datasets.raw import RawDataset
    from nucplan.devices import choose_device
    from nucplan.origin import training_data
    from planners.reference import prepare_reference
    from trainers.reference import ReferenceEnsemble, finished_folds, nnUNetTrainerReference, train_reference_fold

    device, raw = choose_device(device_name), RawDataset(dataset)
    output = dataset.model(nnUNetTrainerReference.__name__, "coreBorder")
    # Folds may be started side by side; the first one makes the data, the others wait for them.
    with fold_lock(output, wait=True):
        reference = prepare_reference(dataset, common.progress)
    for fold in folds:
        train_reference_fold(reference, fold, iterations, device, wait)
        record = {"iterations": prod(epochs(iterations)), "data": training_data(dataset)}
        write_json(output / f"fold_{fold}" / "run.json", record)
        ensemble = ReferenceEnsemble.of(reference, [fold], device)
        cases = read_json(dataset.splits)[fold]["val"]
        _report(f"fold {fold}", _predict_and_score(ensemble, raw, "Tr", cases, output / f"fold_{fold}" / "validation"))
    if raw.cases("Ts"):
        with fold_lock(output, wait=True):
            finished = finished_folds(reference, FOLDS, iterations)
            ensemble = ReferenceEnsemble.of(reference, finished, device)
            scores = _predict_and_score(ensemble, raw, "Ts", raw.cases("Ts"), output / "test")
        _report(f"test, folds {', '.join(map(str, finished))}", scores)
    print(f"\nLabel maps and metrics.json: {output}")


def _predict_and_score(
    ensemble: Callable[[Sequence[Path]], np.ndarray], raw: RawDataset, part: Part, cases: Sequence[str], folder: Path
) -> dict[str, Any]:
    """Write label maps and ``metrics.json`` of some cases; the folder appears when it is complete."""
    from nucplan.files import atomic_path
    from nucplan.images import write_label_map
    from nucplan.metrics.folders import evaluate_folders, write_metrics

    shutil.rmtree(folder, ignore_errors=True)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for case in common.progress(cases, f"Predicting into {folder.name}"):
            write_label_map(temporary / f"{case}.tif", ensemble(raw.image_paths(case, part)))
        scores = evaluate_folders(temporary, raw.dataset.part("instances", part), stems=cases)
        write_metrics(temporary / "metrics.json", scores)
    return scores


def _report(name: str, scores: dict[str, Any]) -> None:
    summary = scores["summary"]
    print(
        f"{name}: PQ (pooled) {summary['pq_pooled']:.3f}, Dice {summary['dice_image_mean']:.3f}, "
        f"{summary['merges']} merges, {summary['splits']} splits on {len(scores['per_image'])} images"
    )


if __name__ == "__main__":
    sys.exit(main())
