"""What a user decided of a plan, whatever the rules say; trainings under another plan stand in its way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucplan.files import read_json
from nucplan.layout import FINAL
from nucplan.plans import decision
from nucplan.workflow.pretrained import Pretrained

WAY_OUT = "move that folder away to train anew, or give another --root"


@dataclass(frozen=True)
class Decided:
    """A decision that a plan has to have.

    Attributes
    ----------
    plan
        It may not be there yet.
    name, value
        Of the decision.
    models
        Folders of trainings, which a plan that is made anew would leave behind.
    """

    plan: Path
    name: str
    value: Any
    models: tuple[Path, ...] = ()

    def difference(self) -> str | None:
        """In words that end a sentence, where there is a plan with another value."""
        if self.plan.is_file() and decision(read_json(self.plan), self.name) != self.value:
            return f"{self.plan} has another {self.name} than {self.value}"
        return None

    def problem(self) -> str | None:
        """A sentence where a model was trained under another value."""
        for model, plans in _trained(self.models):
            if decision(plans, self.name) != self.value:
                return f"{model} was trained with a plan whose {self.name} is not {self.value}; {WAY_OUT}."
        return None


@dataclass(frozen=True)
class PlannedFor:
    """A pretrained encoder that a plan has to be for; ``plan`` and ``models`` are those of `Decided`."""

    plan: Path
    encoder: Pretrained
    models: tuple[Path, ...] = ()

    def difference(self) -> str | None:
        """In words that end a sentence, where there is a plan for another encoder, or for none."""
        if self.plan.is_file() and Pretrained.of_plan(read_json(self.plan)) != self.encoder:
            return f"{self.plan} is not for the encoder {self.encoder.name} with {self.encoder.weights}"
        return None

    def problem(self) -> str | None:
        """A sentence where a model was trained with other weights; where their file lies does not matter."""
        for model, plans in _trained(self.models):
            planned = Pretrained.of_plan(plans)
            if planned is None or (planned.name, planned.sha256) != (self.encoder.name, self.encoder.sha256):
                return (
                    f"{model} was trained with a plan that is not for the encoder {self.encoder.name} with "
                    f"{self.encoder.weights}; {WAY_OUT}."
                )
        return None


def _trained(models: Sequence[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Those with a finished fold, and the plan of each."""
    for model in models:
        if any(model.glob(f"fold_*/{FINAL}")):
            yield model, read_json(model / "plans.json")
