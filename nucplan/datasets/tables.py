"""Small tables that come with images: the class of each instance, the group of each image (JSON or CSV)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from nucplan.errors import NucplanError

TABLE_SUFFIXES = (".csv", ".json")


def read_class_table(path: Path) -> dict[int, str]:
    """Instance id to class id or name, as text, from ``{"1": 2, ...}`` or from a CSV with columns id and class.

    Raises
    ------
    NucplanError
        If the table is damaged, an id is no whole number, or one id is there twice.
    """
    table: dict[int, str] = {}
    for id_text, class_text in _read_pairs(path, ("id", "class")):
        instance = _whole_number(id_text, path)
        if instance in table:
            raise NucplanError(
                f"{path} names instance {instance} twice, as {table[instance]} and {class_text}; keep one of them."
            )
        table[instance] = class_text
    return table


def read_group_table(path: Path) -> dict[str, str]:
    """Image stem to group, from ``{"image_01": "patient_1", ...}`` or from a CSV with columns image and group.

    Raises
    ------
    NucplanError
        If the table is damaged, or one image has two groups.
    """
    table: dict[str, str] = {}
    for stem, group in _read_pairs(path, ("image", "group")):
        if table.setdefault(stem, group) != group:
            raise NucplanError(f"{path} gives image {stem} two groups, {table[stem]} and {group}; keep one of them.")
    return table


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The lines of a CSV as dictionaries that have at least ``columns``.

    Raises
    ------
    NucplanError
        If the file is missing, no text, or lacks a column or one of its entries.
    """
    table = csv.DictReader(io.StringIO(_read_text(path), newline=""))
    if lost := [column for column in columns if column not in (table.fieldnames or ())]:
        raise NucplanError(f"{path} has no column {', '.join(lost)}; restore it.")
    rows = list(table)
    for number, row in enumerate(rows, start=2):
        if missing := [column for column in columns if not row.get(column)]:
            raise NucplanError(f"{path} has no {missing[0]} in line {number}; restore it.")
    return rows


def _read_pairs(path: Path, columns: tuple[str, str]) -> list[tuple[str, str]]:
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise NucplanError(f"{path} is neither JSON nor CSV; give one of the two.")
    text = _read_text(path)
    pairs = _json_pairs(text, path) if path.suffix.lower() == ".json" else _csv_pairs(text, path, columns)
    return [(str(key), str(value)) for key, value in pairs]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise NucplanError(f"{path} cannot be read ({error.strerror}); check the path.") from None
    except UnicodeDecodeError as error:
        raise NucplanError(f"{path} is not UTF-8 text ({error.reason}); save it again as UTF-8.") from None


def _json_pairs(text: str, path: Path) -> Iterable[tuple[str, object]]:
    # A plain dict would keep the last of two equal keys in silence.
    try:
        pairs = json.loads(text, object_pairs_hook=lambda items: items)
    except json.JSONDecodeError as error:
        raise NucplanError(f"{path} is not valid JSON ({error}); export it again.") from None
    if not isinstance(pairs, list) or not all(isinstance(p, tuple) and isinstance(p[1], str | int) for p in pairs):
        raise NucplanError(f'{path} must be one JSON object of names and values, such as {{"1": 2}}.')
    return pairs


def _csv_pairs(text: str, path: Path, columns: tuple[str, str]) -> Iterable[tuple[str, str]]:
    # Where a comma parts decimals, spreadsheets part columns by semicolons.
    separator = max(",;\t", key=text.partition("\n")[0].count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    lines = [[cell.strip() for cell in row] for row in rows if row]
    if not lines or not set(columns) <= set(lines[0]):
        raise NucplanError(f"{path} needs a first line with the columns {' and '.join(columns)}.")
    named = [dict(zip(lines[0], line, strict=False)) for line in lines[1:]]
    pairs = [(line.get(columns[0], ""), line.get(columns[1], "")) for line in named]
    if any(not key or not value for key, value in pairs):
        raise NucplanError(f"{path} has a line without {columns[0]} or {columns[1]}; fill it in or remove it.")
    return pairs


def _whole_number(text: str, path: Path) -> int:
    try:
        return int(text)
    except ValueError:
        raise NucplanError(f"{path} has the instance id '{text}', which is not a whole number; correct it.") from None
