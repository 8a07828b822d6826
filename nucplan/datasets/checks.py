"""Every check that formats share: what a source may hold, and what one loaded case must be."""

from __future__ import annotations

from collections import Counter

import numpy as np

from nucplan.datasets.annotations.layers import ids_of
from nucplan.datasets.raw import MAX_CLASSES, MAX_INSTANCES, check_pixel_size
from nucplan.datasets.source import Annotated, Case, Source
from nucplan.errors import NucplanError
from nucplan.images import checked_label_map

RESERVED_NAMES = {"background", "ignore"}
RGB = 3


def check_source(source: Source) -> None:
    """What can be known before any image is opened.

    Raises
    ------
    NucplanError
        If there is no image, two have one name, or the pixel size or a name of an image is refused.
    """
    if not source.cases:
        raise NucplanError("The source holds no image; check its path and format.")
    name, count = Counter(case.name for case in source.cases).most_common(1)[0]
    if count > 1:
        twice = [str(case.origin) for case in source.cases if case.name == name][:2]
        raise NucplanError(f"{' and '.join(twice)} would both be the case '{name}'; rename one of them.")
    for case in source.cases:
        # Names may come out of a file, and become those of files.
        if not case.name or case.name.startswith(".") or set("/\\") & set(case.name):
            raise NucplanError(f"{case.origin} would be the case '{case.name}', which is no name of a file; rename it.")
    check_pixel_size(source.mpp, "the source")


def check_class_names(names: tuple[str, ...]) -> None:
    """Refuse names that ``dataset.json`` cannot hold; those of the source may be others, as ``--classes`` renames.

    Raises
    ------
    NucplanError
        If there are none or too many, or one is reserved or there twice.
    """
    if len(set(names)) < len(names) or RESERVED_NAMES & set(names) or not 1 <= len(names) <= MAX_CLASSES:
        raise NucplanError(
            f"The class names {', '.join(names)} cannot be used: 1 to {MAX_CLASSES} different names, none of them "
            "'background' or 'ignore'; rename them with --classes new=old."
        )


def checked(case: Case, source: Source) -> Annotated:
    """Load a case and refuse what cannot be trained on; ids stay those of the source.

    Raises
    ------
    NucplanError
        If sizes or planes differ, ids are not whole and positive, or instances and classes do not belong together
        one to one.
    """
    annotated = case.load()
    image, instances = annotated.image, checked_label_map(annotated.instances, case.origin)
    if instances.shape != image.shape[:2]:
        raise NucplanError(
            f"{case.origin} is {_size(image)} pixels and its label map {_size(instances)}; export one of them again."
        )
    if annotated.ignored is not None and annotated.ignored.shape != instances.shape:
        raise NucplanError(
            f"{case.origin} is {_size(image)} pixels and its area to ignore {_size(annotated.ignored)}; export one of "
            "them again."
        )
    _check_planes(case, image, source.markers)
    _check_classes(case, set(ids_of(instances)), annotated.class_of, len(source.class_names))
    ignored = None if annotated.ignored is None else annotated.ignored & (instances == 0)
    return annotated._replace(instances=instances, ignored=ignored)


def renumbered(annotated: Annotated, case: Case) -> tuple[Annotated, list[int]]:
    """Instances numbered 1 to N in the order of their ids, and those ids.

    Raises
    ------
    NucplanError
        If there are more instances than a dataset can hold in one image.
    """
    ids = ids_of(annotated.instances)
    if len(ids) > MAX_INSTANCES:
        raise NucplanError(
            f"{case.origin} has {len(ids)} instances, more than {MAX_INSTANCES}; cut it into tiles with --tile 1024."
        )
    # searchsorted counts the ids up to each value: 0 for background, the position + 1 for an id.
    instances = np.searchsorted(ids, annotated.instances, side="right").astype(np.int32)
    class_of = {new: annotated.class_of[old] for new, old in enumerate(ids, start=1)}
    return annotated._replace(instances=instances, class_of=class_of), ids


def _check_planes(case: Case, image: np.ndarray, markers: tuple[str, ...] | None) -> None:
    planes = 1 if image.ndim == 2 else image.shape[2]
    if markers and (image.ndim == 2 or planes != len(markers)):
        raise NucplanError(
            f"{case.origin} has {planes} planes, but there are {len(markers)} markers ({', '.join(markers)}); correct "
            "one of them."
        )
    if not markers and image.ndim == 3 and planes != RGB:
        raise NucplanError(f"{case.origin} has {planes} planes, so it is neither grey nor RGB; name its markers.")
    if image.dtype not in (np.uint8, np.uint16):
        raise NucplanError(f"{case.origin} holds {image.dtype} pixels; save it with 8 or 16 bits per channel.")


def _check_classes(case: Case, ids: set[int], class_of: dict[int, int], classes: int) -> None:
    if without := ids - class_of.keys():
        raise NucplanError(f"{case.origin}: instance {min(without)} has no class; add it to the class table.")
    if unknown := class_of.keys() - ids:
        raise NucplanError(
            f"{case.origin}: the class table names instance {min(unknown)}, which the label map lacks; remove it."
        )
    for instance, class_id in class_of.items():
        if not 1 <= class_id <= classes:
            raise NucplanError(
                f"{case.origin}: instance {instance} has class {class_id}, not 1 to {classes}; correct it."
            )


def _size(array: np.ndarray) -> str:
    return f"{array.shape[0]} x {array.shape[1]}"
