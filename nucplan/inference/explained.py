"""Prediction that keeps what it decided by: nuclei, and why they were parted or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nucplan.explanation import BoundaryExplanation, Frame, explain, in_image
from nucplan.inference.pixel_size import at_image_size, at_model_size
from nucplan.instances import Instances

if TYPE_CHECKING:
    # It loads nnU-Net, of which prediction with other models has no need.
    from nucplan.inference.predictor import Predictor


def predict_explained(
    predictor: Predictor, image: np.ndarray, scale: float, progress=iter
) -> tuple[Instances, BoundaryExplanation]:
    """The nuclei of `nucplan.inference.pixel_size.predict_at_scale`, and the explanation in pixels of the image.

    Parameters
    ----------
    predictor : Predictor
        One with boundary heads.
    image : (H, W) or (H, W, C)
    scale : float
        The image is enlarged by it for the network.
    progress
        Wraps the rows of tiles, for a progress bar.

    Raises
    ------
    NucplanError
        If the number of channels is not that of the training data.
    ValueError
        If the networks have no boundary heads.
    """
    if not predictor.has_boundary:
        raise ValueError("these networks have no boundary heads, so there is nothing to explain")
    resampled = at_model_size(image, scale)
    shape = resampled.shape[:2]
    found, maps, region = predictor.predict(resampled, progress)
    instances = at_image_size(found, image.shape[:2])
    frame = _frame(region, shape, image.shape[:2])
    decisions = in_image(explain(maps, predictor.decoder_plan), instances.labels, frame)
    return instances, BoundaryExplanation(maps.boundary, predictor.gate_strength, decisions, frame)


def _frame(region: list[tuple[int, int]], shape: tuple[int, int], image_shape: tuple[int, int]) -> Frame:
    """Where in the image the ``region`` lies, rows and columns of an image of ``shape`` at the model's pixel size."""
    rows, columns = (
        [edge * whole / side for edge in edges] for edges, side, whole in zip(region, shape, image_shape, strict=True)
    )
    return Frame(*rows, *columns)
