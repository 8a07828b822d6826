"""Multiplex images as prediction gets them: planes matched by name to the markers of the model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nucplan.datasets.multiplex.intensities import Scale
from nucplan.datasets.multiplex.marker_tables import find_marker_table
from nucplan.datasets.multiplex.panels import Planes, choose_planes, match
from nucplan.datasets.multiplex.planes import read_header
from nucplan.datasets.raw import RGB
from nucplan.errors import NucplanError
from nucplan.images import TIFF_SUFFIXES, read_image
from nucplan.plans import panel_decision

CHANNEL_FILE = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


@dataclass(frozen=True)
class PanelReader:
    """Reads the image that a model on multiplex images expects.

    Attributes
    ----------
    markers : of the channels that the model takes, in their order
    varies : whether it takes images that lack some of them
    factors : marker to what its intensities were multiplied by to fit 16 bits in the training data
    """

    markers: tuple[str, ...]
    varies: bool = False
    factors: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, plans: Mapping[str, Any], dataset_json: Mapping[str, Any]) -> PanelReader | None:
        """The reader for the files of a model folder; None for grey and RGB."""
        nuclei, names = dataset_json.get("nuclei") or {}, dataset_json["channel_names"]
        named = tuple(names[key] for key in sorted(names, key=int))
        markers = tuple(nuclei.get("markers") or ()) or (named if len(named) > RGB else None)
        if markers is None:
            return None
        varies = (panel_decision(plans) or {}).get("panel") == "varying"
        return cls(markers, varies, nuclei.get("factors") or {})

    def read(self, files: Sequence[Path]) -> tuple[np.ndarray, tuple[str, ...]]:
        """The planes in the order of the markers; those of markers that the image lacks are 0.

        Parameters
        ----------
        files
            A TIFF whose planes are named, by itself or by ``markers.csv`` or ``panel.csv`` beside it; or the files of
            an nnU-Net case, ``<case>_0000.png`` and so on, which are told by their numbers and have the intensities
            of the training data.

        Returns
        -------
        image : (H, W, C) uint8 or uint16
        notes : tuple of str
            A sentence for the user on markers that are absent, and one on those that are not used.

        Raises
        ------
        NucplanError
            If a file is damaged or does not name its planes, or a marker is missing that the model needs.
        """
        if len(files) > 1 or _is_channel_file(files[0]):
            return self._from_channels(files)
        return self._from_stack(files[0])

    def fits(self, names: Sequence[str], absent: Sequence[str] = ()) -> bool:
        """Whether the model takes an image of the markers ``names``, of which it lacks ``absent``."""
        present = [i is not None and names[i] not in absent for i in match(self.markers, names)]
        return any(present) if self.varies else all(present)

    def arranged(
        self, image: np.ndarray, names: Sequence[str], factors: Mapping[str, float], origin: object
    ) -> np.ndarray:
        """The planes of an image of another dataset in the order of the markers, on the scale of the training data.

        Parameters
        ----------
        image
            (H, W, C) uint8 or uint16; (H, W) where C is 1.
        names
            Of its channels.
        factors
            By name, what its intensities were multiplied by.
        origin
            Named in an error.

        Returns
        -------
        (H, W, markers) uint8 or uint16
            0 for markers that it lacks.
        """
        found, image = match(self.markers, names), np.atleast_3d(image)
        nothing = np.zeros(image.shape[:2], image.dtype)
        planes = np.dstack([nothing if i is None else image[..., i] for i in found])
        theirs = [1.0 if i is None else factors.get(names[i], 1.0) for i in found]
        change = tuple(self.factors.get(name, 1.0) / factor for name, factor in zip(self.markers, theirs, strict=True))
        if set(change) == {1.0}:
            return planes
        return Scale(np.dtype(np.uint16), change).apply(planes, origin)[0]

    def _from_stack(self, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
        if path.suffix.lower() not in TIFF_SUFFIXES:
            raise NucplanError(
                f"{path} is no TIFF of {_listed(self.markers)}, on which the model was trained; give one."
            )
        stack = read_header(path)
        if stack.is_rgb:
            raise NucplanError(f"{path} is an RGB picture, but the model was trained on {_listed(self.markers)}.")
        names, indices = choose_planes(stack, find_marker_table(path.parent))
        found = match(self.markers, names)
        notes = self._absent([i is not None for i in found], names, path)
        if unused := [name for i, name in enumerate(names) if i not in found]:
            notes += (f"{path}: not used, as the model does not know them: {', '.join(unused)}.",)
        planes = Planes(stack, tuple(None if i is None else indices[i] for i in found))
        return self._scaled(planes.read(), path), notes

    def _from_channels(self, files: Sequence[Path]) -> tuple[np.ndarray, tuple[str, ...]]:
        numbered = {int(CHANNEL_FILE.fullmatch(path.stem)["channel"]): path for path in files}
        if beyond := [path for number, path in numbered.items() if number >= len(self.markers)]:
            raise NucplanError(f"{beyond[0]} is beyond the {len(self.markers)} channels of the model; remove it.")
        present = [number in numbered for number in range(len(self.markers))]
        names = [marker for marker, there in zip(self.markers, present, strict=True) if there]
        notes = self._absent(present, names, files[0])
        planes = {number: read_image(path) for number, path in numbered.items()}
        if len({plane.shape for plane in planes.values()}) > 1 or next(iter(planes.values())).ndim != 2:
            raise NucplanError(f"{files[0]} and the other channels of its case differ in size, or are coloured.")
        nothing = np.zeros_like(next(iter(planes.values())))
        return np.dstack([planes.get(number, nothing) for number in range(len(self.markers))]), notes

    def _absent(self, present: Sequence[bool], names: Sequence[str], path: Path) -> tuple[str, ...]:
        """A note on the markers that an image with ``names`` lacks, or a refusal."""
        absent = [marker for marker, there in zip(self.markers, present, strict=True) if not there]
        if not absent:
            return ()
        if not self.varies or not any(present):
            few = "was trained on images that all have" if not self.varies else "knows"
            raise NucplanError(
                f"{path} has the markers {', '.join(names)}, but the model {few} {', '.join(self.markers)}; "
                "give their planes the same names, or take a model for this panel."
            )
        return (f"{path}: absent, which the model is trained for: {', '.join(absent)}.",)

    def _scaled(self, image: np.ndarray, path: Path) -> np.ndarray:
        """uint8 or uint16 intensities on the scale of the training data."""
        if image.dtype in (np.uint8, np.uint16) and not self.factors:
            return image
        if not self.factors and not (np.isfinite(image).all() and (image == np.rint(image)).all()):
            raise NucplanError(f"{path} holds fractions, but the model was trained on counts; save the counts.")
        factors = tuple(self.factors[marker] for marker in self.markers) if self.factors else None
        return Scale(np.dtype(np.uint16), factors).apply(image, path)[0]


def _is_channel_file(path: Path) -> bool:
    if not CHANNEL_FILE.fullmatch(path.stem):
        return False
    return path.suffix.lower() not in TIFF_SUFFIXES or read_header(path).planes == 1


def _listed(markers: Sequence[str]) -> str:
    return f"the {len(markers)} markers {', '.join(markers)}"
