"""Decisions of a plan, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nucplan.errors import NucplanError


def decision(plans: Mapping[str, Any], name: str) -> Any:
    """The value of one decision of a plans file.

    Raises
    ------
    NucplanError
        If the plan has no such decision: it was made by an older version.
    """
    decisions = plans["nucplan"]["decisions"]
    if name not in decisions:
        raise NucplanError(
            f"The plan has no decision '{name}', it is older than this nucplan; "
            "run nucplan_plan_and_preprocess and train anew."
        )
    return decisions[name]["value"]
