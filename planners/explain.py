"""The decisions of a plan in words: what was decided, and why; also as a table for a terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

NARROWEST, WIDEST = 80, 160
GAP = "  "
VALUE_SHARE = 0.35  # of the width, at most; reasons need the rest


def in_words(plans: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each decision with its name (``decision``), the lines of its ``value``, and ``because``: the reason, and marks.

    Marked are decisions that a user set, and those in which a limit kept the rule from what the data ask for.
    """
    return [
        {"decision": name, "value": list(_value_lines(decision["value"])), "because": _reason_lines(decision)}
        for name, decision in plans["nucplan"]["decisions"].items()
    ]


def explain(plans: Mapping[str, Any]) -> str:
    """All decisions of a plan as a table with the columns decision, value and because.

    The table is as wide as the terminal, from 80 to 160 columns. Parts of a value have lines of their own.
    """
    decisions = in_words(plans)
    width = min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)
    name_width = max(len(name) for name in ["decision", *(each["decision"] for each in decisions)])
    longest = max(len(line) for each in decisions for line in each["value"])
    value_width = max(len("value"), min(longest, int(VALUE_SHARE * width)))
    widths = (name_width, value_width, width - name_width - value_width - 2 * len(GAP))
    rows = ["\n".join(_row(([each["decision"]], each["value"], each["because"]), widths)) for each in decisions]
    head = _row((["decision"], ["value"], ["because"]), widths)
    return "\n".join([*head, GAP.join("-" * w for w in widths), *rows])


def _row(cells: tuple[list[str], list[str], list[str]], widths: tuple[int, int, int]) -> Iterator[str]:
    """The lines of one row: each cell wrapped to its width, side by side."""
    wrapped = [
        [part for line in cell for part in textwrap.wrap(line, w, subsequent_indent=indent, break_on_hyphens=False)]
        for cell, w, indent in zip(cells, widths, ("", "  ", ""), strict=True)
    ]
    for line in zip_longest(*wrapped, fillvalue=""):
        yield GAP.join(text.ljust(w) for text, w in zip(line, widths, strict=True)).rstrip()


def _reason_lines(decision: Mapping[str, Any]) -> list[str]:
    lines = [decision["because"]]
    if decision.get("overridden"):
        lines.append("* set by you")
    if decision.get("limit"):
        lines.append(f"* at its limit: {decision['limit']}")
    return lines


def _value_lines(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for part, content in value.items():
            yield f"{part}: {_short(content)}"
    else:
        yield _short(value)


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{part} {_short(content)}" for part, content in value.items())
    if isinstance(value, list | tuple):
        # Multiplex images have dozens of channels, mostly of one normalisation.
        same = len(value) > 2 and isinstance(value[0], str) and len(set(value)) == 1
        return f"{len(value)} x {value[0]}" if same else ", ".join(map(_short, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
