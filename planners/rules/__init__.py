"""One pure function per decision: statistics of the dataset and limits of the machine in, value and reason out.

A rule reads the fingerprint, the limits and decisions taken before it, nothing else; ``planner.decide`` calls them
in order. Lengths are pixels, "planned" ones at the scale that the network sees.
"""

from planners.rules.boundary import (
    STRIDES,
    band_half_width,
    boundary_beta,
    boundary_kernel,
    boundary_loss_weight,
    boundary_pos_weight,
    boundary_scales,
    boundary_weight_normalised,
    gate,
    weight_kernel,
)
from planners.rules.decision import Decision, Limits
from planners.rules.decoding import (
    FOREGROUND_DECODER,
    best_ceiling,
    decoder,
    decoder_plan,
    foreground_decoder,
    oracle_ceiling,
)
from planners.rules.geometry import (
    FAITHFUL,
    PATCH_MULTIPLE,
    enlarging_pays,
    patch_size,
    scale,
    scale_for_labels,
    tile_overlap,
    useful_patch,
)
from planners.rules.markers import channels, marker_normalization
from planners.rules.resources import batch_size
from planners.rules.training import (
    NORMALIZATIONS,
    encoder,
    iterations,
    network_width,
    normalization,
    oversampling,
    queries,
)

__all__ = [
    "FAITHFUL", "FOREGROUND_DECODER", "NORMALIZATIONS", "PATCH_MULTIPLE", "STRIDES", "Decision", "Limits",
    "band_half_width", "batch_size", "best_ceiling", "boundary_beta", "boundary_kernel", "boundary_loss_weight",
    "boundary_pos_weight", "boundary_scales", "boundary_weight_normalised", "channels", "decoder", "decoder_plan",
    "encoder", "enlarging_pays", "foreground_decoder", "gate", "iterations", "marker_normalization", "network_width",
    "normalization", "oracle_ceiling", "oversampling", "patch_size", "queries", "scale", "scale_for_labels",
    "tile_overlap", "useful_patch", "weight_kernel",
]  # fmt: skip
