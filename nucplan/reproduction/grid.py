"""What a benchmark was asked for, as plain values and as the words of its command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nucplan.workflow.study import Study

FILE_NAME = "manifest.json"


def grid(study: Study) -> dict[str, Any]:
    """Datasets, configs, folds, seeds and length of a study, as JSON; options that were not given are not in it."""
    options = {
        "injection_blocks": list(study.injection_blocks or ()),
        "native_resolution": study.native_resolution,
        "transfer_to": [dataset.folder_name for dataset in study.transfer_to],
    }
    return {
        "datasets": [dataset.folder_name for dataset in study.datasets],
        "configs": list(study.trainers),
        "folds": list(study.folds),
        "seeds": list(study.seeds),
        "budget": study.budget,
        "iterations": study.iterations,
        "reference": study.reference is not None,
        # Manifests of an earlier nucplan, which had none of these, stay equal.
        **{name: value for name, value in options.items() if value},
    }


def words(asked: Mapping[str, Any]) -> list[str]:
    """The arguments of nucplan_benchmark that ask for this `grid`."""
    options = [f"--{name}={','.join(map(str, asked[name]))}" for name in ("configs", "folds", "seeds")]
    length = "budget" if asked["iterations"] is None else "iterations"
    stock = ["--reference=nnunet"] if asked["reference"] else []
    native = ["--native-resolution"] if asked.get("native_resolution") else []
    lists = [
        f"--{name.replace('_', '-')}={','.join(map(str, asked[name]))}"
        for name in ("injection_blocks", "transfer_to")
        if asked.get(name)
    ]
    return [*asked["datasets"], *options, f"--{length}={asked[length]}", *stock, *native, *lists]
