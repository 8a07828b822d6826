"""Maps of a frozen encoder, computed once per image and symmetry and stored in half precision.

A file per case holds the maps of the eight symmetries one after the other. The folder is named after all that the maps
depend on, so that those of other weights, images or patches are never read; folds, configs and seeds share it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from nucplan.encoded_maps import MapLayout, encode
from nucplan.errors import NucplanError
from nucplan.files import atomic_path, free_bytes, naming_full_disk
from nucplan.loading import CaseReader
from nucplan.networks.nucleus_net import NucleusNet
from nucplan.origin import json_hash
from nucplan.precision import precision_name
from nucplan.progress import Progress, silent
from nucplan.symmetries import SYMMETRIES, Symmetry

# Written into the name of the folder: raise it when the same inputs give other files.
FORMAT = 2


@dataclass(frozen=True)
class FeatureCache:
    """The stored maps of one encoder on one set of images."""

    folder: Path
    layout: MapLayout

    @classmethod
    def of(
        cls, network: NucleusNet, patch: int, data: object, preprocessed: Path, device: torch.device
    ) -> FeatureCache:
        """The place of the maps of this network's encoder; nothing is computed.

        Parameters
        ----------
        network
            With its weights.
        patch
            Side of the tiles in px.
        data
            Plain values that tell the preprocessed images apart from all others.
        preprocessed
            Folder of the dataset.
        device
            Where they are computed: half precision and single precision give other maps.

        Raises
        ------
        NucplanError
            If maps of this network cannot be stored (see `NucleusNet.maps_are_fixed`).
        """
        if not network.maps_are_fixed:
            raise NucplanError(
                "The features of this encoder change while it is trained, so they cannot be stored; "
                "leave --cache-features out."
            )
        encoder = network.encoder
        layout = MapLayout(encoder.channels, tuple(encoder.tap_strides), patch)
        statistics = [network.input_mean.flatten().tolist(), network.input_std.flatten().tolist()]
        parts = [FORMAT, _weights_hash(encoder), network.encoder_arguments, encoder.taps, layout.tap_strides]
        key = json_hash([*parts, statistics, patch, precision_name(device), data])
        return cls(preprocessed / "features" / key[:16], layout)

    def path(self, case: str) -> Path:
        return self.folder / f"{case}.npy"

    def missing(self, cases: Sequence[str]) -> list[str]:
        """The cases whose maps are not stored yet."""
        return [case for case in cases if not self.path(case).is_file()]

    def bytes_of_others(self) -> int:
        """What the maps of other encoders, plans or images take beside these; nothing removes them."""
        others = (path for path in self.folder.parent.glob("*/*.npy") if path.parent != self.folder)
        return sum(path.stat().st_size for path in others)

    @torch.inference_mode()
    def fill(
        self,
        network: NucleusNet,
        reader: CaseReader,
        cases: Sequence[str],
        device: torch.device,
        progress: Progress = silent,
    ) -> int:
        """Compute and store what is missing; the number of cases that it was.

        One process computes at a time; others wait and find everything there. An interrupted one goes on at the case
        that it was at.

        Raises
        ------
        NucplanError
            If the disk has no room for them, or a map does not fit half precision.
        """
        if not self.missing(cases):
            return 0
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            missing = self.missing(cases)
            self._refuse_full_disk(reader, missing)
            was_training = network.training
            network.eval()
            for case in progress(missing, "Encoding images"):
                self._store(network, case, np.asarray(reader.load_case(case)[0][:, 0], np.float32), device)
            network.train(was_training)
        return len(missing)

    def _refuse_full_disk(self, reader: CaseReader, missing: Sequence[str]) -> None:
        needed, free = self.layout.bytes(image_shapes(reader, missing)), free_bytes(self.folder)
        if needed > free:
            raise NucplanError(
                f"{self.folder} needs {needed / 2**30:.3g} GiB for the features of {len(missing)} images, and the disk "
                f"has {free / 2**30:.3g} GiB left; make room or train with --no-cache-features."
            )

    def _store(self, network: NucleusNet, case: str, image: np.ndarray, device: torch.device) -> None:
        shape = image.shape[1:]
        with naming_full_disk(self.folder), atomic_path(self.path(case)) as temporary:
            total = len(SYMMETRIES) * self.layout.values(shape)
            values = np.lib.format.open_memmap(temporary, "w+", np.float16, (total,))
            for symmetry in SYMMETRIES:
                encode(network, symmetry(image), self.layout, device, self.layout.views(values, shape, symmetry))
            if not np.isfinite(values).all():
                raise NucplanError(
                    f"The encoder gives features for {case} that are no numbers in half precision; "
                    "train with --no-cache-features."
                )
            values.flush()

    def crop(self, case: str, shape: tuple[int, int], symmetry: Symmetry, start: tuple[int, int]) -> list[np.ndarray]:
        """Maps (P/s, P/s, D) float16 of the patch that starts at these pixels of the moved image.

        Parameters
        ----------
        shape
            Of the image as it is preprocessed, (H, W).
        start
            Row and column, multiples of the stride.
        """
        values = np.load(self.path(case), mmap_mode="r")
        crops = []
        for view, stride in zip(self.layout.views(values, shape, symmetry), self.layout.tap_strides, strict=True):
            row, column, side = (pixels // stride for pixels in (*start, self.layout.patch))
            crops.append(np.array(view[row : row + side, column : column + side]))
        return crops


def image_shapes(reader: CaseReader, cases: Sequence[str]) -> list[tuple[int, int]]:
    """Height and width of preprocessed images."""
    return [tuple(reader.load_case(case)[0].shape[-2:]) for case in cases]


def _weights_hash(module: torch.nn.Module) -> str:
    """SHA-256 of names, types, shapes and bytes of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
