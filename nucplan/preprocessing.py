"""What nnU-Net does to an image before a network sees it, with a normalisation of our own for multiplex images."""

from __future__ import annotations

import numpy as np
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from nucplan.marker_normalization import MARKER_NORMALIZATION, normalize_markers


class ImagePreprocessor(DefaultPreprocessor):
    """Crops, normalises and resamples an image for training and for inference.

    nnU-Net finds normalisation schemes by name in its own package only. So the plans of multiplex data name a stock
    one, which stock nnU-Net can run, and the rules under "marker_normalization" take its place here. A network that
    was trained with them is not for ``nnUNetv2_predict``, which does not know them.
    """

    def _normalize(
        self,
        data: np.ndarray,
        seg: np.ndarray,
        configuration_manager: ConfigurationManager,
        foreground_intensity_properties_per_channel: dict,
    ) -> np.ndarray:
        rules = configuration_manager.configuration.get(MARKER_NORMALIZATION)
        if rules is None:
            properties = foreground_intensity_properties_per_channel
            return super()._normalize(data, seg, configuration_manager, properties)
        return normalize_markers(data, rules)
