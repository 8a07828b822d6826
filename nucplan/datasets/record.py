"""What a conversion leaves beside the dataset: a row per nucleus, and what was counted on the way.

``nuclei.csv`` has a row per nucleus of the dataset: its case and id there, its class and area, the image and the id
that it has in the source, and whether the border of a tile cut it. ``conversion.json`` says which source and options
made the dataset and what was left out, for `nucplan_verify`.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from nucplan.errors import NucplanError
from nucplan.files import read_json, write_json

NUCLEI, CONVERSION = "nuclei.csv", "conversion.json"
# The remark that counts them; whoever made them must say whether they are background or not annotated.
WITHOUT_NUCLEUS = "images without a nucleus"
LOST_CHANNEL = "images whose last channel, such as transparency, was left out"
COLUMNS = ("case", "id", "class", "area_px", "source_image", "source_id", "cut")


@dataclass
class ImageRecord:
    """One image of the source: how many nuclei it gave, and what was left out or worth a remark."""

    nuclei: int
    left_out: dict[str, int]
    remarks: dict[str, int]
    cases: list[str] = field(default_factory=list)


class NucleusTable:
    """Writes ``nuclei.csv`` row by row, so that memory does not grow with the dataset."""

    def __init__(self, handle: TextIO) -> None:
        self._rows = csv.writer(handle)
        self._rows.writerow(COLUMNS)

    def add(
        self,
        case: str,
        source_image: str,
        instances: np.ndarray,
        source_ids: Iterable[int],
        class_names: list[str],
        whole_area: dict[int, int],
    ) -> None:
        """The nuclei of one case, ids 1 to N in ``instances`` ``(H, W)``, with what they are in the source."""
        areas = np.bincount(instances.ravel())[1:]
        for index, (area, source_id, name) in enumerate(zip(areas.tolist(), source_ids, class_names, strict=True), 1):
            cut = area < whole_area[source_id]
            self._rows.writerow((case, index, name, area, source_image, source_id, int(cut)))


@dataclass
class Record:
    """What ``conversion.json`` holds.

    Attributes
    ----------
    images : by their name in the source
    skipped : a sentence for each fault that was passed over
    skipped_images : names of the images that were listed and then refused
    notes : remarks of the reader, such as factors of intensities
    """

    source: str
    format: str
    options: dict[str, Any]
    images: dict[str, ImageRecord] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped_images: list[str] = field(default_factory=list)

    def total(self, kind: str) -> Counter[str]:
        """The counts of all images, by text; ``kind`` is ``left_out`` or ``remarks``."""
        totals: Counter[str] = Counter()
        for image in self.images.values():
            totals.update(getattr(image, kind))
        return totals

    def totals(self) -> dict[str, Any]:
        """What all images add up to, as ``conversion.json`` says it."""
        return {
            "nuclei": sum(image.nuclei for image in self.images.values()),
            "left_out": dict(self.total("left_out")),
            "remarks": dict(self.total("remarks")),
        }

    def write(self, folder: Path) -> None:
        write_json(
            folder / CONVERSION,
            {
                "format": self.format,
                "source": self.source,
                "options": self.options,
                **self.totals(),
                "skipped": self.skipped,
                "notes": self.notes,
                "skipped_images": self.skipped_images,
                "images": {name: vars(image) for name, image in self.images.items()},
            },
        )


class Row(NamedTuple):
    """A row of ``nuclei.csv``, without the name of its case."""

    id: int
    class_name: str
    area: int
    source_image: str
    source_id: int


def read_record(folder: Path) -> Record | None:
    """What ``conversion.json`` in ``folder`` says; None where there is none.

    Raises
    ------
    NucplanError
        If the file is damaged, or a number of all images is not what they add up to.
    """
    path = folder / CONVERSION
    if not path.is_file():
        return None
    content = read_json(path)
    try:
        images = {name: ImageRecord(**image) for name, image in content["images"].items()}
        texts = content["skipped"], content["notes"], content["skipped_images"]
        record = Record(content["source"], content["format"], dict(content["options"]), images, *texts)
        wrong = [key for key, total in record.totals().items() if content[key] != total]
    except (KeyError, TypeError, AttributeError):
        raise NucplanError(f"{path} is not a record of a conversion; restore it, or delete it to go without.") from None
    if wrong:
        raise NucplanError(f"{path}: '{wrong[0]}' is not what its images add up to; restore it.")
    return record


def read_nuclei(folder: Path) -> Iterator[tuple[str, list[Row]]]:
    """The rows of ``nuclei.csv`` in ``folder``, case by case in the order of the file.

    Raises
    ------
    NucplanError
        If the file is missing or damaged.
    """
    path = folder / NUCLEI
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            rows = csv.reader(handle)
            if tuple(next(rows, ())) != COLUMNS:
                raise ValueError("other columns than expected")
            for case, found in groupby(rows, key=lambda row: row[0]):
                yield case, [Row(int(r[1]), r[2], int(r[3]), r[4], int(r[5])) for r in found]
    except FileNotFoundError:
        raise NucplanError(f"{path} is missing, but {CONVERSION} is there; restore it.") from None
    except (ValueError, IndexError) as error:
        raise NucplanError(f"{path} is damaged ({error}); restore it.") from None
