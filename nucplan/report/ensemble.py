"""What an ensemble is held against: the options of its choice, and the single folds on the test part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nucplan.metrics.scores import PQ_POOLED, mpq_plus
from nucplan.report.ablation import known


def choice_title(scores: Mapping[str, Any]) -> str:
    """The title, of these scores by title, of the one that choices are made by."""
    typed = mpq_plus(1).title
    return typed if typed in scores else PQ_POOLED.title


def ranked_options(evidence: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The options of a choice, each decoded as planned, and the choice with its own decoder, best first.

    Parameters
    ----------
    evidence : mapping
        That of ``inference.json``, with ``options`` and ``chosen``.

    Returns
    -------
    list of dict
        As in ``evidence``, with ``chosen``. A choice that is decoded as planned is its option, and there once.
    """
    chosen, options = evidence.get("chosen"), evidence.get("options", [])
    rows = [dict(option, chosen=False) for option in options if chosen is None or not _same(option, chosen)]
    rows += [dict(chosen, chosen=True)] if chosen is not None else []
    return sorted(rows, key=lambda row: -row["score"])


def _same(option: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return option["configs"] == other["configs"] and option["decoder"] == other["decoder"]


def is_single(row: Mapping[str, Any]) -> bool:
    """Whether a row of the test part is one network."""
    return len(row["folds"]) == len(row["configs"]) == 1 and not row["chosen"]


def with_fold_means(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the test part and, below the last fold of each config that has several, the mean of its folds.

    A score that a fold does not have is None in the mean, too.
    """
    found: list[dict[str, Any]] = []
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        found.append(dict(row))
        ends = following is None or not is_single(following) or following["configs"] != row["configs"]
        folds = [other for other in rows if is_single(other) and other["configs"] == row["configs"]]
        if is_single(row) and ends and len(folds) > 1:
            name = f"{row['configs'][0]}, mean of {len(folds)} single folds"
            found.append({"name": name, "chosen": False, "scores": _mean_scores(folds)})
    return found


def _mean_scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    columns = {title: [row["scores"].get(title) for row in rows] for title in rows[0]["scores"]}
    return {title: None if None in values else known(sum(values) / len(values)) for title, values in columns.items()}
