"""The pretrained encoder that a dataset is planned for, as a user asks for it and as a plan remembers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucplan.files import file_hash

if TYPE_CHECKING:
    from planners.pretrained import EncoderRequest


@dataclass(frozen=True)
class Pretrained:
    """What nucplan_plan_and_preprocess needs to plan for the same encoder again.

    Attributes
    ----------
    name
        Of the encoder (`nucplan.networks.encoders.registry`).
    weights, sha256
        Its file, and the hash of that.
    marker_embeddings, marker_table
        Files of an encoder of markers; None where none was given.
    break_contract
        Plan even where the encoder would see other images than it was trained on.
    """

    name: str
    weights: Path
    sha256: str
    marker_embeddings: Path | None = None
    marker_table: Path | None = None
    break_contract: bool = False

    @classmethod
    def of_plan(cls, plans: Mapping[str, Any]) -> Pretrained | None:
        """The one that a plan is for; None where it is for none."""
        section = plans["nucplan"]
        request, record = section.get("encoder_request"), section.get("weights")
        if request is None:
            return None
        files = (request[name] and Path(request[name]) for name in ("marker_embeddings", "marker_table"))
        return cls(request["name"], Path(record["file"]), record["sha256"], *files, request["break_contract"])

    @classmethod
    def of_request(cls, request: EncoderRequest) -> Pretrained:
        """The one that a user asks for, whose file is read for its hash."""
        files = (path and path.resolve() for path in (request.marker_embeddings, request.marker_table))
        weights = request.weights.resolve()
        return cls(request.name, weights, file_hash(weights), *files, request.break_contract)

    @property
    def options(self) -> list[str]:
        """The words for nucplan_plan_and_preprocess."""
        files = {"marker-embeddings": self.marker_embeddings, "marker-table": self.marker_table}
        words = [f"--encoder={self.name}", f"--weights={self.weights}"]
        words += [f"--{option}={path}" for option, path in files.items() if path is not None]
        return [*words, *(["--break-contract"] if self.break_contract else [])]
