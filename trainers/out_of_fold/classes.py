"""Classes of out-of-fold nuclei: what the annotation says, and what the table of a prediction says."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from nucplan.datasets.raw import RawDataset
from nucplan.errors import NucplanError
from nucplan.metrics.label_folder import LabelFolder, open_predictions, open_reference


class NucleusClasses:
    """Reads the class (1 to K) of each nucleus of a dataset with several classes."""

    def __init__(self, raw: RawDataset) -> None:
        self.raw = raw
        self._number = {name: number for number, name in enumerate(raw.info.class_names, start=1)}
        self._opened: dict[Path, LabelFolder] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes; empty where there is but one, which is no classification."""
        return self.raw.info.class_names if len(self._number) > 1 else ()

    @cached_property
    def _truth(self) -> LabelFolder:
        return open_reference(self.raw.dataset.part("instances"))

    def annotated(self, case: str, instances: np.ndarray) -> dict[int, int]:
        """Nucleus -> class of the annotation, for the label map ``(H, W)`` of the case."""
        return {nucleus: int(value) for nucleus, value in self._truth.classes(case, instances).items()}

    def predicted(self, folder: Path, case: str, labels: np.ndarray) -> dict[int, int] | None:
        """Nucleus -> class of the table beside the label map ``(H, W)``; None where there is no table.

        Raises
        ------
        NucplanError
            If the table names a class that the dataset does not have.
        """
        if folder not in self._opened:
            self._opened[folder] = open_predictions(folder)
        if not self._opened[folder].has_classes([case]):
            return None
        found = self._opened[folder].classes(case, labels)
        unknown = sorted(set(found.values()) - set(self._number))
        if unknown:
            raise NucplanError(
                f"The class table of {case} in {folder} has the class '{unknown[0]}', which the dataset does not have; "
                "train the fold anew."
            )
        return {nucleus: self._number[name] for nucleus, name in found.items()}
