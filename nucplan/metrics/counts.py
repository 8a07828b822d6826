"""Counts that add up: a metric of many images is the metric of the summed counts ("pooled")."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self


class Additive:
    """Mixin for dataclasses whose fields add one by one."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


@dataclass(frozen=True)
class Ratio(Additive):
    """A numerator and a denominator; ``value`` is NaN where there is nothing to measure."""

    numerator: float = 0
    denominator: float = 0

    @property
    def value(self) -> float:
        return self.numerator / self.denominator if self.denominator else float("nan")
