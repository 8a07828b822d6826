"""The trainer behind every config: nnU-Net's loop with our loader, network, losses, schedule and checkpoints."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from time import time
from typing import Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.collate_outputs import collate_outputs
from torch import Tensor

from nucplan.checkpoints import restore_random_state
from nucplan.datasets.raw import parse_labels
from nucplan.devices import usable_cores
from nucplan.errors import NucplanError
from nucplan.files import atomic_files
from nucplan.layout import CONFIGURATION, FINAL, LATEST, Dataset, resolve_roots
from nucplan.locks import FoldLock
from nucplan.markers.embeddings import available, read_embeddings
from nucplan.networks.nucleus_net import NucleusMaps, NucleusNet
from nucplan.networks.start import load_weights
from nucplan.objective import BoundaryObjective, Objective, PatchTargets, boundary_counts, class_counts
from nucplan.plans import decision
from nucplan.precision import mixed_precision
from nucplan.progress import progress
from nucplan.schedule import CosineRestarts, GateWarmUp, epochs
from trainers.checkpoints import Checkpoints
from trainers.epoch_log import EpochLog
from trainers.patches import VALIDATION_BATCHES, PatchLoading


class NucleusTrainer(PatchLoading, Checkpoints, nnUNetTrainer):
    """A deterministic nnU-Net trainer for nuclei; configs are subclasses that declare what is on.

    Reads everything from the plan. ``set_budget`` before the training changes its length.

    Attributes
    ----------
    boundary_supervision
        Boundary heads and their loss.
    boundary_weighting
        The segmentation loss weighs more near boundaries.
    boundary_attention
        The decoder goes on from features that the boundary heads gate.
    adapter
        An adapter around the encoder (`nucplan.networks.adapter`).
    """

    boundary_supervision = False
    boundary_weighting = False
    boundary_attention = False
    adapter = False

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        plans.setdefault("continue_training", False)
        with contextlib.redirect_stdout(io.StringIO()):
            super().__init__(plans, configuration, fold, dataset_json, device)
        if self.is_ddp:
            raise NucplanError("nucplan trains a fold on one GPU; train the folds side by side instead.")
        self.plan = self.plans_manager.plans["nucplan"]
        self.seed = self.plan.get("seed", 0)
        self.enable_deep_supervision = False
        self.initial_lr, self.weight_decay = CosineRestarts.peak, 1e-2
        self.num_val_iterations_per_epoch = VALIDATION_BATCHES
        self.inference_allowed_mirroring_axes = (0, 1)
        self.workers = min(8, usable_cores() // 2)
        self.epoch_log = EpochLog()
        self.lock: FoldLock | None = None
        self._iteration = 0
        self._random_state: dict[str, Any] | None = None
        self._resumes = False
        self.set_budget(self.decision("iterations")["standard"])

    def decision(self, name: str) -> Any:
        """The value of one decision of the plan."""
        return decision(self.plans_manager.plans, name)

    def set_budget(self, iterations: int) -> None:
        """Set the length of the training, in iterations (rounded up to whole epochs of at most 50)."""
        self.num_epochs, self.num_iterations_per_epoch = epochs(iterations)
        length = self.num_epochs * self.num_iterations_per_epoch
        self.schedule = CosineRestarts(length)
        if self.boundary_attention:
            self.gate = GateWarmUp(length, **self.decision("gate"))

    def iteration_of(self, epoch: int) -> int:
        """The number of iterations before an epoch."""
        return epoch * self.num_iterations_per_epoch

    # -- parts -----------------------------------------------------------------------------------------------------

    def initialize(self) -> None:
        # Every config of a seed and fold starts from the same weights where it has the same parts.
        torch.manual_seed(int(np.random.SeedSequence((self.seed, self.fold_number)).generate_state(1)[0]))
        # nnU-Net's own words stay off the console; whether the weights fit is for the user.
        with contextlib.redirect_stdout(io.StringIO()):
            super().initialize()
        weights = self.plan.get("weights")
        # A checkpoint holds all weights, whatever became of the file.
        if weights is not None and not self._resumes:
            names, _ = parse_labels(self.dataset_json["labels"], Path("dataset.json"))
            for report in load_weights(self.network, weights, names):
                self.print_to_log_file(report, also_print_to_console=True, add_timestamp=False)
            if "marker_embeddings" in weights:
                file = Path(self.preprocessed_dataset_folder_base) / weights["marker_embeddings"]
                self.network.encoder.plain.fill_table(read_embeddings(file, available(file)))

    @property
    def fold_number(self) -> int:
        return self.fold if isinstance(self.fold, int) else len("all")

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager,
        configuration_manager,
        num_input_channels,
        num_output_channels,
        enable_deep_supervision=False,
    ) -> NucleusNet:
        return NucleusNet(num_input_channels, num_output_channels, **cls.network_arguments(plans_manager.plans))

    @classmethod
    def network_arguments(cls, plans: dict[str, Any]) -> dict[str, Any]:
        """Arguments of `NucleusNet` beside the channels and classes: the plan's, and the parts that are on."""
        arguments = plans["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]
        if cls.adapter:
            arguments = arguments | {"adapter": decision(plans, "adapter")}
        if not cls.boundary_supervision:
            return arguments
        strides = [int(stride) for stride in decision(plans, "boundary_scales")]
        return arguments | {"boundary_strides": strides, "boundary_attention": cls.boundary_attention}

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Nothing to switch: the network has one output."""

    def plot_network_architecture(self) -> None:
        """nnU-Net's plot needs a package that is no longer kept."""

    def _do_i_compile(self) -> bool:
        # Compilation takes minutes, and one network serves both maps() and forward().
        return False

    def _build_loss(self) -> Objective:
        ignored = self.label_manager.ignore_label
        if not self.boundary_supervision:
            return Objective(ignore_label=ignored)
        boundary = BoundaryObjective.from_plans(self.plans_manager.plans, self.boundary_weighting)
        return Objective(boundary=boundary, ignore_label=ignored)

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, None]:
        trained = [p for p in self.network.parameters() if p.requires_grad]
        return torch.optim.AdamW(trained, lr=self.initial_lr, weight_decay=self.weight_decay), None

    # -- one step --------------------------------------------------------------------------------------------------

    def _forward(self, batch: dict[str, Tensor]) -> tuple[NucleusMaps, PatchTargets, Tensor, dict[str, Tensor]]:
        images = batch["image"].to(self.device, non_blocking=True)
        targets = self.loss.targets(batch["labels"].to(self.device, non_blocking=True))
        with mixed_precision(self.device):
            maps = self.network.maps(images, self._stored_maps(batch))
            total, terms = self.loss(maps, targets)
        return maps, targets, total, terms

    def train_step(self, batch: dict[str, Tensor]) -> dict[str, np.ndarray]:
        iteration = self.iteration_of(self.current_epoch) + self._iteration
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule(iteration)
        if self.boundary_attention:
            self.network.gate_strength = self.gate(iteration)
        self.optimizer.zero_grad(set_to_none=True)
        _, _, total, terms = self._forward(batch)
        if not torch.isfinite(total):
            raise NucplanError(
                f"The loss of fold {self.fold} became {total.item()} in epoch {self.current_epoch}; "
                "start again with another --seed, and look at the images for extreme values."
            )
        self._backward(total)
        self._iteration += 1
        next(self._bar)
        return {"loss": total.detach().cpu().numpy()} | {name: term.cpu().numpy() for name, term in terms.items()}

    def _backward(self, total: Tensor) -> None:
        if self.grad_scaler is None:
            total.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
            self.optimizer.step()
            return
        self.grad_scaler.scale(total).backward()
        self.grad_scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def validation_step(self, batch: dict[str, Tensor]) -> dict[str, np.ndarray]:
        maps, targets, total, _ = self._forward(batch)
        if self.boundary_supervision:
            self._boundary_counts += boundary_counts(maps, targets)
        counted = zip(("tp_hard", "fp_hard", "fn_hard"), class_counts(maps, targets), strict=True)
        return {"loss": total.cpu().numpy()} | {name: pixels.cpu().numpy() for name, pixels in counted}

    # -- one epoch -------------------------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        # nnU-Net writes the plan beside the folds in place: a kill would leave half of it, and no fold would start.
        base = self.output_folder_base
        if not self.was_initialized:
            self.initialize()
        # Before nnU-Net's own words are kept from the console: this may take long, and says so.
        self.feature_cache  # noqa: B018
        with contextlib.redirect_stdout(io.StringIO()), atomic_files(base) as self.output_folder_base:
            super().on_train_start()
        self.output_folder_base = base
        self._save_debug_information()
        if self._random_state is not None:
            restore_random_state(self._random_state)

    def on_train_epoch_start(self) -> None:
        self.network.train()
        self._iteration = 0
        self._bar = iter(
            progress(
                range(self.num_iterations_per_epoch),
                f"Fold {self.fold}, epoch {self.current_epoch + 1}/{self.num_epochs}",
            )
        )
        self.logger.log("lrs", self.schedule(self.iteration_of(self.current_epoch)), self.current_epoch)

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        super().on_train_epoch_end(train_outputs)
        self._terms = {name: float(np.mean(values)) for name, values in collate_outputs(train_outputs).items()}

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        self._boundary_counts = np.zeros(3)

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        with np.errstate(invalid="ignore"):
            super().on_validation_epoch_end(val_outputs)

    def on_epoch_end(self) -> None:
        self.logger.log("epoch_end_timestamps", time(), self.current_epoch)
        seconds = self._logged("epoch_end_timestamps") - self._logged("epoch_start_timestamps")
        self.epoch_log.add(
            {"epoch": self.current_epoch, "learning_rate": self._logged("lrs"), **self._strengths(), **self._terms}
            | {"validation_loss": self._logged("val_losses"), "validation_dice": self._logged("mean_fg_dice")}
            | self._boundary_f1()
        )
        # First of all: whatever fails after it, the epoch is not lost.
        self.save_checkpoint(str(Path(self.output_folder) / LATEST))
        self.epoch_log.write(Path(self.output_folder))
        self.print_to_log_file(
            f"epoch {self.current_epoch + 1}/{self.num_epochs}  {self.epoch_log.line()}  ({seconds:.0f} s)",
            also_print_to_console=True,
            add_timestamp=False,
        )
        if self.lock is not None:
            self.lock.heartbeat()
        self.current_epoch += 1

    def _strengths(self) -> dict[str, float]:
        """Alpha of the last step, and the weights lambda of the boundary terms, where they are on."""
        strengths: dict[str, float] = {}
        if self.boundary_attention:
            strengths["alpha"] = self.network.gate_strength
        if self.boundary_supervision:
            strengths["lambda_boundary"] = self.loss.boundary.weight
            strengths |= {f"lambda_{s}": self.loss.boundary.loss.scales[s] for s in self.network.boundary_strides}
        return strengths

    def _boundary_f1(self) -> dict[str, float]:
        """F1 of the pixels that the finest head calls boundary, over the validation patches."""
        if not self.boundary_supervision:
            return {}
        hits, predicted, true = self._boundary_counts
        return {"validation_boundary_f1": float(2 * hits / max(predicted + true, 1))}

    def _logged(self, key: str) -> float:
        return float(self.logger.get_value(key, step=-1))

    def on_train_end(self) -> None:
        self.dataloader_train = self.dataloader_val = None
        # Once more: an interruption may have come between the last checkpoint and the log.
        self.epoch_log.write(Path(self.output_folder))
        self.epoch_log.close()
        # nnU-Net counts the epoch up before this and saves "epoch + 1".
        self.current_epoch -= 1
        self.save_checkpoint(str(Path(self.output_folder) / FINAL))
        self.current_epoch += 1
        (Path(self.output_folder) / LATEST).unlink(missing_ok=True)
        self.logger.plot_progress_png(self.output_folder)

    def print_to_log_file(self, *args: Any, also_print_to_console: bool = False, add_timestamp: bool = True) -> None:
        # The console belongs to the progress lines; everything else is in the log file.
        super().print_to_log_file(*args, also_print_to_console=also_print_to_console, add_timestamp=add_timestamp)

    # -- validation ------------------------------------------------------------------------------------------------

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Predict the fold's validation cases as nuclei, into ``validation/``, with ``summary.json``."""
        # Inference is imported on use: the stock training loop scans this file and has no need of it.
        from nucplan.inference.predictor import Predictor
        from trainers.validation import validate_fold

        self.network.eval()
        predictor = Predictor([self.network], self.plans_manager.plans, self.dataset_json, self.device)
        dataset = Dataset(resolve_roots(), self.plans_manager.dataset_name)
        _, cases = self.do_split()
        summary = validate_fold(predictor, dataset, cases, Path(self.output_folder) / "validation")
        self.print_to_log_file(f"Validation of fold {self.fold}:", summary["nuclei"]["summary"])
