"""Out-of-fold predictions of one fold, as nuclei, and their scores."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from nucplan.datasets.raw import RawDataset
from nucplan.files import atomic_path
from nucplan.inference.outputs import write_outputs
from nucplan.inference.predictor import Predictor
from nucplan.layout import Dataset, resolve_roots
from nucplan.metrics.folders import evaluate_folders, write_metrics
from nucplan.progress import progress

if TYPE_CHECKING:
    from trainers.base import NucleusTrainer


def validate_fold(trainer: NucleusTrainer) -> None:
    """Predict the validation cases of a trained fold into ``validation/`` and score them in ``summary.json``.

    The folder appears when it is complete. ``summary.json`` has nnU-Net's ``foreground_mean`` (Dice of nucleus
    against background, mean over images) and, under ``nuclei``, everything that nucplan_evaluate gives.
    """
    trainer.network.eval()
    dataset = Dataset(resolve_roots(), trainer.plans_manager.dataset_name)
    raw = RawDataset(dataset)
    predictor = Predictor([trainer.network], trainer.plans_manager.plans, trainer.dataset_json, trainer.device)
    _, cases = trainer.do_split()
    folder = Path(trainer.output_folder) / "validation"
    shutil.rmtree(folder, ignore_errors=True)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for case in progress(cases, f"Fold {trainer.fold}, validation"):
            image = raw.image(case)
            write_outputs(temporary, case, image, predictor(image), predictor.class_names, raw.info.mpp, overlay=False)
        scores = evaluate_folders(temporary, dataset.part("instances"), stems=cases)
        summary = {"foreground_mean": {"Dice": scores["summary"]["dice_image_mean"]}, "nuclei": scores}
        write_metrics(temporary / "summary.json", summary)
    trainer.print_to_log_file(
        f"Fold {trainer.fold}: PQ (pooled) {scores['summary']['pq_pooled']:.3f} on {len(cases)} images."
    )
