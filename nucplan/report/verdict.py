"""What the numbers of one dataset allow to be said, as one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nucplan.report.numbers import interval_text


def verdict(comparisons: Sequence[Mapping[str, Any]]) -> str:
    """State the differences of the primary scores to the baseline, and their intervals.

    Parameters
    ----------
    comparisons
        What `nucplan.report.ablation.ablation` gives, one per seed.
    """
    found = [
        f"{row['config']} differs from {of_seed['baseline']} by {_differences(of_seed, row)}"
        for of_seed in comparisons
        for row in of_seed["rows"]
        if row["tested"]
    ]
    return "; ".join(found) + "." if found else "There is nothing to compare."


def _differences(comparison: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    cells = zip(comparison["scores"], row["cells"], strict=True)
    return ", ".join(
        f"{interval_text(cell['difference'], score['is_count'])} {score['title']}"
        for score, cell in cells
        if score["primary"]
    )
