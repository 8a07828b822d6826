"""nnU-Net trainers: one class per ablation config. Also a valid ``nnUNet_extTrainer`` folder."""

from __future__ import annotations

from importlib import import_module

from nucplan.errors import NucplanError

CONFIGS = {
    "baseline": "trainers.baseline.nnUNetTrainerNucBaseline",
    "boundary": "trainers.boundary.nnUNetTrainerNucBoundary",
    "boundary_weighted": "trainers.boundary.nnUNetTrainerNucBoundaryWeighted",
    "boundary_attention": "trainers.boundary.nnUNetTrainerNucBoundaryAttention",
    "cellvta": "trainers.cellvta.nnUNetTrainerNucCellVTA",
}
# What a command without --config takes: the best of those without pretrained weights.
DEFAULT_CONFIG = "boundary_attention"
# What a benchmark trains where nothing else is asked for, the baseline first.
COMPARED = ("baseline", "boundary", "boundary_attention")


def trainer_name(config: str) -> str:
    """The class name that stands in result folders.

    Raises
    ------
    NucplanError
        If there is no such config; the message lists those that exist.
    """
    if config not in CONFIGS:
        raise NucplanError(f"There is no config '{config}'; choose from {', '.join(CONFIGS)}.")
    return CONFIGS[config].rpartition(".")[2]


def trainer_class(config: str) -> type:
    """The trainer class of a config, imported on demand (nnU-Net takes seconds to import)."""
    name = trainer_name(config)
    return getattr(import_module(CONFIGS[config].rpartition(".")[0]), name)
