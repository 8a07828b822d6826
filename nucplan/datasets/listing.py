"""The known formats as text: one line each, or everything about one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from nucplan.datasets.source import Format

COLUMNS = ("format", "modality", "classes", "um/px", "size", "licence")
WIDTH = 30
LINE = 120
YOURS = "yours"


def table(formats: Iterable[Format]) -> str:
    """A line per format, in columns."""
    rows = [COLUMNS, *((f.name, f.modality, *_facts(f)) for f in formats)]
    cells = [[textwrap.shorten(cell, WIDTH, placeholder=" ...") for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([*lines, "", "nucplan_convert --list FORMAT describes the layout that a format expects."])


def details(known: Format) -> str:
    """What a format is, the layout it expects, and its choices."""
    classes, mpp, size, licence = _facts(known)
    lines = [
        f"{known.name}: {known.description} ({known.modality})",
        *(f"    {line}" for line in known.layout.splitlines()),
        f"  classes: {classes}",
        f"  microns per pixel: {mpp}",
        f"  size: {size}",
        f"  licence: {licence}",
    ]
    if known.documented:
        lines.append(f"  documented: {known.documented}")
    for option in known.options:
        values = f" ({', '.join(option.values)})" if option.values else ""
        text = f"--set {option.name}={option.default or '...'}{values}: {option.help}"
        lines += textwrap.wrap(text, LINE, initial_indent="  ", subsequent_indent=" " * 6)
    return "\n".join(lines)


def _facts(known: Format) -> tuple[str, str, str, str]:
    return tuple(fact or YOURS for fact in (known.classes, known.mpp, known.size, known.licence))
