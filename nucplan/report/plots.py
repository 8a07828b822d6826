"""The plots of a report, drawn from its numbers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nucplan.report.curve_plots import draw_curves
from nucplan.report.ensemble_plots import draw_options, draw_test
from nucplan.report.figures import Look, canvas, looks, svg, with_values, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What is seen of merges, beside the primary scores.
CONTACTS = ("merges", "splits", "contact-boundary recall")
FOLD_MARKERS = "osD^vP*X"


def draw(report: Mapping[str, Any]) -> dict[str, bytes]:
    """Draw all plots of what ``report.json`` holds, as SVG by name; the names are those that the page asks for."""
    pictures, look = {}, _look(report)
    for dataset in report["datasets"]:
        if dataset["missing"] is None:
            found = _of_dataset(dataset, look)
            pictures |= {f"{dataset['folder']}/{name}": picture for name, picture in found.items()}
    if report["ranks"]:
        pictures["ranks"] = draw_ranks(report["ranks"])
    return pictures


def _look(report: Mapping[str, Any]) -> dict[str, Look]:
    """One look for each config and each other row of a comparison, so that it is the same in all plots."""
    seeds = [seed for dataset in report["datasets"] if dataset["missing"] is None for seed in dataset["seeds"]]
    compared = [seed["comparison"] for seed in seeds if seed["comparison"] is not None]
    return looks(dict.fromkeys([*report["configs"], *(row["config"] for of in compared for row in of["rows"])]))


def _of_dataset(dataset: Mapping[str, Any], look: Mapping[str, Look]) -> dict[str, bytes]:
    pictures = {}
    for seed in dataset["seeds"]:
        comparison = seed["comparison"]
        if comparison is not None:
            pictures[f"folds_{seed['seed']}"] = draw_folds(comparison)
            if len(comparison["rows"]) > 1:
                pictures[f"differences_{seed['seed']}"] = draw_differences(comparison, look)
    if dataset["curves"]:
        pictures["curves"] = draw_curves(dataset["curves"], look)
    if dataset["inference"] and dataset["inference"].get("evidence", {}).get("options"):
        pictures["options"] = draw_options(dataset["inference"], look)
    if dataset["test"] and dataset["test"]["rows"]:
        pictures["test"] = draw_test(dataset["test"], look)
    return pictures


def draw_differences(comparison: Mapping[str, Any], look: Mapping[str, Look]) -> bytes:
    """Each config's difference to the baseline with its interval, and that of each fold behind it."""
    rates = [k for k, score in enumerate(comparison["scores"]) if not score["is_count"]]
    counts = [k for k, score in enumerate(comparison["scores"]) if score["is_count"]]
    configs = len(comparison["rows"]) - 1
    with canvas(1.5 + 0.22 * len(rates) * (configs + 1)) as figure:
        axes = figure.subplots(1, 2, width_ratios=(3, 2))
        _forest(axes[0], comparison, rates, look)
        axes[0].set_xlabel("difference of the score (right of 0: better than the baseline)")
        _forest(axes[1], comparison, counts, look)
        axes[1].set_xlabel("difference of the number per fold (left of 0: better)")
        figure.suptitle(f"Difference to {comparison['baseline']}, with 95 % intervals", fontsize=12)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(3, configs))
        return svg(figure)


def _forest(ax: Axes, comparison: Mapping[str, Any], columns: Sequence[int], look: Mapping[str, Look]) -> None:
    rows = comparison["rows"][1:]
    for place, column in enumerate(columns):
        for k, row in enumerate(rows):
            found, style = row["cells"][column]["difference"], look[row["config"]]
            y = place + 0.7 * ((k + 0.5) / len(rows) - 0.5)
            if found["mean"] is None:
                continue
            _, folds = with_values(found["of_folds"])
            ax.plot(folds, [y] * len(folds), "|", color=style.colour, alpha=0.6, markersize=5)
            if found["low"] is not None:
                ax.plot([found["low"], found["high"]], [y, y], linestyle=style.line, color=style.colour, linewidth=1.8)
            label = row["config"] if place == 0 else None
            ax.plot(found["mean"], y, style.marker, color=style.colour, markersize=6, label=label)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_yticks(range(len(columns)), [_score_label(comparison["scores"][column]) for column in columns])
    ax.set_ylim(len(columns) - 0.5, -0.5)


