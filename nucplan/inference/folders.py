"""Prediction of many images, each finished before the next begins."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from nucplan.errors import NucplanError
from nucplan.explanation import BoundaryExplanation
from nucplan.images import read_image
from nucplan.inference.explained import predict_explained
from nucplan.inference.interface import NucleusFinder
from nucplan.inference.outputs import (
    SPLITS,
    is_complete,
    is_explained,
    remove_outputs,
    splits_stem,
    write_outputs,
)
from nucplan.inference.panel_reader import PanelReader
from nucplan.inference.pixel_size import predict_at_scale
from nucplan.inference.record import prediction_entry, read_entries, write_entry
from nucplan.instances import Instances
from nucplan.progress import progress


def predict_images(
    predictor: NucleusFinder,
    images: Mapping[str, Path | Sequence[Path]],
    output: Path,
    mpp: float | None = None,
    geojson_gz: bool = False,
    overwrite: bool = False,
    scale: float = 1.0,
    explain_boundary: bool = False,
    note: Callable[[str], None] = lambda _sentence: None,
    refused: Callable[[NucplanError], None] | None = None,
) -> dict[str, int | None]:
    """Predict images by stem into ``output``; those that are complete there are skipped, unless ``overwrite``.

    ``prediction.json`` in ``output`` records for each image which file and which weights and settings made its
    nuclei; only what would be made again just so is skipped. Grey pictures stored as RGB are accepted where the model
    takes one channel, and the reverse.

    Parameters
    ----------
    predictor : NucleusFinder
    images : mapping of stem to file
        Or to the files of its channels.
    output : path
        Made when missing.
    mpp : float, optional
        Microns per pixel of the images; adds lengths in microns.
    geojson_gz : bool
        Compress the outlines.
    overwrite : bool
        Predict all images anew.
    scale : float
        Images are enlarged by it for the network (see `nucplan.inference.pixel_size`); the nuclei keep their size.
    explain_boundary : bool
        Write a picture and a table of why nuclei were parted, too; images that are complete without them are
        predicted again. Needs a `nucplan.inference.predictor.Predictor` with boundary heads.
    note : callable
        Gets a sentence where a multiplex image lacks markers, or has others than the model, and where a 16-bit image
        for a model of fixed colours seems to hold fewer bits.
    refused : callable, optional
        Gets the error of an image that cannot be predicted, and the run goes on to the next one; without it, the first
        such image ends the run.

    Returns
    -------
    dict
        Stem to number of nuclei, None where the image was skipped as done; refused ones are not in it.

    Raises
    ------
    NucplanError
        Before any work, if `refuse_output` does, ``output`` cannot be written to or holds nuclei of an image that were
        made otherwise, or an image is named as the table of splits of another one, given or in ``output``; in its
        course, without ``refused``, if an image cannot be read or has other channels than the model was trained on; the
        images before it are complete.
    """
    refuse_output(images, output)
    images = {stem: _files(found) for stem, found in images.items()}
    _refuse_shared_tables(images, output)
    reader = predictor.panel_reader
    settings = {"model": predictor.record, "mpp": mpp, "options": {"scale": scale, "geojson_gz": geojson_gz}}
    kept = set() if overwrite else _complete_images(images, output, settings)
    if explain_boundary:
        kept = {stem for stem in kept if is_explained(output, stem)}
    if len(kept) < len(images):
        _refuse_unwritable(output)
    counts: dict[str, int | None] = {}
    for stem, files in progress(images.items(), "Predicting", len(images)):
        if stem in kept:
            counts[stem] = None
            continue
        try:
            entry = _entry(files, settings)
            image, notes = _read(files, reader, predictor)
            instances, explanation = _predict(predictor, image, files[0], scale, explain_boundary)
        except NucplanError as error:
            if refused is None:
                raise
            refused(error)
            continue
        for sentence in notes:
            note(sentence)
        # Not before there is something to put in it.
        output.mkdir(parents=True, exist_ok=True)
        # The entry stands before the label map, which says that all is done, and after the map of an earlier run.
        remove_outputs(output, stem)
        write_entry(output, stem, entry)
        write_outputs(
            output,
            stem,
            image,
            instances,
            predictor.class_names,
            mpp,
            geojson_gz,
            explanation=explanation,
            markers=None if reader is None else reader.markers,
        )
        counts[stem] = len(instances.table)
    return counts


def refuse_output(images: Mapping[str, Path | Sequence[Path]], output: Path) -> None:
    """Refuse a folder that cannot be written to, before anything is loaded or made.

    Raises
    ------
    NucplanError
        If ``output`` or a folder above it is a file, or ``output`` is where the images lie.
    """
    existing = _nearest(output)
    if not existing.is_dir():
        raise NucplanError(f"{existing} is a file; give a folder to write to.")
    # A label map is named after its image: it would take the place of a TIFF image.
    if output.resolve() in {path.parent.resolve() for found in images.values() for path in _files(found)}:
        raise NucplanError(f"{output} holds the images themselves; give another folder to write to.")


def _nearest(output: Path) -> Path:
    """``output``, or the first folder above it that is there."""
    return next(path for path in (output, *output.absolute().parents) if path.exists())


def _refuse_unwritable(output: Path) -> None:
    """Before the first image is predicted, and not after it."""
    folder = _nearest(output)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise NucplanError(f"{folder} cannot be written to; give another folder for the predictions.")


def _entry(files: Sequence[Path], settings: dict[str, Any]) -> dict[str, Any]:
    try:
        return prediction_entry(files, settings)
    except OSError as error:
        raise NucplanError(f"{error.filename or files[0]} cannot be read: {error.strerror or error}.") from None


def _files(found: Path | Sequence[Path]) -> tuple[Path, ...]:
    return (found,) if isinstance(found, Path) else tuple(found)


def _refuse_shared_tables(images: Mapping[str, Sequence[Path]], output: Path) -> None:
    """Refuse ``x`` and ``x_splits`` in one folder, whatever the options: an explanation may be asked for later."""
    named = {path.stem: path for path in output.glob("*.tif")} | {stem: files[0] for stem, files in images.items()}
    for stem, path in named.items():
        other = splits_stem(stem)
        # A pair of which neither is given is none of this run's business.
        if other in named and not images.keys().isdisjoint((stem, other)):
            raise NucplanError(
                f"{path} and {named[other]} would share the table {stem}{SPLITS}; "
                "rename one of them, or give another folder."
            )


def _complete_images(images: Mapping[str, Sequence[Path]], output: Path, settings: dict[str, Any]) -> set[str]:
    """Stems whose nuclei are there and would be made again just so; those that would not are refused."""
    entries = read_entries(output)
    complete = {stem for stem in images if is_complete(output, stem)}
    for stem in sorted(complete):
        there, now = entries.get(stem), prediction_entry(images[stem], settings)
        if there != now:
            found = _difference(there, now)
            raise NucplanError(f"{output} holds predictions of {found} ({stem}); give another folder, or --overwrite.")
    return complete


def _difference(there: dict[str, Any] | None, now: dict[str, Any]) -> str:
    if there is None:
        return "unknown origin"
    if there | {"image": now["image"]} == now:
        return "another image of the same name"
    return "another model or other settings"


def _read(
    files: Sequence[Path], reader: PanelReader | None, predictor: NucleusFinder
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The image with the channels of the model, and notes on its markers."""
    if reader is not None:
        return reader.read(files)
    if len(files) > 1:
        raise NucplanError(
            f"{files[0]} is one of {len(files)} channels of its case, but the model was trained on grey or RGB images; "
            "take the model that fits, or give a folder of images."
        )
    image = read_image(files[0])
    notes = _on_fewer_bits(image, files[0]) if predictor.white_is_65535 else ()
    return _with_channels(image, predictor.channels), notes


def _on_fewer_bits(image: np.ndarray, path: Path) -> tuple[str, ...]:
    """A note where the content of 16 bits seems to be one of 8 or 12, which would be seen as black."""
    highest = int(image.max()) if image.dtype == np.uint16 else 0
    bits = next((bits for bits in (8, 12) if 0 < highest < 2**bits), None)
    if bits is None:
        return ()
    return (f"{path} looks like {bits}-bit content in 16 bits (its brightest value is {highest}); rescale it.",)


def _predict(
    predictor: NucleusFinder, image: np.ndarray, path: Path, scale: float, explain_boundary: bool
) -> tuple[Instances, BoundaryExplanation | None]:
    bar = partial(progress, description=f"Tiles of {path.stem}")
    try:
        if explain_boundary:
            return predict_explained(predictor, image, scale, bar)
        return predict_at_scale(predictor, image, scale, bar), None
    except NucplanError as error:
        raise NucplanError(f"{path}: {error}") from None


def _with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    if channels == 3 and image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    if channels == 1 and image.ndim == 3 and (image == image[..., :1]).all():
        return image[..., 0]
    return image
