"""Out-of-fold predictions of one fold, as nuclei, and their scores."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nucplan.datasets.raw import RawDataset
from nucplan.files import atomic_path
from nucplan.inference.outputs import write_outputs
from nucplan.inference.predictor import Predictor
from nucplan.layout import Dataset
from nucplan.metrics.folders import evaluate_folders, write_metrics
from nucplan.progress import progress


def validate_fold(predictor: Predictor, dataset: Dataset, cases: Sequence[str], folder: Path) -> dict[str, Any]:
    """Predict the validation cases of a fold into ``folder`` and score them in its ``summary.json``.

    The folder appears when it is complete; one that was there is replaced.

    Returns
    -------
    dict
        What ``summary.json`` holds: nnU-Net's ``foreground_mean`` (Dice of nucleus against background, mean over
        images) and, under ``nuclei``, everything that nucplan_evaluate gives.
    """
    raw = RawDataset(dataset)
    shutil.rmtree(folder, ignore_errors=True)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for case in progress(cases, "Validation"):
            image = raw.image(case)
            write_outputs(temporary, case, image, predictor(image), predictor.class_names, raw.info.mpp, overlay=False)
        scores = evaluate_folders(temporary, dataset.part("instances"), stems=cases)
        summary = {"foreground_mean": {"Dice": scores["summary"]["dice_image_mean"]}, "nuclei": scores}
        write_metrics(temporary / "summary.json", summary)
    return summary
