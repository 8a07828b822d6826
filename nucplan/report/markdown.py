"""The numbers of an ablation as Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nucplan.report.numbers import (
    folds_text,
    interval_text,
    number_text,
    score_remarks,
    score_text,
    total_text,
)


def ablation_tables(ablation: Mapping[str, Any]) -> str:
    """All tables of what `nucplan.report.ablation.ablation` gives."""
    means = "; ".join(["Mean over the folds, each scored as a whole", *score_remarks(ablation)])
    parts = [_scores(means, ablation, lambda cell, is_count: score_text(cell["mean"], is_count))]
    if len(ablation["rows"]) > 1:
        parts += [_differences(ablation), _tests(ablation)]
    pooled = "All out-of-fold images together"
    parts += [_scores(pooled, ablation, lambda cell, is_count: total_text(cell["pooled"], is_count))]
    return "\n\n".join([*parts, _sizes(ablation)])


def _scores(head: str, ablation: Mapping[str, Any], text: Callable[[dict, bool], str], first: int = 0) -> str:
    scores = ablation["scores"]
    rows = {
        row["config"]: [text(cell, score["is_count"]) for cell, score in zip(row["cells"], scores, strict=True)]
        for row in ablation["rows"][first:]
    }
    return f"{head}:\n\n" + _table("config", [score["title"] for score in scores], rows)


def _differences(ablation: Mapping[str, Any]) -> str:
    head = (
        f"Difference to {ablation['baseline']}, mean over the folds, with the 95 % interval of a bootstrap over folds, "
        f"then groups ({folds_text(ablation['rows'][0])})"
    )
    return _scores(head, ablation, lambda cell, is_count: interval_text(cell["difference"], is_count), first=1)


def _tests(ablation: Mapping[str, Any]) -> str:
    tested = [k for k, score in enumerate(ablation["scores"]) if score["primary"]]
    rows = {
        row["config"]: [number_text(row["cells"][k]["difference"]["p_holm"], 3) for k in tested]
        for row in ablation["rows"]
        if row["tested"]
    }
    head = "p of the corrected resampled t test over the folds, a conservative check, after Holm for all of this table"
    return f"{head}:\n\n" + _table("config", [ablation["scores"][k]["title"] for k in tested], rows)


def _sizes(ablation: Mapping[str, Any]) -> str:
    rows = {kind: [f"{number:,}" for number in numbers] for kind, numbers in ablation["sizes"].items()}
    return "Validation parts:\n\n" + _table("", [f"fold {fold}" for fold in ablation["folds"]], rows)


def _table(corner: str, columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    lines = [f"| {' | '.join([corner, *columns])} |", "|---|" + "---|" * len(columns)]
    return "\n".join(lines + [f"| {' | '.join([name, *cells])} |" for name, cells in rows.items()])
