"""A folder of label maps with what may lie around it: classes, class names, pixel size, ignore areas."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nucplan.datasets.description import read_description
from nucplan.datasets.raw import Part, parse_dataset_json
from nucplan.datasets.tables import TABLE_SUFFIXES, read_class_table
from nucplan.errors import NucplanError
from nucplan.images import JPEG_SUFFIXES, LABEL_SUFFIXES, TIFF_SUFFIXES, jpeg_refusal, read_label_map
from nucplan.layout import Dataset, Roots
from nucplan.metrics.class_map import classes_of

PARTS: tuple[Part, ...] = ("Tr", "Ts")


@dataclass(frozen=True)
class LabelFolder:
    """Label maps by stem, and where their classes come from.

    ``class_maps`` (stem -> file) is set for ``instancesTr`` and ``instancesTs`` of a raw dataset, where the class of a
    nucleus is the value of the class map on it; elsewhere the classes lie in a table per image, in ``table_folders``.
    """

    path: Path
    maps: dict[str, Path]
    table_folders: tuple[Path, ...] = ()
    class_maps: dict[str, Path] | None = None
    class_names: dict[str, str] = field(default_factory=dict)
    ignore_label: int | None = None
    mpp: float | None = None

    def labels(self, stem: str) -> np.ndarray:
        """The label map of one image, int32 ``(H, W)``."""
        return read_label_map(self.maps[stem])

    def has_classes(self, stems: list[str]) -> bool:
        """Whether the images ``stems`` have classes: all of them or none, a NucplanError names the one without."""
        if self.class_maps is not None:
            return len(self.class_names) > 1
        missing = [stem for stem in stems if self._table(stem) is None]
        if missing and len(missing) < len(stems):
            raise NucplanError(f"{self.path} has class tables, but none for '{missing[0]}'; add it or remove them all.")
        return not missing

    def classes(self, stem: str, labels: np.ndarray) -> dict[int, str]:
        """The class of each nucleus of one image, as it is written: a name or a key of ``class_names``."""
        return read_class_table(self._table(stem)) if self.class_maps is None else self._map_classes(stem, labels)

    def ignored(self, stem: str) -> np.ndarray | None:
        """Where one image is not annotated, bool ``(H, W)``; None where it is annotated everywhere."""
        return None if self.ignore_label is None else self._class_map(stem) == self.ignore_label

    def _class_map(self, stem: str) -> np.ndarray:
        if stem not in self.class_maps:
            raise NucplanError(f"{self.maps[stem]} has no class map of the same name in the labels folder; add it.")
        return read_label_map(self.class_maps[stem])

    def _map_classes(self, stem: str, labels: np.ndarray) -> dict[int, str]:
        class_map = self._class_map(stem)
        if class_map.shape != labels.shape:
            raise NucplanError(f"{self.class_maps[stem]} and {self.maps[stem]} differ in size; export them again.")
        return {nucleus: str(value) for nucleus, value in classes_of(labels, class_map).items()}

    def _table(self, stem: str) -> Path | None:
        names = (folder / f"{stem}{suffix}" for folder in self.table_folders for suffix in TABLE_SUFFIXES)
        return next((path for path in names if path.is_file()), None)


def open_predictions(path: Path) -> LabelFolder:
    """Find the label maps and class tables that ``nucplan_predict`` or another tool wrote.

    What lies beside the folder is not looked at: it may belong to the reference.

    Raises
    ------
    NucplanError
        If the folder does not exist or holds no label map.
    """
    return LabelFolder(path, _label_maps(path), table_folders=(path,))


def open_reference(path: Path) -> LabelFolder:
    """Find the label maps of a folder, the classes, and the ``dataset.json`` in it or in its parent.

    Raises
    ------
    NucplanError
        If the folder does not exist or holds no label map, or ``dataset.json`` is malformed.
    """
    maps = _label_maps(path)
    # The layout of a raw dataset, wherever the folder of the dataset lies.
    dataset_folder = path.absolute().parent
    dataset = Dataset(Roots(*[dataset_folder.parent] * 3), dataset_folder.name)
    for part in PARTS:
        if path.absolute() == dataset.part("instances", part) and dataset.dataset_json.is_file():
            return _open_raw(path, maps, dataset, part)
    found = next((folder for folder in (path, path.parent) if (folder / "dataset.json").is_file()), path)
    described = read_description(found / "dataset.json")
    names = {str(class_id): name for class_id, name in described.class_names.items()}
    return LabelFolder(path, maps, (path, path.parent / "classes"), class_names=names, mpp=described.mpp)


def _open_raw(path: Path, maps: dict[str, Path], dataset: Dataset, part: Part) -> LabelFolder:
    info = parse_dataset_json(dataset.dataset_json)
    return LabelFolder(
        path,
        maps,
        class_maps=_label_maps(dataset.part("labels", part)),
        class_names={str(class_id): name for class_id, name in enumerate(info.class_names, start=1)},
        ignore_label=info.ignore_label,
        mpp=info.mpp,
    )


def _label_maps(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise NucplanError(f"{folder} {problem}; give a folder of label maps (PNG or TIFF).")
    files = [file for file in folder.iterdir() if file.suffix.lower() in LABEL_SUFFIXES]
    files = [file for file in files if not file.name.startswith(".") and not file.name.endswith("_overlay.png")]
    if not files:
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in JPEG_SUFFIXES:
                raise jpeg_refusal(file)
        raise NucplanError(f"{folder} holds no label map; give a folder of PNG or TIFF files, one per image.")
    # Sorted so that a TIFF comes last and wins over a picture of the same stem.
    files.sort(key=lambda file: (file.stem, file.suffix.lower() in TIFF_SUFFIXES, file.name))
    return {file.stem: file for file in files}
