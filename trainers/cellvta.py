"""Config ``cellvta``: an adapter around the encoder."""

from trainers.base import NucleusTrainer


class nnUNetTrainerNucCellVTA(NucleusTrainer):  # noqa: N801 - nnU-Net finds trainers by names of this form
    """The baseline with CellVTA's adapter (2025) around its encoder, which stays frozen if it is pretrained."""

    adapter = True
