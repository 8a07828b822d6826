"""Learning rate and gate strength as pure functions of the iteration: a resumed run needs no scheduler state."""

from __future__ import annotations

import math
from dataclasses import dataclass

EPOCH = 50
BUDGETS = ("quick", "standard", "full")


@dataclass(frozen=True)
class CosineRestarts:
    """Linear warm-up, then cosine annealing with warm restarts (Loshchilov & Hutter 2017).

    Attributes
    ----------
    iterations
        Length of the run.
    peak, floor
        Largest and smallest learning rate.
    period
        Wanted cycle length in iterations. Runs shorter than two periods have one cycle; in longer ones the period is
        stretched or shrunk so that the last cycle ends with the run.
    warmup
        Share of the run in which the rate rises linearly.
    """

    iterations: int
    peak: float = 5e-4
    floor: float = 1e-6
    period: int = 20 * EPOCH
    warmup: float = 0.05

    @property
    def cycles(self) -> int:
        return 1 if self.iterations < 2 * self.period else round(self.iterations / self.period)

    def __call__(self, iteration: int) -> float:
        """The learning rate of iteration 0, 1, ..., iterations - 1."""
        cycle = self.iterations / self.cycles
        position = (iteration % cycle) / max(1.0, cycle - 1)
        annealed = self.floor + (self.peak - self.floor) * (1 + math.cos(math.pi * min(1.0, position))) / 2
        return annealed * min(1.0, (iteration + 1) / max(1.0, self.warmup * self.iterations))


@dataclass(frozen=True)
class GateWarmUp:
    """Strength of the boundary gate: 0 at first, then a line up to ``alpha``, which holds to the end.

    Attributes
    ----------
    iterations
        Length of the run.
    alpha
        Final strength.
    start, full
        Shares of the run at which the gate begins to open and is open.
    """

    iterations: int
    alpha: float
    start: float
    full: float

    def __call__(self, iteration: int) -> float:
        """The strength at iteration 0, 1, ..., iterations - 1."""
        share = iteration / self.iterations
        if share >= self.full:
            return self.alpha
        if share <= self.start:
            return 0.0
        return self.alpha * (share - self.start) / (self.full - self.start)


def epochs(iterations: int) -> tuple[int, int]:
    """Cut a run into epochs of about 50 iterations: (number of epochs, iterations in each)."""
    count = math.ceil(iterations / EPOCH)
    return count, math.ceil(iterations / count)
