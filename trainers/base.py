"""The trainer behind every config: nnU-Net's loop with our loader, network, losses, schedule and checkpoints."""

from __future__ import annotations

import contextlib
import io
import math
from functools import cached_property
from pathlib import Path
from time import time
from typing import Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.collate_outputs import collate_outputs
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from torch import Tensor

from nucplan import augmentation
from nucplan.cached_loading import CachedPatchDataset
from nucplan.checkpoints import (
    load_checkpoint,
    plain_values,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from nucplan.datasets.raw import parse_labels
from nucplan.devices import usable_cores
from nucplan.errors import NucplanError
from nucplan.feature_cache import FeatureCache, image_shapes
from nucplan.files import atomic_files, read_json
from nucplan.layout import CONFIGURATION, FINAL, LATEST, Dataset, resolve_roots
from nucplan.loading import PatchDataset, PatchIndex, batches
from nucplan.locks import FoldLock
from nucplan.markers.embeddings import available, read_embeddings
from nucplan.networks.nucleus_net import NucleusMaps, NucleusNet
from nucplan.networks.start import load_weights
from nucplan.objective import BoundaryObjective, Objective, PatchTargets, boundary_counts, class_counts
from nucplan.plans import decision, panel_decision
from nucplan.precision import mixed_precision
from nucplan.progress import progress
from nucplan.schedule import CosineRestarts, GateWarmUp, epochs
from trainers.epoch_log import EpochLog

VALIDATION_BATCHES = 4


class NucleusTrainer(nnUNetTrainer):
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

    @property
    def caches_features(self) -> bool:
        """Whether the plan stores the maps of its encoder, and this config's do not change in training."""
        if not self.plan["decisions"].get("feature_cache", {}).get("value"):
            return False
        manager, configuration = self.plans_manager, self.configuration_manager
        channels = determine_num_input_channels(manager, configuration, self.dataset_json)
        with torch.device("meta"):
            network = self.build_network_architecture(
                manager, configuration, channels, self.label_manager.num_segmentation_heads
            )
        return network.maps_are_fixed

    def get_dataloaders(self):
        training, validation = self.do_split()
        per_epoch = self.num_iterations_per_epoch * self.batch_size
        samples = range(self.current_epoch * per_epoch, self.num_epochs * per_epoch)
        train = self._patches(training, per_epoch, augment=True)
        return self._batches(train, samples, self.workers), self._validation_batches(validation)

    @cached_property
    def feature_cache(self) -> FeatureCache | None:
        """The stored maps of the fold's images, where they are; what is missing is computed when they are asked for."""
        return self._filled_cache() if self.caches_features else None

    def _filled_cache(self) -> FeatureCache:
        cases = [case for part in self.do_split() for case in part]
        dataset = Dataset(resolve_roots(), self.plans_manager.dataset_name)
        made_from = read_json(dataset.made_from(self.configuration_manager.data_identifier))
        patch = self.configuration_manager.patch_size[0]
        # By content where it is known: a file that was only touched is the same image.
        data = [made_from.get("content", made_from["raw"]), made_from["plan"]]
        cache = FeatureCache.of(self.network, patch, data, dataset.preprocessed, self.device)
        reader = self.dataset_class(self.preprocessed_dataset_folder, cases)
        if missing := cache.missing(cases):
            size = cache.layout.bytes(image_shapes(reader, missing)) / 2**30
            self.print_to_log_file(
                f"The features of {len(missing)} images are computed once: {size:.3g} GiB in {cache.folder}",
                also_print_to_console=True,
                add_timestamp=False,
            )
        cache.fill(self.network, reader, cases, self.device, progress)
        return cache

    def _patches(self, cases, per_epoch: int, augment: bool) -> PatchDataset:
        reader = self.dataset_class(self.preprocessed_dataset_folder, cases)
        ignore, patch = self.label_manager.ignore_label, self.configuration_manager.patch_size[0]
        index = PatchIndex.build(reader, cases, patch, self.decision("oversampling"), ignore)
        panel = panel_decision(self.plans_manager.plans)
        if self.feature_cache is not None:
            colours = augmentation.colour_transforms(panel) if augment else None
            return CachedPatchDataset(reader, index, self.feature_cache, colours, self.seed, per_epoch)
        margin = augmentation.margin(patch) if augment else 0
        transforms = augmentation.training_transforms(patch, panel) if augment else None
        return PatchDataset(reader, index, patch, margin, transforms, self.seed, per_epoch)

    def _batches(self, dataset: PatchDataset, samples: range, workers: int):
        return batches(dataset, self.batch_size, samples, workers, pin_memory=self.device.type == "cuda")

    def _validation_batches(self, cases):
        # The same patches every epoch, so that the curve shows the network and not the draw.
        dataset = self._patches(cases, VALIDATION_BATCHES * self.batch_size, augment=False)
        fixed = list(self._batches(dataset, range(VALIDATION_BATCHES * self.batch_size), 0))
        while True:
            yield from fixed

    # -- one step --------------------------------------------------------------------------------------------------

    def _forward(self, batch: dict[str, Tensor]) -> tuple[NucleusMaps, PatchTargets, Tensor, dict[str, Tensor]]:
        images = batch["image"].to(self.device, non_blocking=True)
        targets = self.loss.targets(batch["labels"].to(self.device, non_blocking=True))
        with mixed_precision(self.device):
            maps = self.network.maps(images, self._stored_maps(batch))
            total, terms = self.loss(maps, targets)
        return maps, targets, total, terms

    def _stored_maps(self, batch: dict[str, Any]) -> list[Tensor] | None:
        """The encoder's maps (B, D, h, w) in the type that the pass computes in, or None where they are not stored."""
        if "encoder_maps" not in batch:
            return None
        device = self.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
        stored = (maps.to(self.device, non_blocking=True) for maps in batch["encoder_maps"])
        return [maps.to(dtype).permute(0, 3, 1, 2) for maps in stored]

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
            with contextlib.redirect_stdout(io.StringIO()):
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

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def save_checkpoint(self, filename: str) -> None:
        if self.disable_checkpointing:
            return
        save_checkpoint(self._checkpoint(), Path(filename))

    def _checkpoint(self) -> dict[str, Any]:
        return {
            "network_weights": self.network.state_dict(),
            "network_kwargs": {
                "input_channels": self.num_input_channels,
                "num_classes": self.label_manager.num_segmentation_heads,
                **self.network_arguments(self.plans_manager.plans),
            },
            "optimizer_state": self.optimizer.state_dict(),
            "grad_scaler_state": None if self.grad_scaler is None else self.grad_scaler.state_dict(),
            "random_state": random_state(),
            "logging": plain_values(self.logger.get_checkpoint()),
            "history": self.epoch_log.history,
            "_best_ema": None,
            "current_epoch": self.current_epoch + 1,
            "epochs": [self.num_epochs, self.num_iterations_per_epoch],
            "seed": self.seed,
            "training_cases": self.do_split()[0],
            # Stock inference reads the configuration's name from here.
            "init_args": {"configuration": self.configuration_name, "fold": self.fold},
            "trainer_name": type(self).__name__,
            "inference_allowed_mirroring_axes": self.inference_allowed_mirroring_axes,
        }

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """Continue exactly where ``filename_or_checkpoint`` was written.

        Raises
        ------
        NucplanError
            If it comes from a run of another length or on other training cases.
        """
        checkpoint = filename_or_checkpoint
        if not isinstance(checkpoint, dict):
            checkpoint = load_checkpoint(Path(checkpoint), self.device)
        if not self.was_initialized:
            self._resumes = True
            self.initialize()
        self._refuse_other_run(checkpoint)
        self.network.load_state_dict(checkpoint["network_weights"])
        self.optimizer.load_state_dict(checkpoint["optimizer_state"])
        if self.grad_scaler is not None and checkpoint["grad_scaler_state"] is not None:
            self.grad_scaler.load_state_dict(checkpoint["grad_scaler_state"])
        self.current_epoch = checkpoint["current_epoch"]
        self.epoch_log = EpochLog(checkpoint["history"])
        self.logger.load_checkpoint(checkpoint["logging"])
        self._random_state = checkpoint["random_state"]
        if self.current_epoch < self.num_epochs:
            self.print_to_log_file(
                f"Fold {self.fold} goes on after epoch {self.current_epoch} of {self.num_epochs}.",
                also_print_to_console=True,
                add_timestamp=False,
            )

    def _refuse_other_run(self, checkpoint: dict[str, Any]) -> None:
        there, here = checkpoint["epochs"], [self.num_epochs, self.num_iterations_per_epoch]
        if there != here:
            raise NucplanError(
                f"{self.output_folder} holds a run of {math.prod(there)} iterations, not {math.prod(here)}; "
                "give the same budget to go on with it, or move that folder away to train anew."
            )
        if checkpoint["training_cases"] != self.do_split()[0]:
            raise NucplanError(
                f"{self.output_folder} was trained on other cases than splits_final.json has now; "
                "move that folder away to train anew, or restore the split."
            )

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
