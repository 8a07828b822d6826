"""What was trained, epoch by epoch: a console line, ``metrics.csv`` and TensorBoard files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from nucplan.files import atomic_path

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class EpochLog:
    """Named numbers per epoch; all epochs have the same names.

    Attributes
    ----------
    history
        One dict per epoch, "epoch" among its keys.
    """

    def __init__(self, history: list[dict[str, float]] | None = None) -> None:
        self.history = history or []
        self._writer: SummaryWriter | None = None
        self._shown = 0

    def add(self, record: dict[str, float]) -> None:
        """Append an epoch."""
        self.history.append(record)

    def line(self) -> str:
        """The last epoch for the console."""
        return "  ".join(f"{name} {value:.3g}" for name, value in self.history[-1].items() if name != "epoch")

    def write(self, folder: Path) -> None:
        """Write all epochs to ``metrics.csv`` in ``folder`` and to ``tensorboard/`` there."""
        if not self.history:
            return
        with atomic_path(folder / "metrics.csv") as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(self.history[0]))
            writer.writeheader()
            writer.writerows(self.history)
        if self._writer is None:
            # Imported on use: it takes a second, and a finished training writes nothing.
            from torch.utils.tensorboard import SummaryWriter

            # A run that goes on writes everything anew, in place of what an interrupted one wrote.
            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=0)
        for record in self.history[self._shown :]:
            for name, value in record.items():
                if name != "epoch":
                    self._writer.add_scalar(name, value, int(record["epoch"]))
        self._shown = len(self.history)
        self._writer.flush()

    def close(self) -> None:
        """Finish the TensorBoard file."""
        if self._writer is not None:
            self._writer.close()
            self._writer, self._shown = None, 0
