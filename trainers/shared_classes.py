"""Classes that two datasets have in common, by name, and the nuclei of each dataset in their numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nucplan.datasets.raw import RawDataset
from nucplan.instances import NucleusTable
from nucplan.metrics.class_map import classes_of


@dataclass(frozen=True)
class SharedClasses:
    """Numbers 1 to K of the shared classes; those of all other classes of either dataset are 0, which is no class.

    Attributes
    ----------
    names
        Of the shared classes, as the second dataset writes them; empty where a dataset has but one class.
    source, target
        For the class numbers of either dataset, from 0 (background), the shared one.
    """

    names: tuple[str, ...]
    source: tuple[int, ...]
    target: tuple[int, ...]

    @classmethod
    def of(cls, source: RawDataset, target: RawDataset) -> SharedClasses:
        """Match the names of two datasets, whatever their case."""
        mine, other = ([name.casefold() for name in raw.info.class_names] for raw in (source, target))
        # One class for all nuclei is no classification.
        shared = [name for name in other if name in mine] if min(len(mine), len(other)) > 1 else []
        number = {name: k for k, name in enumerate(shared, start=1)}
        written = dict(zip(other, target.info.class_names, strict=True))
        numbers = [(0, *(number.get(name, 0) for name in names)) for names in (mine, other)]
        return cls(tuple(written[name] for name in shared), *numbers)

    def annotated(self, instances: np.ndarray, class_map: np.ndarray) -> dict[int, int] | None:
        """Nucleus to shared class of two maps (H, W) of the second dataset; None where no class is shared."""
        if not self.names:
            return None
        return {nucleus: self.target[value] for nucleus, value in classes_of(instances, class_map).items()}

    def predicted(self, table: NucleusTable) -> dict[int, int] | None:
        """Nucleus to shared class of what a model of the first dataset found; None where no class is shared."""
        if not self.names:
            return None
        said = zip(table.id.tolist(), table.class_id.tolist(), strict=True)
        return {nucleus: self.source[value] for nucleus, value in said}
