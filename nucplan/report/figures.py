"""What all plots of a report share: size, one look per config, and vector graphics that are equal for equal numbers."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from nucplan.palette import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Yellow, which stands out from tissue, is lost on white paper.
INKS = tuple(COLOURS[k] for k in (6, 2, 3, 5, 4, 1))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
# Of the inks, each time that they come round again.
SHADE = 0.5
STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    # Letters as shapes: they look alike everywhere.
    "svg.fonttype": "path",
    "svg.hashsalt": "nucplan",
    # Without formulas a name may hold a dollar.
    "text.parse_math": False,
}
# Inches that fill a page of 1180 px at 100 px an inch.
WIDTH = 11.8


class Look(NamedTuple):
    """Colour, marker and line of one config: two signs beside the colour."""

    colour: tuple[float, float, float]
    marker: str
    line: str | tuple


def looks(configs: Iterable[str]) -> dict[str, Look]:
    """A look for each config, in order; the first six differ in each of the three, twelve in colour and marker."""
    return {name: _look(place) for place, name in enumerate(configs)}


def _look(place: int) -> Look:
    turn, ink = divmod(place, len(INKS))
    colour = tuple(SHADE**turn * c / 255 for c in INKS[ink])
    # A darker ink has another line than the ink itself.
    return Look(colour, MARKERS[place % len(MARKERS)], LINES[(place + turn) % len(LINES)])


@contextmanager
def canvas(height: float, width: float = WIDTH) -> Iterator[Figure]:
    """An empty figure of so many inches in the style of the report; save it within the block, with `svg`."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def svg(figure: Figure) -> bytes:
    """The figure as SVG, without the time at which it was made."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    written = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(written, metadata={"Date": None, "Creator": None})
    return written.getvalue()


def wrapped(name: str, width: int = 12) -> str:
    """A name of a config or score in lines that fit below a tick."""
    import textwrap

    words = name.replace("_", "_ ").replace("-", "- ")
    lines = textwrap.wrap(words, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(line.replace("_ ", "_").replace("- ", "-") for line in lines)


def with_values(values: Sequence[float | None]) -> tuple[list[int], list[float]]:
    """Places and values of what exists."""
    places = [k for k, value in enumerate(values) if value is not None]
    return places, [values[k] for k in places]
