"""Ensembles against single models: what the choice was made of, and the test part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nucplan.decoder_search import TIE
from nucplan.report.ensemble import choice_title, is_single, ranked_options
from nucplan.report.figures import Look, canvas, svg, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_OPTIONS = 12
# An axis that is narrower makes ties look like differences.
NARROWEST = 0.05
# Of the kinds of rows: colours stand for configs.
FOLD = {"marker": "o", "markersize": 6, "markerfacecolor": "none", "linestyle": "none"}
ENSEMBLE = {"marker": "D", "markersize": 9, "linestyle": "none"}
CHOSEN = {"marker": "*", "markersize": 16, "markeredgecolor": "black", "linestyle": "none"}
SEVERAL = (0.35, 0.35, 0.35)


def draw_options(inference: Mapping[str, Any], look: Mapping[str, Look]) -> bytes:
    """The out-of-fold score of the best options as planned, best on top, and of the choice with its own decoder."""
    ranked = ranked_options(inference["evidence"])
    best = max(option["score"] for option in inference["evidence"]["options"])
    shown = [row for place, row in enumerate(ranked) if place < MOST_OPTIONS or row["chosen"]]
    with canvas(1.8 + 0.3 * len(shown)) as figure:
        ax = figure.subplots()
        ax.axvspan(best - TIE, best, color="0.85", linewidth=0, label=f"within {TIE} of the best option: a tie")
        for place, row in enumerate(shown):
            style, label = (CHOSEN, "the choice, own decoder") if row["chosen"] else (FOLD, "option as planned")
            ax.plot(row["score"], place, **style, color=_colour(row["configs"], look), label=label)
        _name_rows(ax, [" + ".join(row["configs"]) + (", the choice" if row["chosen"] else "") for row in shown])
        ax.set_xlabel(f"{inference['measure']}, out of fold")
        ax.set_title("Options of the ensemble, each decoded as planned", loc="left")
        _add_legend(ax)
        return svg(figure)


def draw_test(test: Mapping[str, Any], look: Mapping[str, Look]) -> bytes:
    """The score that choices are made by, on the test part: a line per config, its folds, their mean, ensembles."""
    title = choice_title(test["rows"][0]["scores"])
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for row in test["rows"]:
        lines.setdefault(" + ".join(row["configs"]), []).append(row)
    with canvas(1.8 + 0.4 * len(lines)) as figure:
        ax = figure.subplots()
        for place, rows in enumerate(lines.values()):
            _test_line(ax, place, rows, title, _colour(rows[0]["configs"], look))
        _name_rows(ax, list(lines))
        ax.set_xlabel(f"{title}, test part")
        ax.set_title("Test part: ensembles against the single folds that they are made of", loc="left")
        _add_legend(ax)
        return svg(figure)


def _test_line(ax: Axes, place: int, rows: Sequence[Mapping[str, Any]], title: str, colour: Sequence[float]) -> None:
    having = [row for row in rows if row["scores"].get(title) is not None]
    folds = [row["scores"][title] for row in having if is_single(row)]
    ax.plot(folds, [place] * len(folds), **FOLD, color=colour, label="single fold")
    if folds:
        bar = {"color": "black", "linewidth": 2.2, "label": "mean of the single folds"}
        ax.plot([sum(folds) / len(folds)] * 2, [place - 0.32, place + 0.32], **bar)
    for row in having:
        if not is_single(row):
            style, label = (CHOSEN, "the chosen ensemble") if row["chosen"] else (ENSEMBLE, "ensemble of the folds")
            ax.plot(row["scores"][title], place, **style, color=colour, label=label, alpha=0.85)


def _colour(configs: Sequence[str], look: Mapping[str, Look]) -> Sequence[float]:
    return look[configs[0]].colour if len(configs) == 1 and configs[0] in look else SEVERAL


def _name_rows(ax: Axes, names: Sequence[str]) -> None:
    ax.set_yticks(range(len(names)), [wrapped(name, 40) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="y", linewidth=0.4)
    low, high = ax.get_xlim()
    missing = max(0.0, NARROWEST - (high - low))
    ax.set_xlim(low - missing / 2, high + missing / 2)


def _add_legend(ax: Axes) -> None:
    """Each kind once, below the axes and in grey: colours stand for configs."""
    kinds = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    legend = ax.figure.legend(kinds.values(), kinds.keys(), loc="outside lower center", ncols=len(kinds))
    for line in legend.get_lines():
        line.set_color("black" if line.get_linestyle() == "-" else SEVERAL)
