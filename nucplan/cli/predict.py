"""``nucplan_predict``: nuclei of new images with the ensemble of all trained folds, or with a CellViT."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from nucplan.cli import common
from nucplan.cli.models import chosen_or_named
from nucplan.errors import NucplanError
from nucplan.layout import CHOICE, activate, find_dataset, resolve_roots
from trainers import CONFIGS, DEFAULT_CONFIG

if TYPE_CHECKING:
    from nucplan.inference.cellvit import CellViTPredictor
    from nucplan.inference.predictor import Predictor

EXAMPLES = """\
  nucplan_predict 7 slides/ nuclei/
  nucplan_predict Breast biopsy.png nuclei/ --mirror --gz
  nucplan_predict Breast scans_20x/ nuclei/ --mpp 0.5
  nucplan_predict Breast biopsy.png nuclei/ --explain-boundary
  nucplan_predict models/breast slides/ nuclei/        the folder that nucplan_export wrote
  nucplan_predict CellViT-256-x40.pth slides/ nuclei/  a CellViT checkpoint
  nucplan_predict Panel fields/ nuclei/                OME-TIFF of any markers that the model knows"""

# A MODEL so named is meant as a file even where there is none.
WEIGHT_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")
NNUNET_FOLDERS = ("imagesTr", "imagesTs")
CHANNEL_FILE = re.compile(r"(?P<case>.+)_\d{4}")


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser(
        "nucplan_predict",
        "Find, outline and classify the nuclei of images: per image a label map (TIFF), a table (CSV), outlines for "
        "QuPath (GeoJSON) and an overlay picture (PNG). The files are named after their image; in an nnU-Net folder "
        "(imagesTr, imagesTs) after the case, without _0000.",
        EXAMPLES,
    )
    made.add_argument(
        "model",
        metavar="MODEL",
        help="id or name of the dataset whose trained folds are used, an exported folder, or the file of a CellViT",
    )
    made.add_argument(
        "input",
        metavar="INPUT",
        type=Path,
        help="an image, or a folder of PNG, JPEG, TIFF images; for a model on multiplex images TIFFs whose planes are "
        "named (OME-TIFF, MIBItiff, or a markers.csv beside them), or an nnU-Net folder with a file per channel",
    )
    made.add_argument(
        "output", metavar="OUTPUT", type=Path, help="folder to write to; images that are done there are skipped"
    )
    made.add_argument(
        "--config",
        choices=list(CONFIGS),
        help=f"default: the ensemble that nucplan_benchmark chose, or else {DEFAULT_CONFIG}",
    )
    made.add_argument("--plans", metavar="NAME", help="which plans, where others than the dataset's own were trained")
    made.add_argument(
        "--mpp",
        metavar="UM",
        type=float,
        help="microns per pixel of INPUT: for lengths in microns, and to resample images to the pixel size of the "
        "training data (default: taken to be that of the training data)",
    )
    made.add_argument("--mirror", action="store_true", help="average over four mirrorings: better, four times slower")
    made.add_argument("--gz", action="store_true", help="compress the GeoJSON (QuPath opens .geojson.gz)")
    made.add_argument(
        "--explain-boundary",
        action="store_true",
        help="also show why touching nuclei were parted or not: <image>_boundary.png (boundary, gate, decisions) and "
        "<image>_splits.csv (one row per pass); for configs with a boundary head",
    )
    made.add_argument("--overwrite", action="store_true", help="predict images anew that are done in OUTPUT")
    made.add_argument(
        "--skip-bad",
        action="store_true",
        help="list images that cannot be read or do not fit the model instead of stopping at the first",
    )
    common.add_device(made)
    return common.run(_command, made, argv)


def _command(arguments: argparse.Namespace) -> None:
    cellvit = _is_file(Path(arguments.model))
    folder, chosen = (Path(arguments.model), False) if cellvit else _model(arguments)
    if cellvit:
        _refuse_options(arguments, "CellViT model", "config", "plans", "explain_boundary")
    images = _images(arguments.input)
    # nnU-Net asks for its folders; prediction needs none of them.
    activate(resolve_roots(arguments.root), make=False)

    from nucplan.inference.folders import predict_images, refuse_output
    from nucplan.inference.pixel_size import scale_to_model

    refuse_output(images, arguments.output)
    predictor = _cellvit(arguments) if cellvit else _ensemble(arguments, folder, chosen)
    model_mpp = predictor.mpp
    scale = scale_to_model(arguments.mpp, model_mpp)
    mpp = model_mpp if arguments.mpp is None else arguments.mpp
    notes: list[str] = []
    refused: list[NucplanError] = []
    counts = predict_images(
        predictor,
        images,
        arguments.output,
        mpp,
        arguments.gz,
        arguments.overwrite,
        scale,
        arguments.explain_boundary,
        notes.append,
        refused.append if arguments.skip_bad else None,
    )
    if refused:
        print(f"{len(refused)} image(s) were skipped:", *refused, sep="\n  ")
    if not counts:
        raise NucplanError(f"No image of {arguments.input} could be predicted; the list above says why.")
    print(_report(counts, len(predictor.networks), arguments.output))
    for note in notes:
        print(note)
    if chosen:
        print(f"with the ensemble of {folder / CHOICE}; --config names another one.")
    if arguments.mpp is None and model_mpp is not None:
        print(f"assuming {model_mpp:g} um per pixel, as in training; --mpp says otherwise.")


def _ensemble(arguments: argparse.Namespace, folder: Path, chosen: bool) -> Predictor:
    from nucplan.devices import choose_device
    from nucplan.inference.predictor import Predictor

    load = Predictor.from_choice if chosen else Predictor.from_folder
    predictor = load(folder, choose_device(arguments.device), arguments.mirror)
    if arguments.explain_boundary and not predictor.has_boundary:
        model = f"The config '{arguments.config}'" if arguments.config else f"The ensemble of {folder}"
        raise NucplanError(
            f"{model} has no boundary head for --explain-boundary to show; "
            f"take a model of another --config ({DEFAULT_CONFIG} has one), or leave the option out."
        )
    return predictor


def _cellvit(arguments: argparse.Namespace) -> CellViTPredictor:
    from nucplan.devices import choose_device
    from nucplan.inference.cellvit import CellViTPredictor

    predictor = CellViTPredictor.from_file(Path(arguments.model), choose_device(arguments.device), arguments.mirror)
    print(f"{arguments.model}: {predictor.info.title}, licence of the weights: {predictor.info.licence}")
    return predictor


def _is_file(model: Path) -> bool:
    """Whether MODEL is a file of weights rather than the name of a dataset or a folder."""
    if model.suffix in WEIGHT_SUFFIXES and not model.exists():
        raise NucplanError(f"There is no file {model}; check the path.")
    return model.is_file()


def _refuse_options(arguments: argparse.Namespace, kind: str, *names: str) -> None:
    """Refuse options that say nothing of a MODEL that is ``kind``."""
    given = [name for name in names if getattr(arguments, name)]
    if given:
        option = given[0].replace("_", "-")
        raise NucplanError(f"{arguments.model} is one {kind}, for which --{option} says nothing; leave it out.")


def _model(arguments: argparse.Namespace) -> tuple[Path, bool]:
    """The folder of the ensemble, and whether it holds a choice among models rather than one of them.

    It is an exported one, or else that of a dataset's config and plans where these are named or nothing was chosen.
    """
    exported = Path(arguments.model)
    if not (exported / "plans.json").is_file():
        if len(exported.parts) > 1 or exported.is_absolute() or (exported.is_dir() and not _is_dataset(arguments)):
            raise NucplanError(f"{exported} is no exported model (it has no plans.json); check the path.")
        dataset = find_dataset(resolve_roots(arguments.root), arguments.model)
        return chosen_or_named(dataset, arguments.config, arguments.plans)
    _refuse_options(arguments, "ensemble", "config", "plans")
    return exported, False


def _is_dataset(arguments: argparse.Namespace) -> bool:
    """Whether MODEL is the id or name of a dataset; a folder may have such a name as well."""
    try:
        find_dataset(resolve_roots(arguments.root), arguments.model)
    except NucplanError:
        return False
    return True


def _images(source: Path) -> dict[str, Path | list[Path]]:
    """The images of a file or folder by the name of their output; those of nnU-Net's folders by case, with channels."""
    from nucplan.images import IMAGE_SUFFIXES, images_by_stem

    single = source.is_file()
    images = {source.stem: source} if single else images_by_stem(source)
    if not images:
        raise NucplanError(f"{source} holds no image ({', '.join(IMAGE_SUFFIXES)}).")
    folder = source.resolve().parent if single else source.resolve()
    cases = [CHANNEL_FILE.fullmatch(stem) for stem in images]
    if folder.name not in NNUNET_FOLDERS or not all(cases):
        return _without_ome(images)
    if single:
        case = cases[0]["case"]
        images = {path.stem: path for path in sorted(source.parent.glob(f"{escape(case)}_????{source.suffix}"))}
    found: dict[str, list[Path]] = {}
    for stem, path in images.items():
        if match := CHANNEL_FILE.fullmatch(stem):
            found.setdefault(match["case"], []).append(path)
    return {case: paths[0] if len(paths) == 1 else paths for case, paths in found.items()}


def _without_ome(images: dict[str, Path]) -> dict[str, Path]:
    """``x.ome.tif`` is the image x, unless there is another one of that name."""
    named = {stem.removesuffix(".ome"): path for stem, path in images.items()}
    return named if len(named) == len(images) else images


def _report(counts: dict[str, int | None], networks: int, output: Path) -> str:
    done = [count for count in counts.values() if count is not None]
    kept = len(counts) - len(done)
    lines = [f"{sum(done)} nuclei in {len(done)} image(s), {networks} network(s) averaged: {output}"]
    if kept:
        lines.append(f"{kept} image(s) were done before and are kept; --overwrite predicts them anew.")
    return "\n".join(lines)
