"""The list names every format in columns that line up; the details hold all that there is to type."""

from __future__ import annotations

from pathlib import Path

import pytest

from nucplan.datasets import all_formats
from nucplan.datasets.listing import COLUMNS, LINE, WIDTH, YOURS, details, table
from nucplan.datasets.source import Format, Option, Source


def read(folder: Path) -> Source:
    raise AssertionError("a list reads no data")


LONG = Format(
    "long",
    "fluorescence and several others, more than fit",
    "a format",
    "SOURCE/a\nSOURCE/b",
    read,
    classes="3",
    mpp="0.25",
    size="9 images",
    licence="CC0-1.0",
    documented="https://example.org",
    options=(Option("fold", "which part", "1", ("1", "2")), Option("channel", "its name, " + "a word and " * 20, "")),
)
PLAIN = Format("plain", "any", "yours", "SOURCE/x", read)


def test_columns_line_up_and_nothing_is_wider_than_its_column():
    head, first, second, *_ = table([LONG, PLAIN]).splitlines()
    starts = [head.index(column) for column in COLUMNS]
    for line in (first, second):
        assert all(line[start] != " " and (start == 0 or line[start - 1] == " ") for start in starts)
    assert max(b - a for a, b in zip(starts, starts[1:], strict=False)) <= WIDTH + 2
    assert second.split() == ["plain", "any", *[YOURS] * 4]


def test_details_hold_layout_facts_and_choices():
    said = details(LONG)
    for part in ("SOURCE/a\n", "SOURCE/b", "classes: 3", "microns per pixel: 0.25", "size: 9 images", "CC0-1.0"):
        assert part in said
    assert "documented: https://example.org" in said
    assert "--set fold=1 (1, 2): which part" in said
    assert "--set channel=...: its name, a word" in said
    assert all(len(line) <= LINE for line in said.splitlines())
    assert ("a word and " * 20).strip() in " ".join(said.split())
    assert f"licence: {YOURS}" in details(PLAIN)
    assert "documented" not in details(PLAIN)


@pytest.mark.parametrize("known", all_formats().values(), ids=list(all_formats()))
def test_every_format_is_described(known: Format):
    assert known.name
    assert known.name == known.name.lower()
    assert known.modality
    assert known.description
    assert "SOURCE" in known.layout
    assert all(len(line) <= 125 for line in details(known).splitlines())
    for option in known.options:
        assert option.help
        assert not option.values or option.default in option.values
