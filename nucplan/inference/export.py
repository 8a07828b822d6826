"""A trained ensemble as one folder that predicts on any machine: networks, plan and classes, nothing of the data."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from nucplan.checkpoints import load_checkpoint, save_checkpoint
from nucplan.errors import NucplanError
from nucplan.files import atomic_path, read_json, write_json
from nucplan.inference.choice import read_choice, with_decoder
from nucplan.inference.predictor import DATASET, ORIGIN, PLANS, chosen_by, made_by, refuse_foreign, trained_folds
from nucplan.layout import FINAL

# What prediction reads and what may be known; the rest tells how to train on, on which cases and where.
NETWORK = ("network_kwargs", "network_weights")
CLASSES = ("channel_names", "labels", "numTraining", "file_ending", "overwrite_image_reader_writer")
SOURCE = ("mpp", "markers", "factors", "licence", "source")


def export_model(model: Path, target: Path) -> int:
    """Write the finished folds of a model folder to a new folder, with what prediction needs and no more.

    Left out are the optimisers, which are most of a checkpoint, and what tells of the training data or the machine:
    names of cases, their groups (patients), paths. `nucplan.inference.predictor.Predictor.from_folder` reads the
    result, and predicts what it predicts from ``model``.

    Returns
    -------
    int
        How many folds there were.

    Raises
    ------
    NucplanError
        If no fold is finished, a file of ``model`` is missing or damaged, or ``target`` exists; nothing is written
        then.
    """
    checkpoints = trained_folds(model)
    networks = {path.parent.name: path for path in checkpoints}
    _write(networks, read_json(model / PLANS), read_json(model / DATASET), made_by(model, checkpoints), target)
    return len(checkpoints)


def export_choice(results: Path, target: Path) -> int:
    """Write the ensemble of ``inference.json`` to a new folder, as `export_model` writes that of one model.

    Its plan decodes as was chosen. Networks of several configs lie in ``fold_<k>_<config>``.

    Parameters
    ----------
    results : path
        The folder of all models of a dataset.
    target : path

    Returns
    -------
    int
        How many networks there were.

    Raises
    ------
    NucplanError
        As `export_model`, and if ``inference.json`` or a network that it names is missing or another one than it was.
    """
    choice = read_choice(results)
    checkpoints = choice.checkpoints(results)
    config_of = {model: config for config, model in choice.configs.items()}
    several = len(config_of) > 1
    networks = {
        path.parent.name + (f"_{config_of[path.parents[1].name]}" if several else ""): path for path in checkpoints
    }
    folder = choice.folder(results)
    boundary = any(load_checkpoint(path)["network_kwargs"].get("boundary_strides") for path in checkpoints)
    plans = with_decoder(read_json(folder / PLANS), choice.decoder, boundary)
    _write(networks, plans, read_json(folder / DATASET), chosen_by(choice, results), target)
    return len(checkpoints)


def _write(
    networks: Mapping[str, Path],
    plans: dict[str, Any],
    dataset_json: dict[str, Any],
    origin: dict[str, Any],
    target: Path,
) -> None:
    """Write networks by the name of their folder, and what they need; whole or not at all."""
    if target.exists():
        raise NucplanError(f"{target} exists already; name a folder that does not, or move that one away.")
    with atomic_path(target) as temporary:
        temporary.mkdir()
        for name, checkpoint in networks.items():
            content = load_checkpoint(checkpoint)
            refuse_foreign(content, checkpoint)
            (temporary / name).mkdir()
            save_checkpoint({key: content[key] for key in NETWORK}, temporary / name / FINAL)
        write_json(temporary / PLANS, _without_cases(plans))
        write_json(temporary / DATASET, _without_data(dataset_json))
        write_json(temporary / ORIGIN, origin)


def _without_cases(plans: dict[str, Any]) -> dict[str, Any]:
    """The plan without its remarks, which name cases, and without paths of pretrained weights."""
    found = deepcopy(plans)
    found["nucplan"]["warnings"] = []
    if weights := found["nucplan"].get("weights"):
        weights["file"] = Path(weights["file"]).name
    found["nucplan"].pop("encoder_request", None)
    return found


def _without_data(dataset_json: dict[str, Any]) -> dict[str, Any]:
    nuclei = dataset_json.get("nuclei") or {}
    kept = {key: dataset_json[key] for key in CLASSES if key in dataset_json}
    return kept | {"nuclei": {key: nuclei[key] for key in SOURCE if key in nuclei}}
