"""Counts of out-of-fold nuclei, all with one boundary width: what was predicted, or maps decoded in another way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nucplan.datasets.raw import RawDataset
from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.images import read_label_map
from nucplan.layout import Dataset
from nucplan.metrics.boundary import boundary_distance
from nucplan.metrics.image import ImageCounts, evaluate_image
from trainers.out_of_fold.classes import NucleusClasses
from trainers.out_of_fold.folds import validation_folder

if TYPE_CHECKING:
    from nucplan.decoder_plan import DecoderPlan
    from trainers.out_of_fold.maps import TrainedFold


def reference_areas(raw: RawDataset) -> np.ndarray:
    """Areas of all annotated nuclei of the training part, px; it sets the boundary width of all scores of a dataset."""
    areas = [np.unique(raw.instances(case), return_counts=True) for case in raw.cases()]
    return np.concatenate([counts[ids > 0] for ids, counts in areas])


class OutOfFoldScores:
    """Counts of out-of-fold nuclei of one dataset, with one boundary width for its whole training part.

    With ``typed``, classes are counted as well, where the dataset has several.
    """

    def __init__(self, dataset: Dataset, typed: bool = False) -> None:
        self.dataset, self.raw = dataset, RawDataset(dataset)
        self.classes = NucleusClasses(self.raw) if typed else None
        self.splits: list[dict[str, list[str]]] = read_json(dataset.splits)

    @cached_property
    def reference_areas(self) -> np.ndarray:
        """Areas of all annotated nuclei of the training part, px."""
        return reference_areas(self.raw)

    @cached_property
    def boundary_width(self) -> int:
        return boundary_distance(self.reference_areas)

    def test_shares(self, folds: Sequence[int]) -> dict[int, float]:
        """Validation images over training images of each fold."""
        return {fold: len(self.splits[fold]["val"]) / len(self.splits[fold]["train"]) for fold in folds}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes that are counted."""
        return () if self.classes is None else self.classes.names

    def of_files(self, model: Path, fold: int) -> list[ImageCounts]:
        """Score what the training of a fold left in ``validation``."""
        return [self._of_file(model, fold, case) for case in self.splits[fold]["val"]]

    def _of_file(self, model: Path, fold: int, case: str) -> ImageCounts:
        labels = self.labels(model, fold, case)
        folder = validation_folder(model, fold)
        return self._counts(case, labels, self.classes.predicted(folder, case, labels) if self.class_names else None)

    def of_decoders(self, fold: TrainedFold, plans: Sequence[DecoderPlan]) -> list[list[ImageCounts]]:
        """Score the maps of a fold, predicted once, under each of the plans."""
        counts: list[list[ImageCounts]] = [[] for _ in plans]
        for case, maps, region, shape in fold.maps():
            for plan, of_plan in zip(plans, counts, strict=True):
                found = fold.predictor.decode(maps, region, shape, plan)
                classes = dict(zip(found.table.id.tolist(), found.table.class_id.tolist(), strict=True))
                of_plan.append(self._counts(case, found.labels, classes))
        return counts

    def labels(self, model: Path, fold: int, case: str) -> np.ndarray:
        """The predicted label map of one validation image, (H, W) int32."""
        path = validation_folder(model, fold) / f"{case}.tif"
        if not path.is_file():
            raise NucplanError(
                f"{path.parent} has no label map of {case}, a validation image of fold {fold} in "
                f"{self.dataset.splits}; restore the split, or train the fold anew."
            )
        return read_label_map(path)

    def _counts(self, case: str, labels: np.ndarray, classes: Mapping[int, int] | None) -> ImageCounts:
        truth = self.raw.instances(case)
        return evaluate_image(
            labels,
            truth,
            classes,
            self.classes.annotated(case, truth) if self.class_names else None,
            ignore=self.raw.ignored(case),
            mpp=self.raw.info.mpp,
            boundary_width=self.boundary_width,
            name=case,
        )
