"""Tables that name the planes of multiplex images.

``markers.csv`` is MCMICRO's: ``marker_name``, and optionally ``channel_number``, ``cycle_number`` and ``remove``
(https://mcmicro.org). ``panel.csv`` is steinbock's: ``channel``, ``name`` and optionally ``keep``
(https://bodenmillergroup.github.io/steinbock).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from nucplan.errors import NucplanError

MARKERS, PANEL = "markers.csv", "panel.csv"
TRUE, FALSE = {"true", "1", "yes", "t", "1.0"}, {"false", "0", "no", "f", "0.0", "", "na", "nan"}


@dataclass(frozen=True)
class MarkerTable:
    """The rows of a table in the order of the planes.

    Attributes
    ----------
    names : one per row; may be empty where the row is not kept
    kept : whether a row is wanted
    """

    path: Path
    names: tuple[str, ...]
    kept: tuple[bool, ...]

    @property
    def wanted(self) -> tuple[str, ...]:
        """The names of the rows that are kept."""
        return tuple(name for name, kept in zip(self.names, self.kept, strict=True) if kept)

    def planes(self, count: int, path: Path) -> tuple[int, ...]:
        """Which of the ``count`` planes of an image are the wanted ones: it has all rows, or only the kept ones.

        Raises
        ------
        NucplanError
            If it has another number of planes; the message names ``path``.
        """
        if count == len(self.names):
            return tuple(i for i, kept in enumerate(self.kept) if kept)
        if count == len(self.wanted):
            return tuple(range(count))
        raise NucplanError(
            f"{path} has {count} planes, but {self.path} has {len(self.names)} rows ({len(self.wanted)} kept); correct "
            "the table."
        )


def find_marker_table(folder: Path) -> MarkerTable | None:
    """The table in ``folder``, if there is one.

    Raises
    ------
    NucplanError
        If there are two, or the one is damaged.
    """
    paths = [folder / name for name in (MARKERS, PANEL) if (folder / name).is_file()]
    if len(paths) > 1:
        raise NucplanError(f"{folder} has both {MARKERS} and {PANEL}; keep one of them.")
    return read_marker_table(paths[0]) if paths else None


def read_marker_table(path: Path) -> MarkerTable:
    """Read a table of either form, by its columns.

    Raises
    ------
    NucplanError
        If it is no UTF-8 text, lacks its columns, or a row that is kept has no name.
    """
    rows = _rows(path)
    columns = set(rows[0]) if rows else set()
    if "marker_name" in columns:
        ordered = _by_channel(rows)
        kept = [not _flag(row, "remove", False, path) for row in ordered]
        names = [row["marker_name"] for row in ordered]
    elif {"channel", "name"} <= columns:
        kept = [_flag(row, "keep", True, path) for row in rows]
        names = [row["name"] for row in rows]
    else:
        raise NucplanError(f"{path} needs rows with the column marker_name, or with channel and name.")
    table = MarkerTable(path, tuple(names), tuple(kept))
    if not all(table.wanted) or not table.wanted:
        raise NucplanError(f"{path} has a row without a name, or no row that is kept; correct it.")
    return table


def unique_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """``names`` with ``_2``, ``_3``, ... after those that were there before, as a stain may return in each cycle."""
    found: list[str] = []
    for name in names:
        candidate, count = name, 1
        while candidate in found:
            count += 1
            candidate = f"{name}_{count}"
        found.append(candidate)
    return tuple(found)


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            return [{k: (v or "").strip() for k, v in row.items() if k} for row in csv.DictReader(handle)]
    except UnicodeDecodeError as error:
        raise NucplanError(f"{path} is not UTF-8 text ({error.reason}); save it again as UTF-8.") from None


def _by_channel(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """In the order of ``channel_number``, which some count anew in each cycle; as they stand where it is no order."""
    for columns in (("channel_number",), ("cycle_number", "channel_number")):
        keys = [tuple(row.get(column, "") for column in columns) for row in rows]
        if len(set(keys)) == len(rows) and all(part.isdecimal() for key in keys for part in key):
            return sorted(rows, key=lambda row: [int(row[column]) for column in columns])
    return rows


def _flag(row: dict[str, str], column: str, default: bool, path: Path) -> bool:
    text = row.get(column)
    if text is None:
        return default
    if text.lower() not in TRUE | FALSE:
        raise NucplanError(f"{path} has '{text}' under {column}, which is neither TRUE nor FALSE; correct it.")
    return text.lower() in TRUE
