"""``fingerprint.png``: what was measured in a dataset, with the numbers of the plan marked in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucplan.files import atomic_path
from planners.fingerprint import Fingerprint
from planners.measure.neighbours import TOUCHING_GAP
from planners.measure.outlines import WIDEST_BAND

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BARS, OUTLINES = "#c8ced6", "#5b6470"
PLANNED, SECOND, MEASURED = "#d55e00", "#0072b2", "#009e73"
MOST_CLASSES = 12
BEYOND = " (last bar: all above)"


def draw(fingerprint: Fingerprint, plans: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Draw the distributions of a fingerprint, 1600 x 1050 px, and write them as PNG.

    Parameters
    ----------
    plans
        The plans of the same dataset; decisions that they lack are not marked.
    path
        Written whole or not at all.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    marks = planned_lengths(plans)
    # Without formulas a class may have a dollar in its name.
    style = {"font.size": 12, "axes.titlesize": 14, "legend.fontsize": 11, "text.parse_math": False}
    with rc_context(style):
        figure = Figure(figsize=(16, 10.5), dpi=100, layout="constrained")
        axes = figure.subplots(2, 3).ravel()
        panels = (_diameters, _gaps, _bands, _densities, _classes, _patch)
        for panel, ax in zip(panels, axes, strict=True):
            panel(ax, fingerprint, marks)
            ax.spines[["top", "right"]].set_visible(False)
        figure.suptitle(_title(plans, fingerprint), fontsize=16)
        with atomic_path(Path(path)) as temporary:
            FigureCanvasAgg(figure).print_png(temporary)


def planned_lengths(plans: Mapping[str, Any]) -> dict[str, float]:
    """What the plan decided, in pixels of the raw images; a key is missing where the plan lacks the decision.

    Keys: scale, diameter, smallest (diameter of the disc of the minimum area), boundary and band (half-widths),
    boundary_kernel and band_kernel (in planned pixels, as in the plan), beta, patch and overlap.
    """
    decisions = plans.get("nucplan", {}).get("decisions", {})
    value = {name: decision["value"] for name, decision in decisions.items()}
    scale = value.get("scale", 1)
    marks = {"scale": scale}
    if "decoder" in value:
        diameter = value["decoder"]["diameter"] / scale
        marks |= {"diameter": diameter, "smallest": diameter * value["decoder"].get("minimum_area", 0) ** 0.5}
    if "boundary_kernel" in value:
        half = (value["boundary_kernel"] - 1) / 2
        marks |= {"boundary_kernel": value["boundary_kernel"], "boundary": half / scale}
        if "weight_kernel" in value:
            total = half + (value["weight_kernel"] - 1) / 2
            marks |= {"band_kernel": value["weight_kernel"], "band": total / scale}
    if "boundary_beta" in value:
        marks["beta"] = value["boundary_beta"]
    if "patch_size" in value:
        marks["patch"] = value["patch_size"][0] / scale
    if "tile_overlap" in value:
        marks["overlap"] = value["tile_overlap"] / scale
    return marks


def _title(plans: Mapping[str, Any], fingerprint: Fingerprint) -> str:
    pixel = f"{fingerprint.mpp:g} um per pixel" if fingerprint.mpp else "pixel size unknown"
    images = len(fingerprint.cases)
    return f"{plans.get('dataset_name', 'Dataset')}: {images:,} images, {fingerprint.nuclei:,} nuclei, {pixel}"


def _diameters(ax: Axes, fingerprint: Fingerprint, marks: Mapping[str, float]) -> None:
    _histogram(ax, fingerprint.histograms["diameter_px"])
    for percent in (5, 95):
        ax.axvline(fingerprint.diameter(percent), color=MEASURED, linestyle=":", label=f"{percent} % are smaller")
    if "diameter" in marks:
        ax.axvline(marks["diameter"], color=PLANNED, label=f"planned diameter {marks['diameter']:.1f} px")
    if "smallest" in marks:
        text = f"smallest that is kept {marks['smallest']:.1f} px"
        ax.axvline(marks["smallest"], color=SECOND, linestyle="--", label=text)
    median = f"{fingerprint.diameter(50):.1f} px"
    if fingerprint.diameter_um:
        median += f" = {fingerprint.diameter_um['50']:.1f} um"
    _name(ax, f"Diameter (median {median})", f"equivalent diameter / px{BEYOND}", "nuclei")


def _gaps(ax: Axes, fingerprint: Fingerprint, marks: Mapping[str, float]) -> None:
    if fingerprint.gap_px is None:
        _name(ax, "Gaps: no nucleus has a neighbour", "gap to the nearest nucleus / px", "nuclei")
        return
    _histogram(ax, fingerprint.histograms["gap_px"])
    median, threshold = fingerprint.gap_px["50"], TOUCHING_GAP * fingerprint.diameter(50)
    ax.axvline(median, color=MEASURED, linestyle=":", label=f"median {median:.1f} px")
    text = f"touching, up to {threshold:.1f} px: {fingerprint.touching_share:.0%}"
    ax.axvline(threshold, color=PLANNED, label=text)
    shared = fingerprint.contact_length_share
    _name(ax, f"Gaps ({shared:.1%} of outlines are contact)", f"gap to the nearest nucleus / px{BEYOND}", "nuclei")


def _bands(ax: Axes, fingerprint: Fingerprint, marks: Mapping[str, float]) -> None:
    widest = max(WIDEST_BAND, 1.1 * marks.get("band", 0))
    widths = [widest * step / 80 for step in range(81)]
    ax.plot(widths, [100 * fingerprint.band(width) for width in widths], color=OUTLINES)
    if "boundary" in marks:
        text = f"boundary, kernel {marks['boundary_kernel']}"
        _mark_band(ax, fingerprint, marks["boundary"], PLANNED, text)
    if "band" in marks:
        beta = f", beta {marks['beta']:.2f}" if "beta" in marks else ""
        _mark_band(ax, fingerprint, marks["band"], SECOND, f"weights, kernel {marks['band_kernel']}{beta}")
    ax.set_xlim(0, widest)
    ax.set_ylim(bottom=0)
    _name(ax, "Boundary band", "half-width / px of the images", "% of the pixels")


def _mark_band(ax: Axes, fingerprint: Fingerprint, width: float, colour: str, text: str) -> None:
    share = 100 * fingerprint.band(width)
    ax.plot([width, width, 0], [0, share, share], color=colour, linestyle="--")
    ax.plot(width, share, "o", color=colour, label=f"{text}: {share:.0f} %")


def _densities(ax: Axes, fingerprint: Fingerprint, marks: Mapping[str, float]) -> None:
    _histogram(ax, fingerprint.histograms["nuclei_per_256x256"])
    median, p99 = (fingerprint.nuclei_per_256x256[name] for name in ("median", "p99"))
    ax.axvline(median, color=MEASURED, linestyle=":", label=f"median {median:.0f}")
    ax.axvline(p99, color=MEASURED, linestyle="--", label=f"99 % have at most {p99:.0f}")
    crowd = f" (about {p99 * (marks['patch'] / 256) ** 2:.0f} in a crowded patch)" if "patch" in marks else ""
    _name(ax, f"Density{crowd}", f"nuclei per 256 x 256 px{BEYOND}", "windows")


def _classes(ax: Axes, fingerprint: Fingerprint, marks: Mapping[str, float]) -> None:
    names = sorted(fingerprint.class_instances, key=fingerprint.class_instances.__getitem__, reverse=True)
    shown = names[:MOST_CLASSES]
    places = range(len(shown))
    nuclear = 1 - fingerprint.class_pixels.get("background", 0)
    of_nuclei = [100 * fingerprint.class_instances[name] / max(1, fingerprint.nuclei) for name in shown]
    of_pixels = [100 * fingerprint.class_pixels.get(name, 0) / (nuclear or 1) for name in shown]
    bars = {"height": 0.38, "edgecolor": OUTLINES}
    ax.barh([place - 0.2 for place in places], of_nuclei, color=BARS, label="of the nuclei", **bars)
    ax.barh([place + 0.2 for place in places], of_pixels, color="white", hatch="///", label="of their pixels", **bars)
    ax.set_yticks(places, [_short(name) for name in shown])
    ax.set_ylim(max(2.5, len(shown)) - 0.5, -0.5)
    hidden = f", {len(names) - len(shown)} rare ones left out" if len(names) > len(shown) else ""
    _name(ax, f"Classes ({nuclear:.0%} of the pixels are nuclear{hidden})", "%", "")


def _patch(ax: Axes, fingerprint: Fingerprint, marks: Mapping[str, float]) -> None:
    """The median image, the patch and three nuclei to scale."""
    from matplotlib.patches import Circle, Rectangle

    height, width = fingerprint.image_size["median"]
    text = f"image {height} x {width} px"
    ax.add_patch(Rectangle((0, 0), width, height, facecolor="#eef0f3", edgecolor=OUTLINES, label=text))
    side = marks.get("patch")
    if side is not None:
        text = f"patch {side:.0f} px = {side / fingerprint.diameter(50):.1f} diameters"
        ax.add_patch(Rectangle((0, 0), side, side, fill=False, edgecolor=PLANNED, linewidth=2, label=text))
    if side is not None and "overlap" in marks:
        start, overlap = side - marks["overlap"], marks["overlap"]
        text = f"overlap of tiles {overlap:.0f} px"
        ax.add_patch(Rectangle((start, 0), overlap, side, facecolor=SECOND, alpha=0.25, linewidth=0, label=text))
    left = 0.04 * width
    for percent in (5, 50, 95):
        diameter = fingerprint.diameter(percent)
        centre = (left + diameter / 2, 0.04 * height + fingerprint.diameter(95) / 2)
        # One entry in the legend for the three of them.
        text = "nuclei: 5, 50 and 95 %" if percent == 5 else None
        ax.add_patch(Circle(centre, diameter / 2, facecolor=MEASURED, label=text))
        left += diameter + 0.02 * width
    ax.set_xlim(0, max(width, side or 0) * 1.02)
    ax.set_ylim(max(height, side or 0) * 1.02, 0)
    ax.set_aspect("equal")
    _name(ax, "Patch and image, to scale" + (", before enlarging" if marks["scale"] > 1 else ""), "px", "px")


def _histogram(ax: Axes, histogram: Mapping[str, Sequence[float]]) -> None:
    ax.stairs(histogram["counts"], histogram["edges"], fill=True, color=BARS)
    ax.set_xlim(histogram["edges"][0], histogram["edges"][-1])


def _name(ax: Axes, title: str, x: str, y: str) -> None:
    ax.set_title(title, loc="left")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    if entries := len(ax.get_legend_handles_labels()[0]):
        # Below the panel, where it hides nothing.
        columns = 2 if entries > 2 else 1
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=columns, frameon=False, columnspacing=1.2)


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"
