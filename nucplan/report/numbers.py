"""How numbers are written in tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MISSING = "-"


def number_text(value: float | None, decimals: int) -> str:
    """A number without the zero before the point, "-" for None and NaN; never "-.000"."""
    if value is None or math.isnan(value):
        return MISSING
    text = f"{value:,.{decimals}f}"
    text = text.removeprefix("-") if float(text.replace(",", "")) == 0 else text
    return text if decimals < 2 else text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def score_text(value: float | None, is_count: bool) -> str:
    """A score, or the mean of a number of events."""
    return number_text(value, 1 if is_count else 3)


def total_text(value: float | None, is_count: bool) -> str:
    """A score, or a number of events."""
    return number_text(value, 0 if is_count else 3)


def signed_text(value: float | None, is_count: bool) -> str:
    """A difference with its sign, "-" where there is none."""
    if value is None:
        return MISSING
    text = score_text(value, is_count)
    return text if text.startswith("-") else f"+{text}"


def interval_text(difference: Mapping[str, Any], is_count: bool) -> str:
    """A difference with its sign, and the interval behind it."""
    if difference["mean"] is None:
        return MISSING
    low, high = (score_text(difference[end], is_count) for end in ("low", "high"))
    return f"{signed_text(difference['mean'], is_count)} [{low}, {high}]"


def folds_text(row: Mapping[str, Any]) -> str:
    """How many folds the intervals of a row are of, and what few of them mean for them."""
    count = len(row["folds"])
    if count == 1:
        return "1 fold: over its groups alone, which leaves out how much trainings differ and is too narrow"
    if row["coverage"] is None:
        return f"{count} folds"
    lowest, highest = row["coverage"]
    return f"{count} folds: too narrow, in simulations it covers the truth in {lowest} to {highest} % of the cases"


def score_remarks(ablation: Mapping[str, Any]) -> list[str]:
    """Of which folds a column is, where not of all."""
    return [
        f"{score['title']}: only over the folds {', '.join(map(str, score['folds']))}, where all configs have it"
        for score in ablation["scores"]
        if 0 < len(score["folds"]) < len(ablation["folds"])
    ]


def counted(number: int, noun: str) -> str:
    """A number with its noun, "1 group" or "2 groups"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
