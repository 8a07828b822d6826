"""Training curves as small multiples: one panel per column of the logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nucplan.report.figures import Look, canvas, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 5
RATE = "learning_rate"
# Columns whose names alone mislead: these are losses, not scores.
TITLES = {
    "alpha": "alpha (of the gate)",
    "cross_entropy": "cross-entropy loss",
    "dice": "dice loss",
    "focal_tversky": "focal Tversky loss",
}


def changing(curves: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns, but for the epoch, that are not one number in all trainings; in order, the learning rate last."""
    values = columns(curves)
    names = [name for name, found in values.items() if len(found) > 1]
    return sorted(names, key=lambda name: name == RATE)


def constant(curves: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """The columns that are one number in all trainings, and that number."""
    return {name: next(iter(found)) for name, found in columns(curves).items() if len(found) == 1}


def columns(curves: Sequence[Mapping[str, Any]]) -> dict[str, set[float | None]]:
    """All columns but the epoch, with the numbers in them."""
    values: dict[str, set[float | None]] = {}
    for curve in curves:
        for name, found in curve["columns"].items():
            if name != "epoch":
                values.setdefault(name, set()).update(found)
    return values


def draw_curves(curves: Sequence[Mapping[str, Any]], look: Mapping[str, Look]) -> bytes:
    """Every changing column over the epochs: a thin line per training, a thick one with markers for their mean."""
    names = changing(curves) or [RATE]
    lines = -(-len(names) // COLUMNS)
    with canvas(0.9 + 1.7 * lines) as figure:
        axes = figure.subplots(lines, COLUMNS, squeeze=False, sharex=True).ravel()
        for ax, name in zip(axes, names, strict=False):
            _panel(ax, name, curves, look)
        for ax in axes[len(names) :]:
            ax.set_axis_off()
        for ax in axes[max(0, len(names) - COLUMNS) : len(names)]:
            ax.set_xlabel("epoch")
            ax.tick_params(labelbottom=True)
        title = "Training curves: a thin line per training, a thick one for the mean of those of full length"
        figure.suptitle(title, fontsize=12)
        shown = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=max(1, len(shown)))
        return svg(figure)


def _panel(ax: Axes, name: str, curves: Sequence[Mapping[str, Any]], look: Mapping[str, Look]) -> None:
    for config, style in look.items():
        of = [curve["columns"] for curve in curves if curve["config"] == config and name in curve["columns"]]
        for found in of:
            ax.plot(found["epoch"], _numbers(found[name]), color=style.colour, linewidth=0.6, alpha=0.45)
        if of:
            # Trainings that stopped early have fewer epochs: the end of the mean would be that of others.
            epochs = max((found["epoch"] for found in of), key=lambda epochs: epochs[-1])
            whole = [found for found in of if found["epoch"] == epochs]
            mean = np.mean([_numbers(found[name]) for found in whole], axis=0)
            every = max(1, len(epochs) // 6)
            look_of = {"color": style.colour, "linestyle": style.line, "marker": style.marker, "markersize": 4}
            ax.plot(epochs, mean, **look_of, markevery=every, linewidth=1.8, label=config)
    ax.set_title(_title(name), loc="left", fontsize=9)
    ax.tick_params(labelsize=8)
    if name == RATE:
        ax.ticklabel_format(axis="y", style="plain")


def _title(name: str) -> str:
    # One for each stride of the decoder.
    return f"{name} (loss)" if name.startswith("boundary_dice_") else TITLES.get(name, name)


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]
