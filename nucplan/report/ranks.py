"""Configs across datasets: which is best how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

# Fewer cannot separate three configs: the critical difference is as wide as the scale of the ranks.
LEAST_DATASETS = 5


def ranks(comparisons: Mapping[str, Mapping[str, Any]], configs: Sequence[str]) -> list[dict[str, Any]]:
    """Rank the configs on each dataset by the mean of each primary score, 1 the best, ties shared.

    Parameters
    ----------
    comparisons : mapping of dataset to what `nucplan.report.ablation.ablation` gives
    configs : sequence of str
        Those that are ranked, as far as all datasets have them.

    Returns
    -------
    list of dict
        One per primary score: its ``titles`` on the datasets, ``datasets``, and ``rows`` with ``config``, its
        ``ranks`` in the order of the datasets and their ``mean``. Empty without two configs on two datasets.
    """
    if len(comparisons) < 2:
        return []
    return [found for place in range(2) if (found := _of_score(comparisons, configs, place)) is not None]


def _of_score(comparisons: Mapping[str, Mapping], configs: Sequence[str], place: int) -> dict[str, Any] | None:
    columns = {name: _means(comparison, place) for name, comparison in comparisons.items()}
    ranked = [config for config in configs if all(means.get(config) is not None for means in columns.values())]
    if len(ranked) < 2:
        return None
    table = np.array([rankdata([-means[config] for config in ranked]) for means in columns.values()]).T
    titles = dict.fromkeys(_primary(comparison)[place][1]["title"] for comparison in comparisons.values())
    return {
        "titles": list(titles),
        "datasets": list(comparisons),
        "rows": [
            {"config": config, "ranks": of.tolist(), "mean": float(of.mean())}
            for config, of in zip(ranked, table, strict=True)
        ],
    }


def _primary(comparison: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    return [(k, score) for k, score in enumerate(comparison["scores"]) if score["primary"]]


def _means(comparison: Mapping[str, Any], place: int) -> dict[str, float | None]:
    column, _ = _primary(comparison)[place]
    return {row["config"]: row["cells"][column]["mean"] for row in comparison["rows"]}
