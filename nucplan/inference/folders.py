"""Prediction of many images, each finished before the next begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2

from nucplan.errors import NucplanError
from nucplan.images import read_image
from nucplan.inference.outputs import is_complete, write_outputs
from nucplan.inference.predictor import Predictor
from nucplan.progress import progress

# An image of this many pixels takes more than a few seconds, so it gets a bar of its own.
LARGE = 2000 * 2000


def predict_images(
    predictor: Predictor,
    images: Mapping[str, Path],
    output: Path,
    mpp: float | None = None,
    geojson_gz: bool = False,
    overwrite: bool = False,
) -> dict[str, int | None]:
    """Predict images by stem into ``output``; those that are complete there are skipped, unless ``overwrite``.

    Grey pictures stored as RGB are accepted where the model takes one channel, and the reverse.

    Returns
    -------
    dict
        Stem to number of nuclei, None where the image was skipped.

    Raises
    ------
    NucplanError
        If ``output`` is where the images lie, or an image cannot be read or has other channels than the model was
        trained on; those before it are complete.
    """
    _refuse_to_write_among(images, output)
    output.mkdir(parents=True, exist_ok=True)
    channels = len(predictor.dataset_json["channel_names"])
    counts: dict[str, int | None] = {}
    for stem, path in progress(images.items(), "Predicting", len(images)):
        if is_complete(output, stem) and not overwrite:
            counts[stem] = None
            continue
        image = _with_channels(read_image(path), channels)
        rows = (lambda rows, stem=stem: progress(rows, f"Tiles of {stem}")) if image.size > LARGE else iter
        try:
            instances = predictor(image, rows)
        except NucplanError as error:
            raise NucplanError(f"{path}: {error}") from None
        write_outputs(output, stem, image, instances, predictor.class_names, mpp, geojson_gz)
        counts[stem] = len(instances.table)
    return counts


def _refuse_to_write_among(images: Mapping[str, Path], output: Path) -> None:
    # A label map is named after its image: it would take the place of a TIFF image.
    if output.resolve() in {path.parent.resolve() for path in images.values()}:
        raise NucplanError(f"{output} holds the images themselves; give another folder to write to.")


def _with_channels(image, channels: int):
    if channels == 3 and image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    if channels == 1 and image.ndim == 3 and (image == image[..., :1]).all():
        return image[..., 0]
    return image
