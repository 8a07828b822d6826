"""From a picture to nuclei with a CellViT checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nucplan import __version__
from nucplan.checkpoints import load_checkpoint
from nucplan.errors import NucplanError
from nucplan.files import file_hash
from nucplan.hv import HVMaps, HVPlan, decode_hv
from nucplan.inference.tiles import blended_maps, mirrored, tile_side
from nucplan.instances import Instances
from nucplan.networks.cellvit.checkpoint import CellViTInfo, read_cellvit

# The tiles of CellViT's own inference (Hörst et al. 2024); the decoder's stride divides their sides.
LARGEST_TILE, OVERLAP, MULTIPLE = 1024, 64, 16
# Images of this many pixels in one forward pass keep the attention of the largest encoder below 8 GiB.
PIXELS_PER_PASS = 1024**2
# Maps of one tile: the probability of a nucleus, the two distances, and the types from there on.
FOREGROUND, HORIZONTAL, VERTICAL, TYPES = 0, 1, 2, 3


@dataclass
class CellViTPredictor:
    """One CellViT and how its maps become nuclei.

    Attributes
    ----------
    network
        In evaluation mode, on ``device``; ``maps(images)`` takes RGB in [0, 1] and normalises it itself, and
        ``largest_side`` is the longest side in pixels that it takes, None where there is no limit.
    info
        Classes, pixel size, licence.
    device
        Where tiles are computed.
    mirror
        Average over the four mirrorings of each tile.
    record
        What made the predictions, for the record beside them.
    """

    network: nn.Module
    info: CellViTInfo
    device: torch.device
    mirror: bool = False
    record: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_file(cls, path: Path, device: torch.device, mirror: bool = False) -> CellViTPredictor:
        """Load a checkpoint.

        Raises
        ------
        NucplanError
            If the file is no complete CellViT checkpoint; that of a fold that nucplan trained gets the way out.
        """
        try:
            network, info = read_cellvit(path)
        except NucplanError:
            _refuse_fold(path)
            raise
        made = cls(network.to(device).eval(), info, device, mirror)
        made.record = {
            "nucplan": __version__,
            "model": info.title,
            "weights": file_hash(path),
            "decoder": made.plan.to_dict(),
            "mirror": mirror,
        }
        return made

    @property
    def networks(self) -> tuple[nn.Module]:
        """The network, as `nucplan.inference.interface.NucleusFinder` has it."""
        return (self.network,)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes 1..K, in order."""
        return self.info.class_names[1:]

    @property
    def channels(self) -> int:
        """Red, green and blue."""
        return 3

    @property
    def panel_reader(self) -> None:
        """It takes no multiplex images."""
        return None

    @property
    def white_is_65535(self) -> bool:
        """It was trained on the colours of 8-bit images."""
        return True

    @property
    def mpp(self) -> float:
        """Microns per pixel of the training data."""
        return self.info.mpp

    @property
    def plan(self) -> HVPlan:
        """How the maps become nuclei."""
        return HVPlan.for_mpp(self.mpp)

    def __call__(self, image: np.ndarray, progress=iter) -> Instances:
        """Nuclei of one picture.

        Parameters
        ----------
        image
            (H, W, 3) RGB, uint8 or uint16, at the pixel size of the training data.
        progress
            Wraps the rows of tiles, for a progress bar.

        Raises
        ------
        NucplanError
            If the image is not RGB.
        """
        return decode_hv(self.maps(image, progress), self.plan)

    def maps(self, image: np.ndarray, progress=iter) -> HVMaps:
        """The maps (H, W) of one picture, float16, as `__call__` decodes them."""
        if image.ndim != 3 or image.shape[2] != 3:
            raise NucplanError("A CellViT takes RGB images, and this one has other channels; convert it.")
        largest = min(LARGEST_TILE, self.network.largest_side or LARGEST_TILE)
        tile = tuple(tile_side(side, largest, OVERLAP, MULTIPLE) for side in image.shape[:2])
        found = blended_maps(
            partial(mirrored, self._maps, turned={2: VERTICAL, 3: HORIZONTAL}) if self.mirror else self._maps,
            _eight_bits(image).transpose(2, 0, 1),
            tile,
            OVERLAP,
            max(1, PIXELS_PER_PASS // (tile[0] * tile[1])),
            self.device,
            progress,
        )
        return HVMaps(found[FOREGROUND], found[HORIZONTAL : VERTICAL + 1], found[TYPES:])

    def _maps(self, tiles: Tensor) -> Tensor:
        """(B, 3 + K + 1, H, W) of uint8 tiles, in float32 where the network was trained so.

        Where that is unknown mixed precision is tried; what overflows in it is computed again without.
        """
        if self.info.mixed_precision is not False:
            maps = self._probabilities(tiles)
            if maps.isfinite().all():
                return maps
        with torch.autocast(tiles.device.type, enabled=False):
            return self._probabilities(tiles)

    def _probabilities(self, tiles: Tensor) -> Tensor:
        binary, hv, types = self.network.maps(tiles.float() / 255)[:3]
        return torch.cat([binary.float().softmax(1)[:, 1:], hv.float(), types.float().softmax(1)], dim=1)


def _eight_bits(image: np.ndarray) -> np.ndarray:
    # White is white in both.
    return image if image.dtype == np.uint8 else (image / 257).round().astype(np.uint8)


def _refuse_fold(path: Path) -> None:
    """Do nothing, or refuse the checkpoint of a fold."""
    try:
        content = load_checkpoint(path)
    except NucplanError:
        return
    if isinstance(content, dict) and "network_kwargs" in content:
        raise NucplanError(
            f"{path} is one fold that nucplan trained, not a CellViT; "
            "give the dataset as MODEL, or the folder that nucplan_export wrote."
        )
