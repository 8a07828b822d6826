"""What prediction of folders asks of a model, whatever decodes its maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from nucplan.inference.panel_reader import PanelReader
from nucplan.instances import Instances


class NucleusFinder(Protocol):
    """A model that finds the nuclei of a picture: an ensemble of nucplan or a CellViT.

    Attributes
    ----------
    class_names : sequence of str
        Names of the classes 1..K, in order.
    channels : int
        Of the pictures that it takes.
    mpp : float or None
        Microns per pixel of its training data, where known.
    panel_reader : PanelReader or None
        Reads multiplex images; None for grey and RGB.
    white_is_65535 : bool
        Whether it takes 65535 for white in 16-bit RGB, as 255 in 8-bit RGB.
    networks : sequence
        Those that are averaged.
    record : dict
        What made the predictions, as plain values, for the record beside them.
    """

    record: dict[str, Any]

    @property
    def networks(self) -> Sequence[Any]: ...

    @property
    def class_names(self) -> Sequence[str]: ...

    @property
    def channels(self) -> int: ...

    @property
    def panel_reader(self) -> PanelReader | None: ...

    @property
    def white_is_65535(self) -> bool: ...

    @property
    def mpp(self) -> float | None: ...

    def __call__(self, image: np.ndarray, progress=iter) -> Instances:
        """Nuclei of a picture (H, W) or (H, W, C), uint8 or uint16; ``progress`` wraps the rows of tiles."""
        ...
