"""From an instance map with classes, per pixel or per id, to an annotated image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nucplan.datasets.annotations.layers import MIXED, counted, ids_of, majority_classes
from nucplan.datasets.source import Annotated
from nucplan.errors import NucplanError
from nucplan.images import checked_label_map

CLASSLESS = "nuclei without a class, where nothing is learned"
PIXELLESS = "nuclei that have a class but no pixel"


def label_plane(array: np.ndarray, origin: object) -> np.ndarray:
    """``array`` as ``(H, W)`` int32 ids or class numbers, whatever whole numbers it holds.

    Raises
    ------
    NucplanError
        If it has another number of axes, or values that are negative, fractional or beyond int32.
    """
    if array.ndim != 2:
        raise NucplanError(
            f"{origin} holds an array of shape {array.shape}, not one (height, width) of ids; correct it."
        )
    return checked_label_map(array, str(origin))


def classes_by_pixel(
    image: np.ndarray, instances: np.ndarray, types: np.ndarray, classes: int, origin: object
) -> Annotated:
    """An image whose nuclei get the most frequent class of their pixels; see `classes_by_id` for class 0.

    Parameters
    ----------
    image : (H, W) or (H, W, 3)
    instances, types : (H, W), ids and class numbers; 0 is background
    classes : number of classes
    origin : what messages name

    Raises
    ------
    NucplanError
        If the two maps differ in size, or hold anything but whole numbers from 0 and classes up to ``classes``.
    """
    instances, types = label_plane(instances, origin), label_plane(types, origin)
    if types.shape != instances.shape:
        raise NucplanError(f"{origin}: ids are {instances.shape} pixels and classes {types.shape}; export it again.")
    if types.max(initial=0) > classes:
        raise NucplanError(f"{origin} holds the class {types.max()}, not 0 to {classes}; correct it.")
    class_of, mixed = majority_classes(instances, types)
    return classes_by_id(image, instances, class_of, counted([(MIXED, mixed)]))


def classes_by_id(
    image: np.ndarray, instances: np.ndarray, class_of: Mapping[int, int], remarks: Mapping[str, int] | None = None
) -> Annotated:
    """An image whose nuclei have their class from a table.

    Nuclei of class 0 become an area to ignore: a network must not learn that they are background. Entries of the
    table that have no pixel are counted and left.
    """
    present = set(ids_of(instances))
    classless = [i for i, c in class_of.items() if c == 0 and i in present]
    left_out = counted([(CLASSLESS, len(classless)), (PIXELLESS, len(class_of.keys() - present))])
    ignored = np.isin(instances, classless) if classless else None
    kept = instances if ignored is None else np.where(ignored, 0, instances)
    named = {i: c for i, c in class_of.items() if c and i in present}
    return Annotated(image, kept, named, ignored, left_out, remarks or {})


def one_class(image: np.ndarray, instances: np.ndarray) -> Annotated:
    """An image of nuclei that have no classes."""
    return Annotated(image, instances, dict.fromkeys(ids_of(instances), 1))


def names_by_number(names: Mapping[int, str]) -> tuple[str, ...]:
    """The names of class 1 to the highest; what has no name is ``class_<number>``, and 0 is background."""
    return tuple(names.get(i, f"class_{i}") for i in range(1, max(names, default=0) + 1))
