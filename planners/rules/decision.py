"""What a rule takes and gives: the limits of the machine, and a value with its reason."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Convolutions on patches of this size gain nothing from more threads.
MOST_CORES = 16


@dataclass(frozen=True)
class Decision:
    """A value of the plan.

    Attributes
    ----------
    value
        Plain JSON.
    because
        The reason, one sentence.
    inputs
        The numbers it was drawn from.
    limit
        The bound that held where the rule could not do what the data ask for, else None.
    overridden
        Whether a user set the value.
    """

    value: Any
    because: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    limit: str | None = None
    overridden: bool = False

    def to_json(self) -> dict[str, Any]:
        """``{"value", "because", "from"}``, with ``"limit"`` and ``"overridden"`` where they say something."""
        content = {"value": self.value, "because": self.because, "from": dict(self.inputs)}
        if self.limit is not None:
            content["limit"] = self.limit
        if self.overridden:
            content["overridden"] = True
        return content


@dataclass(frozen=True)
class Limits:
    """What the plan may use.

    Attributes
    ----------
    device
        "cpu" or "cuda".
    memory_gib
        Memory of that device in GiB.
    cores
        Processor cores of this process, counted up to 16.
    """

    device: str
    memory_gib: float
    cores: int = 2

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda"

    @property
    def name(self) -> str:
        """The device in words, for reasons."""
        return f"GPU with {self.memory_gib:.0f} GiB" if self.on_gpu else f"CPU with {self.cores} core(s)"

    @classmethod
    def detect(cls, device: str = "auto") -> Limits:
        """Limits of this machine; ``auto`` takes the GPU where there is one.

        Raises
        ------
        NucplanError
            If ``cuda`` is asked for and there is none.
        """
        import torch

        from nucplan.devices import device_type, usable_cores

        cores = min(MOST_CORES, usable_cores())
        if device_type(device) == "cuda":
            return cls("cuda", torch.cuda.get_device_properties(0).total_memory / 2**30, cores)
        return cls("cpu", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, cores)


def rounded(value: float) -> int:
    """The nearest integer, halves up: Python's ``round`` would turn 2.5 into 2 and 3.5 into 4."""
    return int(value + 0.5)
