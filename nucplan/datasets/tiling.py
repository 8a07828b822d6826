"""Large fields are cut into tiles; a nucleus that the cut goes through is in both, under its own id in each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nucplan.datasets.annotations.layers import ids_of
from nucplan.datasets.source import Annotated
from nucplan.errors import NucplanError


@dataclass(frozen=True)
class Tiling:
    """Square tiles of ``size`` pixels, neighbours of which share ``overlap`` pixels.

    Raises
    ------
    NucplanError
        If the overlap is negative or not smaller than the tile.
    """

    size: int
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 <= self.overlap < self.size:
            raise NucplanError(
                f"--tile {self.size} with --overlap {self.overlap} cannot be cut; the overlap must be at least 0 and "
                "smaller than the tile."
            )

    def starts(self, length: int) -> list[int]:
        """Where tiles begin along an axis of ``length`` pixels; the last one is moved back to end with the image."""
        if length <= self.size:
            return [0]
        step = self.size - self.overlap
        return [min(start, length - self.size) for start in range(0, length - self.overlap, step)]

    def cut(self, name: str, annotated: Annotated) -> Iterator[tuple[str, Annotated]]:
        """The tiles of one image, by name ``<name>_y00000_x00000``; an image that fits into one keeps its name."""
        height, width = annotated.instances.shape
        rows, cols = self.starts(height), self.starts(width)
        if len(rows) == len(cols) == 1:
            yield name, annotated
            return
        for y in rows:
            for x in cols:
                window = (slice(y, y + self.size), slice(x, x + self.size))
                instances = annotated.instances[window]
                yield (
                    f"{name}_y{y:05d}_x{x:05d}",
                    Annotated(
                        annotated.image[window],
                        instances,
                        {i: annotated.class_of[i] for i in ids_of(instances)},
                        None if annotated.ignored is None else annotated.ignored[window],
                    ),
                )
