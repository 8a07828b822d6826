"""Decisions of a plan, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.layout import CONFIGURATION, PLANS_NAME, Dataset

# The most that stored maps of an encoder may take on disk where nobody says otherwise.
LIMIT_GIB = 16
# Values by which plans say what plans without these decisions, of an earlier nucplan, meant.
NEUTRAL = {
    "adapter": {"injection_blocks": [1, 2, 3, 4]},
    "marker_normalization": None,
    "channels": None,
    "feature_cache": False,
}


def essence(plans: Mapping[str, Any]) -> dict[str, Any]:
    """What results depend on in a plan: its decisions and weights, less reasons, costs and paths.

    Decisions that say nothing of the data (null), and newer ones that leave results as they were (`NEUTRAL`), are left
    out: results are those of plans that did not know them.
    """
    section = plans.get("nucplan") or {}
    decided = {name: one["value"] for name, one in section.get("decisions", {}).items()}
    decisions = {name: value for name, value in decided.items() if value is not None and NEUTRAL.get(name) != value}
    return {
        "configurations": plans.get("configurations"),
        "decisions": decisions,
        "weights": {name: value for name, value in (section.get("weights") or {}).items() if name != "file"} or None,
    }


def overridden(plans: Mapping[str, Any]) -> dict[str, Any]:
    """The decisions that a user set, by name."""
    return {name: one["value"] for name, one in plans["nucplan"]["decisions"].items() if one.get("overridden")}


def data_identifier(dataset: Dataset) -> str:
    """The name of the preprocessed data of the dataset's own plan; the usual one where there is no plan yet."""
    configuration = read_json(dataset.plans())["configurations"][CONFIGURATION] if dataset.plans().is_file() else {}
    return configuration.get("data_identifier", f"{PLANS_NAME}_{CONFIGURATION}")


def panel_decision(plans: Mapping[str, Any]) -> dict[str, Any] | None:
    """The decision 'channels', which is None for grey and RGB; older plans have none and take a fixed panel."""
    found = plans["nucplan"].get("decisions", {}).get("channels")
    return None if found is None else found["value"]


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


def shared_essence(plans: Mapping[str, Any]) -> dict[str, Any]:
    """What a variant of a plan has in common with it: all that results depend on, less adapter and architecture."""
    content = essence(plans)
    configurations = {
        name: {part: value for part, value in one.items() if part != "architecture"}
        for name, one in (content["configurations"] or {}).items()
    }
    decisions = {name: value for name, value in content["decisions"].items() if name != "adapter"}
    return {"configurations": configurations, "decisions": decisions}
