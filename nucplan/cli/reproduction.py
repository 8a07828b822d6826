"""``nucplan_benchmark --reproduce``: the benchmark of a manifest once more, in a folder of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucplan.cli import common
from nucplan.errors import NucplanError

if TYPE_CHECKING:
    from nucplan.reproduction.encoders import Given
    from nucplan.workflow.study import Study

# The manifest says these.
GRID = (
    "--configs", "--folds", "--seeds", "--budget", "--iterations", "--reference",
    "--injection-blocks", "--native-resolution", "--transfer-to", "--encoder", "--break-contract",
)  # fmt: skip
# A reproduction runs on this machine.
ENGINE = ("--executor", "--profile")
FOLDER = "reproduction"


def run_again(arguments: argparse.Namespace, study_of: Callable[[argparse.Namespace], Study]) -> None:
    """Run and compare, by the options of nucplan_benchmark that do not belong to the grid.

    Raises
    ------
    NucplanError
        If the manifest cannot be read, its data are not there, or anything differs.
    """
    from nucplan.layout import Dataset, resolve_roots
    from nucplan.reproduction.encoders import find_encoders
    from nucplan.reproduction.manifest import read_manifest
    from nucplan.reproduction.reproduce import reproduce

    _refuse_grid(arguments)
    original = read_manifest(arguments.reproduce)
    found = study_of(_asked(arguments, original))
    folder = (arguments.output or arguments.reproduce.parent / FOLDER).resolve()
    root = folder / "root"
    study = replace(
        found,
        datasets=tuple(Dataset(resolve_roots(root), dataset.folder_name) for dataset in found.datasets),
        transfer_to=tuple(Dataset(resolve_roots(root), dataset.folder_name) for dataset in found.transfer_to),
        root=str(root),
        output=folder / "benchmark",
        encoders=find_encoders(original, found.datasets, _given(arguments)),
    )
    verdict = reproduce(original, study, found.read, arguments.jobs or 1, print, common.progress)
    print(f"The reproduction agrees with {arguments.reproduce}; all comparisons: {verdict}")


def _refuse_grid(arguments: argparse.Namespace) -> None:
    given = [word.partition("=")[0] for word in arguments.words]
    extra = [*arguments.datasets, *(option for option in GRID if option in given)]
    submits = [option for option in ENGINE if option in given]
    if submits:
        raise NucplanError(f"--reproduce runs on this machine; leave out {submits[0]}.")
    if extra:
        raise NucplanError(f"--reproduce takes all that is trained from the manifest; leave out {extra[0]}.")


def _given(arguments: argparse.Namespace) -> Given:
    from nucplan.networks.encoders.source import resolve_weights
    from nucplan.reproduction.encoders import Given

    weights = None if arguments.weights is None else resolve_weights(arguments.weights)
    return Given(weights, arguments.marker_embeddings, arguments.marker_table)


def _asked(arguments: argparse.Namespace, original: dict[str, Any]) -> argparse.Namespace:
    """The arguments as if the grid of the manifest had been given; the device too, where none was."""
    grid, device = original["study"], original["environment"].get("device", "auto")
    lists = {name: ",".join(map(str, grid[name])) for name in ("configs", "folds", "seeds")}
    length = {"budget": grid["budget"], "iterations": grid["iterations"]}
    options = {name: ",".join(map(str, grid.get(name, []))) or None for name in ("injection_blocks", "transfer_to")}
    return argparse.Namespace(
        **vars(arguments)
        | {"datasets": grid["datasets"], "reference": grid["reference"], "output": Path()}
        | {"device": device if arguments.device == "auto" else arguments.device}
        # Each dataset has its own encoder, which is found by its hash.
        | {"encoder": None, "weights": None, "marker_embeddings": None, "marker_table": None}
        | {"native_resolution": grid.get("native_resolution", False)}
        | lists
        | length
        | options
    )
