"""Which files of a folder are images, and which masks belong to them, by the names that Cellpose gives and expects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nucplan.datasets.finding.files import files_in
from nucplan.images import IMAGE_SUFFIXES

MASK_SUFFIXES = (".tif", ".tiff", ".png")
WRITTEN_BY_CELLPOSE, SEGMENTATION = "_cp_masks", "_seg.npy"
NO_IMAGES = {"_masks", "_cp_masks", "_flows", "_cp_flows", "_outlines", "_cp_outlines", "_cp_output", "_cp_dP"}


@dataclass(frozen=True)
class Names:
    """What names end with: ``masks`` before the suffix (or `SEGMENTATION`), ``images`` before the suffix or ""."""

    masks: str
    images: str

    def images_in(self, folder: Path) -> list[Path]:
        """Images, without what Cellpose writes beside them."""
        others = tuple({self.masks, *NO_IMAGES} - {self.images})
        return [
            path
            for path in files_in(folder, IMAGE_SUFFIXES)
            if path.stem.endswith(self.images) and not path.stem.endswith(others)
        ]

    def stem(self, image: Path) -> str:
        """The name that an image shares with its masks."""
        return image.stem.removesuffix(self.images)

    def masks_of(self, image: Path) -> Path | None:
        """The masks of an image: one's own before those that Cellpose wrote."""
        candidates = [
            image.with_name(f"{base}{end}") for end in self._ends() for base in (self.stem(image), image.stem)
        ]
        return next((path for path in candidates if path.is_file()), None)

    def orphans(self, folder: Path, images: list[Path]) -> list[str]:
        """A sentence for each file of masks that has no image."""
        stems = {path.stem for path in images} | {self.stem(path) for path in images}
        faults = []
        for path in files_in(folder, (*MASK_SUFFIXES, ".npy")):
            # The longest end counts: _cp_masks.tif ends with _masks.tif as well.
            end = max((end for end in self._ends() if path.name.endswith(end)), key=len, default=None)
            if end and (stem := path.name.removesuffix(end)) not in stems:
                faults.append(f"{path} has no image {stem}{self.images}.tif or the like; add it or remove the masks.")
        return faults

    def _ends(self) -> list[str]:
        """How files of masks end, in the order in which they are looked for."""
        if self.masks == SEGMENTATION:
            return [SEGMENTATION]
        return [
            *(f"{end}{suffix}" for end in (self.masks, WRITTEN_BY_CELLPOSE) for suffix in MASK_SUFFIXES),
            SEGMENTATION,
        ]
