"""Stock nnU-Net's dataset, plan and preprocessed data, on core and border labels made from a planned dataset."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nucplan.core_border import BACKGROUND, BORDER, CORE, Thresholds, encode, fit_thresholds
from nucplan.datasets.raw import Part, RawDataset
from nucplan.errors import NucplanError
from nucplan.files import atomic_path, read_json, write_json
from nucplan.images import write_image
from nucplan.layout import CONFIGURATION, Dataset, dataset_folder_name, known_datasets, require_plan
from nucplan.progress import Progress, silent
from planners.fingerprint import raw_signature

PLANS_NAME = "nnUNetPlans"
ID_OFFSET = 500
IGNORE = 3


class ReferencePlanner(ExperimentPlanner):
    """nnU-Net's planner for a given patch and batch size, so that a step sees as many pixels as a step of nucplan."""

    def __init__(self, dataset_name: str, patch_size: Sequence[int], batch_size: int) -> None:
        # A memory limit would shrink the given patch.
        super().__init__(dataset_name, gpu_memory_target_in_gb=1e6, plans_name=PLANS_NAME)
        self.patch_size, self.batch_size = list(patch_size), batch_size

    def get_plans_for_configuration(
        self, spacing, median_shape, data_identifier, approximate_n_voxels_dataset, _cache
    ) -> dict[str, Any]:
        """The stock plan with the U-Net that is planned for images of the size of the patch."""
        for shortest_edge in itertools.count(self.UNet_featuremap_min_edge_length):
            # Fewer poolings until the patch needs no padding to be halved that often.
            self.UNet_featuremap_min_edge_length = shortest_edge
            plan = super().get_plans_for_configuration(
                spacing, self.patch_size, data_identifier, approximate_n_voxels_dataset, _cache
            )
            if list(plan["patch_size"]) == self.patch_size:
                break
        return plan | {"batch_size": self.batch_size, "median_image_size_in_voxels": median_shape}


def reference_dataset(dataset: Dataset) -> Dataset:
    """The dataset of stock nnU-Net that belongs to ``dataset``; it need not exist yet.

    Raises
    ------
    NucplanError
        If its id is taken or beyond 999.
    """
    number = dataset.id + ID_OFFSET
    if number > 999:
        raise NucplanError(
            f"{dataset.folder_name} would need the dataset id {number} for its core and border labels, and ids end at "
            f"999; convert it again under an id up to {999 - ID_OFFSET}."
        )
    reference = Dataset(dataset.roots, dataset_folder_name(number, f"{dataset.name}CoreBorder"))
    taken = [d.folder_name for d in known_datasets(dataset.roots) if d.id == number and d != reference]
    if taken:
        raise NucplanError(f"The dataset id {number} is taken by {taken[0]}; {reference.folder_name} needs it.")
    return reference


def prepare_reference(dataset: Dataset, progress: Progress = silent) -> Dataset:
    """Make the reference dataset with folds, patch size and batch size of ``dataset``; keep it where it is up to date.

    Raises
    ------
    NucplanError
        If ``dataset`` was not planned, or the id of the reference dataset is not free.
    """
    require_plan(dataset)
    raw, reference = RawDataset(dataset), reference_dataset(dataset)
    configuration = read_json(dataset.plans())["configurations"][CONFIGURATION]
    patch_size, batch_size = configuration["patch_size"], configuration["batch_size"]
    made_from = {
        "raw": raw_signature(raw), "splits": read_json(dataset.splits), "patch": patch_size, "batch": batch_size
    }  # fmt: skip
    if made_from_path(reference).is_file() and read_json(made_from_path(reference)) == made_from:
        return reference
    for folder in (reference.raw, reference.preprocessed):
        shutil.rmtree(folder, ignore_errors=True)
    write_core_border_labels(raw, reference, progress)
    plans = _plan(dataset, reference, patch_size, batch_size)
    _preprocess(reference, plans, progress)
    write_json(made_from_path(reference), made_from)
    return reference


def made_from_path(reference: Dataset) -> Path:
    """What the reference dataset was made from; there only when it is complete."""
    return reference.preprocessed / "made_from.json"


def thresholds_path(reference: Dataset) -> Path:
    return reference.preprocessed / "core_border_thresholds.json"


def load_thresholds(reference: Dataset) -> Thresholds:
    """The decoder's thresholds, fitted on the training part."""
    return Thresholds(**read_json(thresholds_path(reference)))


def write_core_border_labels(raw: RawDataset, reference: Dataset, progress: Progress = silent) -> None:
    """Write the raw dataset: the images of ``raw`` and core and border labels; ignored areas stay ignored."""
    labels = {"background": BACKGROUND, "core": CORE, "border": BORDER}
    if raw.info.ignore_label is not None:
        labels["ignore"] = IGNORE
    content = read_json(raw.dataset.dataset_json)
    content.pop("nuclei", None)
    with atomic_path(reference.raw) as temporary:
        for part in ("Tr", "Ts"):
            for case in progress(raw.cases(part), f"Core and border labels, {part}"):
                _write_case(raw, case, part, temporary)
        write_json(temporary / "dataset.json", content | {"labels": labels})


def _write_case(raw: RawDataset, case: str, part: Part, folder: Path) -> None:
    semantic = encode(raw.instances(case, part))
    if raw.info.ignore_label is not None:
        semantic[raw.classes_map(case, part) == raw.info.ignore_label] = IGNORE
    write_image(folder / f"labels{part}" / f"{case}{raw.info.file_ending}", semantic)
    images = folder / f"images{part}"
    images.mkdir(exist_ok=True)
    for path in raw.image_paths(case, part):
        _link_or_copy(path, images / path.name)


def _link_or_copy(source: Path, target: Path) -> None:
    # Not every file system has hard links.
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _plan(dataset: Dataset, reference: Dataset, patch_size: list[int], batch_size: int) -> dict[str, Any]:
    reference.preprocessed.mkdir(parents=True, exist_ok=True)
    # Images and nuclear pixels are those of the original, so its fingerprint holds.
    for name in ("dataset_fingerprint.json", dataset.splits.name):
        shutil.copyfile(dataset.preprocessed / name, reference.preprocessed / name)
    raw, labels = RawDataset(dataset), RawDataset(reference)
    pairs = ((raw.instances(case), labels.classes_map(case)) for case in raw.cases())
    write_json(thresholds_path(reference), fit_thresholds(pairs)._asdict())
    # nnU-Net prints what it writes into the plans file.
    with contextlib.redirect_stdout(io.StringIO()):
        return ReferencePlanner(reference.folder_name, patch_size, batch_size).plan_experiment()


def _preprocess(reference: Dataset, plans: dict[str, Any], progress: Progress) -> None:
    manager = PlansManager(plans)
    configuration = manager.get_configuration(CONFIGURATION)
    raw, preprocessor = RawDataset(reference), DefaultPreprocessor(verbose=False)
    content = read_json(reference.dataset_json)
    folder = reference.preprocessed / configuration.data_identifier
    folder.mkdir()
    for case in progress(raw.cases(), "Preprocessing"):
        images, labels = [str(path) for path in raw.image_paths(case)], str(raw.classes_path(case))
        preprocessor.run_case_save(str(folder / case), images, labels, manager, configuration, content)