def _score_label(score: Mapping[str, Any]) -> str:
    return f"{score['title']} *" if score["primary"] else score["title"]


def draw_folds(comparison: Mapping[str, Any]) -> bytes:
    """The primary scores, merges, splits and contact-boundary recall of each fold, joined across the configs."""
    shown = [k for k, score in enumerate(comparison["scores"]) if score["primary"] or score["title"] in CONTACTS]
    columns = 3
    lines = -(-len(shown) // columns)
    with canvas(0.9 + 2.6 * lines) as figure:
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for ax, column in zip(axes, shown, strict=False):
            _fold_panel(ax, comparison, column)
        for ax in axes[len(shown) :]:
            ax.set_axis_off()
        figure.suptitle("Each fold under each config", fontsize=12)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        return svg(figure)


def _fold_panel(ax: Axes, comparison: Mapping[str, Any], column: int) -> None:
    score, rows = comparison["scores"][column], comparison["rows"]
    look = looks(f"fold {fold}" for fold in comparison["folds"])
    for k, (name, style) in enumerate(look.items()):
        places, values = with_values([row["cells"][column]["of_folds"][k] for row in rows])
        marker = FOLD_MARKERS[k % len(FOLD_MARKERS)]
        ax.plot(places, values, marker=marker, linestyle=style.line, color=style.colour, linewidth=1, label=name)
    for place, row in enumerate(rows):
        mean = row["cells"][column]["mean"]
        if mean is not None:
            label = "mean" if place == 0 else None
            ax.plot([place - 0.25, place + 0.25], [mean, mean], color="black", linewidth=2.2, label=label)
    ax.set_title(_score_label(score), loc="left")
    ax.set_ylabel("number in the fold" if score["is_count"] else "score, 0 to 1")
    ax.set_xticks(range(len(rows)), [wrapped(row["config"], 13) for row in rows], fontsize=8)
    ax.set_xlim(-0.5, len(rows) - 0.5)
    if score["is_count"]:
        ax.set_ylim(bottom=0)


def draw_ranks(ranks: Sequence[Mapping[str, Any]]) -> bytes:
    """The rank of each config on each dataset and, as a bar, its mean rank, for each primary score."""
    configs = list(dict.fromkeys(row["config"] for found in ranks for row in found["rows"]))
    with canvas(1.6 + 0.45 * len(configs)) as figure:
        axes = figure.subplots(1, len(ranks), squeeze=False)[0]
        for ax, found in zip(axes, ranks, strict=True):
            _rank_panel(ax, found)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)))
        figure.suptitle("Ranks across datasets", fontsize=12)
        return svg(figure)


def _rank_panel(ax: Axes, found: Mapping[str, Any]) -> None:
    rows = found["rows"]
    for k, (name, style) in enumerate(looks(found["datasets"]).items()):
        shift = 0.25 * ((k + 0.5) / len(found["datasets"]) - 0.5)
        ranks = [row["ranks"][k] for row in rows]
        places = [place + shift for place in range(len(rows))]
        ax.plot(ranks, places, style.marker, color=style.colour, linestyle="none", label=name)
    for place, row in enumerate(rows):
        label = "mean rank" if place == 0 else None
        ax.plot([row["mean"]] * 2, [place - 0.3, place + 0.3], color="black", linewidth=2.2, label=label)
    ax.set_title(" / ".join(found["titles"]), loc="left")
    ax.set_xlabel("rank (1: best)")
    ax.set_xticks(range(1, len(rows) + 1))
    ax.set_xlim(0.6, len(rows) + 0.4)
    ax.set_yticks(range(len(rows)), [wrapped(row["config"], 20) for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
