"""The configs that know boundaries: each adds one part to the one before it."""

from trainers.base import NucleusTrainer


class nnUNetTrainerNucBoundary(NucleusTrainer):  # noqa: N801 - nnU-Net finds trainers by names of this form
    """Boundary supervision: heads at several decoder strides and their loss."""

    boundary_supervision = True


class nnUNetTrainerNucBoundaryWeighted(nnUNetTrainerNucBoundary):  # noqa: N801
    """Also a segmentation loss that weighs more near boundaries."""

    boundary_weighting = True


class nnUNetTrainerNucBoundaryAttention(nnUNetTrainerNucBoundaryWeighted):  # noqa: N801
    """Also boundary attention: the decoder goes on from features that the boundary heads gate."""

    boundary_attention = True
