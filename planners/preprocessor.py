"""Preprocessing as nnU-Net does it, with the instance map as a second label channel."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nucplan.datasets.raw import INSTANCE_SUFFIX, MAX_INSTANCES, RawDataset
from nucplan.errors import NucplanError
from nucplan.files import atomic_path, read_json, write_json
from nucplan.images import read_label_map
from nucplan.layout import CONFIGURATION, PLANS_NAME, find_dataset, resolve_roots
from nucplan.preprocessing import ImagePreprocessor
from nucplan.progress import Progress, silent
from planners.fingerprint import raw_content, raw_signature
from planners.measure.measurements import compact


class NucleusPreprocessor(ImagePreprocessor):
    """Writes what nnU-Net's preprocessor writes, except that labels have two channels: class and instance id.

    Images are cropped, normalised and resampled by `ImagePreprocessor`, so training data equal what our predictor
    feeds the network; for grey and RGB that is nnU-Net's own code. A plan must resample labels with order 0.
    """

    def __init__(self, verbose: bool = False) -> None:
        super().__init__(verbose)

    def run_case(
        self,
        image_files: list[str],
        seg_file: str | None,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        dataset_json: dict | str,
    ) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        """Preprocess one case; without a label file exactly as nnU-Net.

        Returns
        -------
        image : (C, 1, H, W) float32
        labels : (2, 1, H, W) int16, class and instance id
        properties : as nnU-Net's, ``class_locations`` included

        Raises
        ------
        NucplanError
            If the image has more than 32,767 instances.
        """
        if seg_file is None:
            return super().run_case(image_files, None, plans_manager, configuration_manager, dataset_json)
        content = read_json(dataset_json) if isinstance(dataset_json, str) else dataset_json
        reader = plans_manager.image_reader_writer_class()
        image, properties = reader.read_images(image_files)
        classes, _ = reader.read_seg(seg_file)
        labels = np.concatenate([classes.astype(np.int16), read_instances(seg_file)[None, None]])
        return self.run_case_npy(image, labels, properties, plans_manager, configuration_manager, content)

    @staticmethod
    def _sample_foreground_locations(seg: np.ndarray, *args: Any, **kwargs: Any) -> dict:
        # nnU-Net looks at every label channel: instance 3 would count as class 3.
        return DefaultPreprocessor._sample_foreground_locations(seg[:1], *args, **kwargs)

    def modify_seg_fn(self, seg: np.ndarray, *args: Any) -> np.ndarray:
        """Turn nnU-Net's -1 for black margins, called last, into background: there are no nuclei."""
        return np.maximum(seg, 0)

    def run(
        self,
        dataset_name_or_id: int | str,
        configuration_name: str = CONFIGURATION,
        plans_identifier: str = PLANS_NAME,
        num_processes: int = 1,
    ) -> None:
        """Preprocess the training part with the stored plan; the call of nnU-Net's preprocessors.

        Everything runs in this process: a pool costs more than it saves (``num_processes`` is nnU-Net's signature).
        """
        dataset = find_dataset(resolve_roots(), dataset_name_or_id)
        preprocess(RawDataset(dataset), read_json(dataset.plans(plans_identifier)), configuration_name)


def preprocess(
    raw: RawDataset, plans: dict[str, Any], configuration_name: str = CONFIGURATION, progress: Progress = silent
) -> bool:
    """Preprocess the training part, unless what is there was made from the same files and the same plan.

    Each folder is written under a temporary name and renamed, so an interrupted run leaves nothing half-written.

    Returns
    -------
    bool
        Whether anything had to be done.
    """
    manager = PlansManager(plans)
    configuration = manager.get_configuration(configuration_name)
    folder = raw.dataset.preprocessed / configuration.data_identifier
    marker = raw.dataset.made_from(configuration.data_identifier)
    made_from = {"raw": raw_signature(raw), "plan": _plan_hash(manager, configuration)}

    def up_to_date() -> bool:
        return folder.is_dir() and marker.is_file() and read_json(marker).items() >= made_from.items()

    # Looked at first without the lock, for folders that one may only read.
    if up_to_date():
        return False
    raw.dataset.preprocessed.mkdir(parents=True, exist_ok=True)
    # Folds that start side by side would remove each other's files.
    with FileLock(raw.dataset.preprocessed / ".preprocessing.lock"):
        if up_to_date():
            return False
        marker.unlink(missing_ok=True)
        # Before the files are read: one that changes meanwhile then has another time than the signature says.
        content = raw_content(raw, progress)
        _write_cases(raw, folder, manager, configuration, progress)
        _write_references(raw)
        write_json(marker, made_from | {"content": content})
    return True


def read_instances(class_map_file: str) -> np.ndarray:
    """The instance map that belongs to a class map of a raw dataset, (H, W) int16.

    Ids stay as they are unless they exceed 32,767; then they are renumbered in their order.

    Raises
    ------
    NucplanError
        If there are more than 32,767 instances.
    """
    class_map = Path(class_map_file)
    folder = class_map.parent.with_name(class_map.parent.name.replace("labels", "instances"))
    path = folder / f"{class_map.stem}{INSTANCE_SUFFIX}"
    labels = read_label_map(path)
    if labels.max(initial=0) > MAX_INSTANCES:
        labels = compact(labels)
    if labels.max(initial=0) > MAX_INSTANCES:
        raise NucplanError(f"{path} holds {labels.max()} nuclei, {MAX_INSTANCES} are possible; tile the image.")
    return labels.astype(np.int16)


def _write_cases(
    raw: RawDataset, folder: Path, manager: PlansManager, configuration: ConfigurationManager, progress: Progress
) -> None:
    preprocessor, dataset_json = NucleusPreprocessor(), read_json(raw.dataset.dataset_json)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for case in progress(raw.cases(), "Preprocessing"):
            images = [str(path) for path in raw.image_paths(case)]
            class_map = str(raw.classes_path(case))
            preprocessor.run_case_save(str(temporary / case), images, class_map, manager, configuration, dataset_json)
        _remove(folder)


def _write_references(raw: RawDataset) -> None:
    # nnU-Net's own validation compares with these copies.
    folder = raw.dataset.preprocessed / "gt_segmentations"
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for case in raw.cases():
            shutil.copyfile(raw.classes_path(case), temporary / raw.classes_path(case).name)
        _remove(folder)
    write_json(raw.dataset.preprocessed / "dataset.json", read_json(raw.dataset.dataset_json))


def _remove(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)


def _plan_hash(manager: PlansManager, configuration: ConfigurationManager) -> str:
    # Network and batch size do not reach the data; patch size does, through the chunks of the files.
    parts = {k: v for k, v in configuration.configuration.items() if k not in ("architecture", "batch_size")}
    relevant = [parts, manager.foreground_intensity_properties_per_channel, manager.plans["image_reader_writer"]]
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()
