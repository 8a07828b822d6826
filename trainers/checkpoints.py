"""The part of the trainer that writes checkpoints and goes on from them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from nucplan.checkpoints import load_checkpoint, plain_values, random_state, save_checkpoint
from nucplan.errors import NucplanError
from trainers.epoch_log import EpochLog


class Checkpoints:
    """Mixed into `trainers.base.NucleusTrainer`."""

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
