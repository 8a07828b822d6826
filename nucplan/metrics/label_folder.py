"""A folder of label maps with what may lie around it: classes, class names, pixel size, ignore areas."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.images import LABEL_SUFFIXES, TIFF_SUFFIXES, read_label_map

BACKGROUND, IGNORE = "background", "ignore"


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
        return self._table_classes(stem) if self.class_maps is None else self._map_classes(stem, labels)

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
        ids, first = np.unique(labels, return_index=True)
        values = zip(ids.tolist(), class_map.ravel()[first].tolist(), strict=True)
        return {nucleus: str(value) for nucleus, value in values if nucleus}

    def _table(self, stem: str) -> Path | None:
        names = (folder / f"{stem}{suffix}" for folder in self.table_folders for suffix in (".csv", ".json"))
        return next((path for path in names if path.is_file()), None)

    def _table_classes(self, stem: str) -> dict[int, str]:
        path = self._table(stem)
        rows = _read_csv(path) if path.suffix == ".csv" else read_json(path)
        try:
            return {int(nucleus): str(value) for nucleus, value in rows.items()}
        except (AttributeError, ValueError):
            raise NucplanError(f"{path} is no table of nucleus id and class; write one row or key for each.") from None


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
        If the folder does not exist or holds no label map.
    """
    maps = _label_maps(path)
    found = next((folder for folder in (path, path.parent) if (folder / "dataset.json").is_file()), None)
    description = read_json(found / "dataset.json") if found else {}
    if path.name in ("instancesTr", "instancesTs") and "labels" in description:
        return _open_raw(path, maps, description)
    names = {str(value): str(name) for value, name in (description.get("classes") or {}).items()}
    return LabelFolder(path, maps, (path, path.parent / "classes"), class_names=names, mpp=description.get("mpp"))


def _open_raw(path: Path, maps: dict[str, Path], description: dict[str, Any]) -> LabelFolder:
    labels = description["labels"]
    return LabelFolder(
        path,
        maps,
        class_maps=_label_maps(path.with_name(path.name.replace("instances", "labels"))),
        class_names={str(value): name for name, value in labels.items() if name not in (BACKGROUND, IGNORE)},
        ignore_label=labels.get(IGNORE),
        mpp=(description.get("nuclei") or {}).get("mpp"),
    )


def _label_maps(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise NucplanError(f"{folder} is not a folder; give a folder of label maps (PNG or TIFF).")
    files = [file for file in folder.iterdir() if file.suffix.lower() in LABEL_SUFFIXES]
    files = [file for file in files if not file.name.startswith(".") and not file.name.endswith("_overlay.png")]
    if not files:
        raise NucplanError(f"{folder} holds no label map; give a folder of PNG or TIFF files, one per image.")
    # Sorted so that a TIFF comes last and wins over a picture of the same stem.
    files.sort(key=lambda file: (file.stem, file.suffix.lower() in TIFF_SUFFIXES, file.name))
    return {file.stem: file for file in files}


def _read_csv(path: Path) -> dict[str, str]:
    with open(path, encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle)
        missing = {"id", "class"} - set(reader.fieldnames or ())
        if missing:
            raise NucplanError(f"{path} has no column '{min(missing)}'; a class table has the columns id and class.")
        return {row["id"]: row["class"] for row in reader}
