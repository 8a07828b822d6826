"""Stock nnU-Net as the reference: its own trainer cut to a given length, and its folds as one ensemble."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nucplan.core_border import Thresholds, decode
from nucplan.errors import NucplanError
from nucplan.files import read_json, write_json
from nucplan.layout import CONFIGURATION, FINAL, Dataset
from nucplan.locks import fold_lock
from nucplan.progress import progress
from nucplan.schedule import epochs
from planners.reference import PLANS_NAME, load_thresholds, made_from_path

VALIDATION_BATCHES = 4


class nnUNetTrainerReference(nnUNetTrainer):  # noqa: N801 - nnU-Net finds trainers by names of this form
    """nnU-Net's trainer with everything as it is but the length: ``set_iterations`` before the training."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        plans.setdefault("continue_training", False)
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_val_iterations_per_epoch = VALIDATION_BATCHES

    def set_iterations(self, iterations: int) -> None:
        """Set the length, rounded up to whole epochs of at most 50 iterations, as nucplan's own trainers do."""
        self.num_epochs, self.num_iterations_per_epoch = epochs(iterations)

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        title = f"Fold {self.fold}, epoch {self.current_epoch + 1}/{self.num_epochs}"
        self._bar = iter(progress(range(self.num_iterations_per_epoch), title))

    def train_step(self, batch: dict) -> dict:
        next(self._bar)
        return super().train_step(batch)


def fold_folder(reference: Dataset, fold: int) -> Path:
    return reference.model(nnUNetTrainerReference.__name__, PLANS_NAME) / f"fold_{fold}"


def train_reference_fold(
    reference: Dataset, fold: int, iterations: int, device: torch.device, wait: bool = False
) -> None:
    """Train one fold, or keep it where it is finished; a fold that was cut off starts anew.

    With ``wait``, a fold that is being trained elsewhere is waited for.

    Raises
    ------
    NucplanError
        If the fold is being trained elsewhere, or holds a run of another length or on other data.
    """
    folder = fold_folder(reference, fold)
    with fold_lock(folder, wait):
        if (folder / FINAL).is_file():
            _refuse_other_run(folder, _run_record(reference, iterations))
            return
        write_json(folder / "run.json", _run_record(reference, iterations))
        plans = read_json(reference.plans(PLANS_NAME))
        # nnU-Net narrates on standard output; all of it is in its log file.
        with contextlib.redirect_stdout(io.StringIO()):
            trainer = nnUNetTrainerReference(plans, CONFIGURATION, fold, read_json(reference.dataset_json), device)
            trainer.set_iterations(iterations)
            trainer.run_training()


def _run_record(reference: Dataset, iterations: int) -> dict:
    return {"epochs": list(epochs(iterations)), "made_from": read_json(made_from_path(reference))}


def _refuse_other_run(folder: Path, record: dict) -> None:
    if read_json(folder / "run.json") != record:
        raise NucplanError(
            f"{folder} holds a finished run of another length or on other data; "
            "give the same --iterations to keep it, or move that folder away to train anew."
        )


def finished_folds(reference: Dataset, folds: Sequence[int], iterations: int) -> list[int]:
    """The folds whose training of this length and on these data is complete."""
    record = _run_record(reference, iterations)
    folders = {fold: fold_folder(reference, fold) for fold in folds}
    done = [fold for fold, folder in folders.items() if (folder / FINAL).is_file()]
    return [fold for fold in done if read_json(folders[fold] / "run.json") == record]


@dataclass
class ReferenceEnsemble:
    """Trained folds whose probabilities are averaged, and the decoder; without mirroring, as nucplan predicts."""

    predictors: Sequence[nnUNetPredictor]
    thresholds: Thresholds

    @classmethod
    def of(cls, reference: Dataset, folds: Sequence[int], device: torch.device) -> ReferenceEnsemble:
        """Load finished folds."""
        return cls([_predictor(reference, fold, device) for fold in folds], load_thresholds(reference))

    def __call__(self, image_paths: Sequence[Path]) -> np.ndarray:
        """Nuclei of one image, (H, W) int32; the files are those of a raw dataset."""
        reader = self.predictors[0].plans_manager.image_reader_writer_class()
        image, properties = reader.read_images([str(path) for path in image_paths])
        total = sum(_probabilities(predictor, image, properties) for predictor in self.predictors)
        return decode(total.argmax(0), self.thresholds)


def _probabilities(predictor: nnUNetPredictor, image: np.ndarray, properties: dict) -> np.ndarray:
    """Softmax of one fold, (3, H, W)."""
    # A copy of the properties: nnU-Net adds the crop of this call to them.
    _, probabilities = predictor.predict_single_npy_array(image, dict(properties), None, None, True)
    return probabilities[:, 0]


def _predictor(reference: Dataset, fold: int, device: torch.device) -> nnUNetPredictor:
    content = read_json(reference.dataset_json)
    manager = PlansManager(read_json(reference.plans(PLANS_NAME)))
    configuration = manager.get_configuration(CONFIGURATION)
    heads = manager.get_label_manager(content).num_segmentation_heads
    network = nnUNetTrainerReference.build_network_architecture(
        manager, configuration, len(content["channel_names"]), heads, enable_deep_supervision=False
    )
    # Stock checkpoints hold numpy scalars, which the safe loader refuses; this one was written by this program.
    checkpoint = torch.load(fold_folder(reference, fold) / FINAL, map_location="cpu", weights_only=False)
    with contextlib.redirect_stdout(io.StringIO()):
        predictor = nnUNetPredictor(use_mirroring=False, device=device, allow_tqdm=False)
    predictor.manual_initialization(
        network, manager, configuration, [checkpoint["network_weights"]], content, nnUNetTrainerReference.__name__, None
    )
    return predictor
