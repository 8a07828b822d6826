"""Config ``baseline``: no boundary part."""

from trainers.base import NucleusTrainer


class nnUNetTrainerNucBaseline(NucleusTrainer):  # noqa: N801 - nnU-Net finds trainers by names of this form
    """Segmentation loss alone: what the boundary configs are compared with."""
