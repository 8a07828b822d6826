"""Evaluation of a folder of predicted label maps against a folder of reference label maps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nucplan.errors import NucplanError
from nucplan.files import write_json
from nucplan.metrics.boundary import boundary_distance
from nucplan.metrics.detection import detection_radius
from nucplan.metrics.image import ImageCounts, evaluate_image
from nucplan.metrics.label_folder import LabelFolder, open_predictions, open_reference
from nucplan.metrics.summary import summarise
from nucplan.progress import Progress, silent


def evaluate_folders(
    predicted: Path,
    reference: Path,
    mpp: float | None = None,
    progress: Progress = silent,
    stems: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Score every image of ``reference``, or those of ``stems``; further predictions are left alone.

    Parameters
    ----------
    predicted, reference
        Folders of label maps, matched by stem; classes are scored where both have them (see ``LabelFolder``).
    mpp
        Microns per pixel; by default what the ``dataset.json`` beside the reference says.
    progress
        Wraps the list of images, for a progress bar: ``progress(items, description)``.
    stems
        The images to score, where not all of ``reference``.

    Returns
    -------
    dict
        What ``summarise`` returns, with ``settings`` (lengths used, px) before it.

    Raises
    ------
    NucplanError
        If a prediction is missing or of another size, or a file is not what it should be; the message names it.
    """
    guess, truth = open_predictions(Path(predicted)), open_reference(Path(reference))
    stems = sorted(truth.maps if stems is None else stems)
    _refuse_missing(guess, stems)
    mpp = truth.mpp if mpp is None else mpp
    if mpp is not None and not mpp > 0:
        raise NucplanError(f"The pixel size {mpp} um is not greater than 0; pass the microns per pixel.")
    typed = truth.has_classes(stems) and guess.has_classes(stems)
    names = _ClassNames(truth)
    # One width for all images, from all reference nuclei: else images could not be compared or pooled.
    width = boundary_distance(_areas(truth, progress(stems, "reading references")))
    images = [
        _evaluate(guess, truth, stem, names if typed else None, mpp, width) for stem in progress(stems, "evaluating")
    ]
    settings = {"mpp": mpp, "detection_radius_px": detection_radius(mpp), "boundary_width_px": width}
    return {"settings": settings} | summarise(images, list(names.ids) if typed else [])


def write_metrics(path: Path, metrics: dict[str, Any]) -> None:
    """Write what ``evaluate_folders`` returned as JSON, with null for NaN."""
    write_json(path, _null_for_nan(metrics))


class _ClassNames:
    """Class name -> id 1..K: the names that the reference declares, or else every name in order of appearance."""

    def __init__(self, reference: LabelFolder) -> None:
        self._declared = reference.class_names
        self.ids = {name: class_id for class_id, name in enumerate(self._declared.values(), start=1)}

    def number(self, classes: dict[int, str], source: Path) -> dict[int, int]:
        names = {nucleus: self._declared.get(value, value) for nucleus, value in classes.items()}
        for name in sorted(set(names.values()) - set(self.ids)):
            if self._declared:
                raise NucplanError(
                    f"{source} has a nucleus of class '{name}', which the reference does not know "
                    f"(it knows: {', '.join(self.ids)}); correct its class table or labels."
                )
            self.ids[name] = len(self.ids) + 1
        return {nucleus: self.ids[name] for nucleus, name in names.items()}


def _refuse_missing(guess: LabelFolder, stems: list[str]) -> None:
    missing = [stem for stem in stems if stem not in guess.maps]
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise NucplanError(f"{guess.path} has no label map for {shown}; predict these images too.")


def _areas(folder: LabelFolder, stems: Iterable[str]) -> np.ndarray:
    areas = [np.unique(folder.labels(stem), return_counts=True) for stem in stems]
    return np.concatenate([counts[ids > 0] for ids, counts in areas])


def _evaluate(
    guess: LabelFolder, truth: LabelFolder, stem: str, names: _ClassNames | None, mpp: float | None, width: int
) -> ImageCounts:
    predicted, reference = guess.labels(stem), truth.labels(stem)
    if predicted.shape != reference.shape:
        raise NucplanError(
            f"{guess.maps[stem]} is {predicted.shape[0]} x {predicted.shape[1]} and {truth.maps[stem]} is "
            f"{reference.shape[0]} x {reference.shape[1]} (height x width); predict on the image that was annotated."
        )
    classes: tuple[dict[int, int] | None, ...] = (None, None)
    if names is not None:
        sides = ((truth, reference), (guess, predicted))
        true, said = (names.number(side.classes(stem, labels), side.maps[stem]) for side, labels in sides)
        classes = (said, true)
    return evaluate_image(predicted, reference, *classes, truth.ignored(stem), mpp, width, stem)


def _null_for_nan(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _null_for_nan(value) for key, value in content.items()}
    return None if isinstance(content, float) and math.isnan(content) else content
