"""Where everything lies: the only place that knows paths and file names.

Three roots, as nnU-Net has them: raw, preprocessed, results. An explicit ``--root`` wins; without it each root is
taken from its nnU-Net variable where that is set, else from ``$NUCPLAN_ROOT``, else from ``./nucplan_data``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nucplan.errors import NucplanError

VARIABLES = {"raw": "nnUNet_raw", "preprocessed": "nnUNet_preprocessed", "results": "nnUNet_results"}
PLANS_NAME = "nucplanPlans"
CONFIGURATION = "2d"
FINAL, LATEST = "checkpoint_final.pth", "checkpoint_latest.pth"
FOLDS = (0, 1, 2, 3, 4)
# Beside the models of a dataset: which of them predict together where none is named.
CHOICE = "inference.json"
# File systems take names of 255 bytes; temporary ones add the host and a process to that of a dataset.
MAX_NAME = 100


@dataclass(frozen=True)
class Roots:
    """The three root folders; they need not exist yet."""

    raw: Path
    preprocessed: Path
    results: Path


@dataclass(frozen=True)
class Dataset:
    """One dataset, ``DatasetNNN_Name``, in the three roots."""

    roots: Roots
    folder_name: str

    @property
    def id(self) -> int:
        return int(self.folder_name[7:10])

    @property
    def name(self) -> str:
        return self.folder_name[11:]

    @property
    def raw(self) -> Path:
        return self.roots.raw / self.folder_name

    @property
    def preprocessed(self) -> Path:
        return self.roots.preprocessed / self.folder_name

    @property
    def results(self) -> Path:
        return self.roots.results / self.folder_name

    @property
    def dataset_json(self) -> Path:
        return self.raw / "dataset.json"

    @property
    def splits(self) -> Path:
        return self.preprocessed / "splits_final.json"

    @property
    def fingerprint(self) -> Path:
        return self.preprocessed / "nucplan_fingerprint.json"

    @property
    def fingerprint_figure(self) -> Path:
        return self.preprocessed / "fingerprint.png"

    def made_from(self, data_identifier: str = f"{PLANS_NAME}_{CONFIGURATION}") -> Path:
        """What tells from which files and plan the preprocessed data of that name were made.

        Not every plan has the usual name: see `nucplan.plans.data_identifier`.
        """
        return self.preprocessed / f"{data_identifier}_made_from.json"

    def plans(self, plans_name: str = PLANS_NAME) -> Path:
        return self.preprocessed / f"{plans_name}.json"

    def model(self, trainer_name: str, plans_name: str = PLANS_NAME) -> Path:
        """The folder that holds ``fold_0`` to ``fold_4`` of one trainer and plan."""
        return self.results / f"{trainer_name}__{plans_name}__{CONFIGURATION}"

    def part(self, kind: str, part: str = "Tr") -> Path:
        """A folder of the raw dataset: ``kind`` is images, labels or instances; ``part`` is Tr or Ts."""
        return self.raw / f"{kind}{part}"


def plans_name(seed: int, *variants: str) -> str:
    """The name of the plan of a seed and of whatever else differs from the dataset's own plan."""
    return "_".join([PLANS_NAME, *variants, *([f"seed{seed}"] if seed else [])])


def injection_suffix(blocks: Sequence[int]) -> str:
    """What stands in the name of a plan whose adapter changes the encoder's tokens in these interactions alone."""
    return f"inject{'-'.join(map(str, blocks)) or '0'}"


def resolve_roots(root: str | os.PathLike | None = None) -> Roots:
    """Find the three roots; nothing is created."""
    if root is not None:
        return Roots(**{kind: Path(root).resolve() / variable for kind, variable in VARIABLES.items()})
    base = Path(os.environ.get("NUCPLAN_ROOT") or "nucplan_data").resolve()
    return Roots(**{kind: Path(os.environ.get(variable) or base / variable) for kind, variable in VARIABLES.items()})


def activate(roots: Roots, make: bool = True) -> None:
    """Tell nnU-Net where the roots are, and make them; call it before the first ``import nnunetv2``."""
    for kind, variable in VARIABLES.items():
        folder = getattr(roots, kind)
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        os.environ[variable] = str(folder)


def dataset_folder_name(dataset_id: int, name: str) -> str:
    """``DatasetNNN_Name``.

    Raises
    ------
    NucplanError
        If the id is not 1 to 999, or the name is too long or has characters other than letters, digits, ``_``, ``-``.
    """
    if not 1 <= dataset_id <= 999:
        raise NucplanError(f"The dataset id {dataset_id} is not a number from 1 to 999; choose another one.")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise NucplanError(f"The dataset name '{name}' may hold only letters, digits, '_' and '-'; choose another one.")
    if len(name) > MAX_NAME:
        raise NucplanError(
            f"The dataset name '{name[:20]}...' has {len(name)} characters; choose one of at most {MAX_NAME}."
        )
    return f"Dataset{dataset_id:03d}_{name}"


def require_plan(dataset: Dataset) -> None:
    """Do nothing, or refuse.

    Raises
    ------
    NucplanError
        If the dataset was not planned.
    """
    if not (dataset.plans().is_file() and dataset.splits.is_file()):
        raise NucplanError(f"{dataset.folder_name} has no plan; run nucplan_plan_and_preprocess {dataset.id} first.")


def known_datasets(roots: Roots) -> list[Dataset]:
    """All datasets that have a raw, preprocessed or results folder, by id."""
    folders = [f for root in (roots.raw, roots.preprocessed, roots.results) if root.is_dir() for f in root.iterdir()]
    names = {f.name for f in folders if re.fullmatch(r"Dataset\d{3}_.+", f.name) and f.is_dir()}
    return [Dataset(roots, name) for name in sorted(names)]


def find_dataset(roots: Roots, id_or_name: str | int) -> Dataset:
    """Look a dataset up by id (``7``, ``007``), name (``Breast``) or folder name (``Dataset007_Breast``).

    Raises
    ------
    NucplanError
        If none or several match; the message lists what there is.
    """
    text = str(id_or_name)
    datasets = known_datasets(roots)
    found = [d for d in datasets if text in (d.folder_name, d.name) or (text.isdigit() and int(text) == d.id)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(d.folder_name for d in found)
        raise NucplanError(
            f"Dataset '{text}' is ambiguous under {roots.raw.parent} ({names}); give the whole name of one of these "
            "folders, or remove the others."
        )
    listing = ", ".join(d.folder_name for d in datasets) or "none yet"
    raise NucplanError(
        f"Dataset '{text}' does not exist under {roots.raw.parent} (there: {listing}); "
        "make it with nucplan_convert, or pass --root."
    )
