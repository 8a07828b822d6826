"""Ensembles against single models: what the choice was made of, and the test part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nucplan.report.figures import INKS, canvas, svg, wrapped

MOST_OPTIONS = 12


def draw_options(inference: Mapping[str, Any]) -> bytes:
    """The out-of-fold score of the best of each mean of configs that was considered; the chosen one is filled."""
    best: dict[str, float] = {}
    for option in inference["evidence"]["options"]:
        name = " + ".join(option["configs"])
        best[name] = max(best.get(name, float("-inf")), option["score"])
    ordered = sorted(best.items(), key=lambda item: item[1])[-MOST_OPTIONS:]
    chosen = [name == " + ".join(inference["configs"]) for name, _ in ordered]
    names = [wrapped(name, 40) for name, _ in ordered]
    x, title = f"{inference['measure']}, out of fold", "Options of the ensemble, each at its best decoder"
    return _dots(names, [score for _, score in ordered], chosen, x, title)


def draw_test(test: Mapping[str, Any]) -> bytes:
    """The primary score of the test part of each row; the chosen ensemble is filled."""
    rows, title = test["rows"], next(iter(test["rows"][0]["scores"]))
    names, values = [wrapped(row["name"], 40) for row in rows], [row["scores"].get(title) for row in rows]
    chosen = [row["chosen"] for row in rows]
    return _dots(names, values, chosen, f"{title}, test part", "Test part: the ensemble against single models")


def _dots(names: Sequence[str], values: Sequence[float | None], chosen: Sequence[bool], x: str, title: str) -> bytes:
    colours = [tuple(c / 255 for c in INKS[1 if one else 0]) for one in chosen]
    with canvas(1.3 + 0.3 * len(names)) as figure:
        ax = figure.subplots()
        for place, (value, colour, one) in enumerate(zip(values, colours, chosen, strict=True)):
            if value is not None:
                face = colour if one else "none"
                ax.plot(value, place, marker="D" if one else "o", markersize=8, color=colour, markerfacecolor=face)
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.grid(axis="y", linewidth=0.4)
        ax.set_xlabel(f"{x} (filled diamond: chosen)")
        ax.set_title(title, loc="left")
        return svg(figure)
