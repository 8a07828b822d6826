"""Prediction of many images, each finished before the next begins."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from nucplan.errors import NucplanError
from nucplan.files import read_json, write_json
from nucplan.images import read_image
from nucplan.inference.outputs import is_complete, write_outputs
from nucplan.inference.predictor import Predictor
from nucplan.progress import progress

# An image of this many pixels takes more than a few seconds, so it gets a bar of its own.
LARGE = 2000 * 2000
RECORD = "prediction.json"


def predict_images(
    predictor: Predictor,
    images: Mapping[str, Path],
    output: Path,
    mpp: float | None = None,
    geojson_gz: bool = False,
    overwrite: bool = False,
) -> dict[str, int | None]:
    """Predict images by stem into ``output``; those that are complete there are skipped, unless ``overwrite``.

    ``prediction.json`` in ``output`` records which weights made the predictions; those of one model stay together.
    Grey pictures stored as RGB are accepted where the model takes one channel, and the reverse.

    Returns
    -------
    dict
        Stem to number of nuclei, None where the image was skipped.

    Raises
    ------
    NucplanError
        If ``output`` is where the images lie or holds predictions of another model, or an image cannot be read or
        has other channels than the model was trained on; the images before it are complete.
    """
    _refuse_to_write_among(images, output)
    output.mkdir(parents=True, exist_ok=True)
    if not overwrite:
        _refuse_other_model(predictor.record, images, output)
    write_json(output / RECORD, predictor.record)
    channels = len(predictor.dataset_json["channel_names"])
    counts: dict[str, int | None] = {}
    for stem, path in progress(images.items(), "Predicting", len(images)):
        if is_complete(output, stem) and not overwrite:
            counts[stem] = None
            continue
        image = _with_channels(read_image(path), channels)
        large = image.shape[0] * image.shape[1] > LARGE
        try:
            instances = predictor(image, partial(progress, description=f"Tiles of {stem}") if large else iter)
        except NucplanError as error:
            raise NucplanError(f"{path}: {error}") from None
        write_outputs(output, stem, image, instances, predictor.class_names, mpp, geojson_gz)
        counts[stem] = len(instances.table)
    return counts


def _refuse_to_write_among(images: Mapping[str, Path], output: Path) -> None:
    # A label map is named after its image: it would take the place of a TIFF image.
    if output.resolve() in {path.parent.resolve() for path in images.values()}:
        raise NucplanError(f"{output} holds the images themselves; give another folder to write to.")


def _refuse_other_model(record: dict[str, Any], images: Mapping[str, Path], output: Path) -> None:
    kept = [stem for stem in images if is_complete(output, stem)]
    if kept and (output / RECORD).is_file() and read_json(output / RECORD) != record:
        raise NucplanError(
            f"{output} holds predictions of another model or other settings ({kept[0]}); "
            "give another folder, or --overwrite."
        )


def _with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    if channels == 3 and image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    if channels == 1 and image.ndim == 3 and (image == image[..., :1]).all():
        return image[..., 0]
    return image
