"""Is a raw dataset on disk what it says? Asked before planning, as files may have been made or changed by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from nucplan.datasets.raw import MAX_INSTANCES, Part, RawDataset, RawInfo
from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.layout import Dataset
from nucplan.wording import number_of

PARTS: tuple[Part, ...] = ("Tr", "Ts")


def verify_raw(
    dataset: Dataset, track: Callable[[Iterable[tuple[Part, str]]], Iterable[tuple[Part, str]]] = iter
) -> None:
    """Check ``dataset.json`` and every case of both parts; ``track`` may wrap the cases in a progress bar.

    Raises
    ------
    NucplanError
        On the first thing that is wrong; the message names the file and the way out.
    """
    raw = RawDataset(dataset)
    cases = [(part, case) for part in PARTS for case in raw.cases(part)]
    _verify_counts(raw)
    _verify_files(raw)
    _verify_groups(raw)
    _verify_absent(raw)
    for part, case in track(cases):
        _verify_case(raw, case, part)


def _verify_counts(raw: RawDataset) -> None:
    expected, found = read_json(raw.dataset.dataset_json)["numTraining"], len(raw.cases("Tr"))
    if not found:
        raise NucplanError(f"{raw.dataset.part('images')} holds no image; make the dataset with nucplan_convert.")
    if found != expected:
        raise NucplanError(
            f"{raw.dataset.dataset_json} says numTraining {expected}, but imagesTr has {number_of(found, 'cases')}; "
            "restore the images that are missing, or correct the number."
        )


def _verify_files(raw: RawDataset) -> None:
    """Images, labels and instances hold the same cases, in both parts."""
    endings = {"labels": raw.info.file_ending, "instances": ".tif"}
    for part in PARTS:
        cases = set(raw.cases(part))
        for kind, ending in endings.items():
            folder = raw.dataset.part(kind, part)
            found = {f.name[: -len(ending)] for f in folder.glob(f"*{ending}")} if folder.is_dir() else set()
            if lost := cases - found:
                raise NucplanError(f"{folder / (min(lost) + ending)} is missing, but its image is there; restore it.")
            if extra := found - cases:
                raise NucplanError(f"{folder / (min(extra) + ending)} has no image; restore the image or remove it.")


def _verify_groups(raw: RawDataset) -> None:
    groups, where = raw.info.groups, raw.dataset.dataset_json
    cases = {part: raw.cases(part) for part in PARTS}
    for case in cases["Tr"] + cases["Ts"]:
        if case not in groups:
            raise NucplanError(f"{where} has no nuclei.groups entry for the case '{case}'; add its patient or slide.")
    if in_both := set(cases["Tr"]) & set(cases["Ts"]):
        raise NucplanError(f"The case '{min(in_both)}' is in imagesTr and imagesTs of {raw.dataset.raw}; remove one.")
    if leaks := {groups[case] for case in cases["Tr"]} & {groups[case] for case in cases["Ts"]}:
        raise NucplanError(
            f"{where}: the group '{min(leaks)}' is in both imagesTr and imagesTs; move its cases into one."
        )


def _verify_absent(raw: RawDataset) -> None:
    cases = {case for part in PARTS for case in raw.cases(part)}
    for case, markers in raw.info.absent.items():
        if case not in cases:
            raise NucplanError(f"{raw.dataset.dataset_json}: nuclei.absent names the case '{case}'; it has no image.")
        if unknown := set(markers) - set(raw.info.panel or ()):
            raise NucplanError(
                f"{raw.dataset.dataset_json}: nuclei.absent names the marker '{min(unknown)}', which is no channel; "
                "correct it."
            )


def _verify_case(raw: RawDataset, case: str, part: Part) -> None:
    image, classes, instances = raw.image(case, part), raw.classes_map(case, part), raw.instances(case, part)
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels != len(raw.info.channel_names):
        raise NucplanError(
            f"{raw.image_path(case, part)} has {channels} channels, but {raw.dataset.dataset_json} names "
            f"{len(raw.info.channel_names)}; correct one of them."
        )
    for marker in raw.info.absent.get(case, ()):
        channel = raw.info.panel.index(marker)
        if image[..., channel].any():
            raise NucplanError(
                f"{raw.image_paths(case, part)[channel]} holds a signal, but nuclei.absent says that {case} lacks "
                f"{marker}; correct one of them."
            )
    for path, array in ((raw.classes_path(case, part), classes), (raw.instances_path(case, part), instances)):
        if array.shape != image.shape[:2]:
            raise NucplanError(f"{path} has the shape {array.shape}, its image {image.shape[:2]}; restore one of them.")
    if problem := label_problem(classes, instances, raw.info):
        raise NucplanError(f"{raw.instances_path(case, part)}: {problem}; correct it or convert the dataset again.")


def label_problem(classes: np.ndarray, instances: np.ndarray, info: RawInfo) -> str | None:
    """What is wrong between a class map ``(H, W)`` and an instance map ``(H, W)``, or None."""
    highest = len(info.class_names) + (info.ignore_label is not None)
    if classes.max() > highest:
        return f"the class map holds {classes.max()}, above the highest label {highest}"
    if instances.max() > MAX_INSTANCES:
        return f"the id {instances.max()} is above {MAX_INSTANCES} (renumber, or cut the image into tiles)"
    return _pixel_problem(classes, instances, info.ignore_label)


def _pixel_problem(classes: np.ndarray, instances: np.ndarray, ignore_label: int | None) -> str | None:
    ignored = classes == ignore_label if ignore_label is not None else np.zeros(classes.shape, bool)
    if (ignored & (instances > 0)).any():
        return f"instance {instances[ignored].max()} reaches into an ignore area"
    classed = (classes > 0) & ~ignored
    if (classed & (instances == 0)).any():
        return "the class map has a class where there is no instance"
    if (~classed & (instances > 0)).any():
        return f"instance {instances[~classed].max()} has pixels without a class"
    return _two_classes(classes, instances)


def _two_classes(classes: np.ndarray, instances: np.ndarray) -> str | None:
    # The last pixel written decides the class of an id; any other pixel of that id then differs from it.
    class_of = np.zeros(int(instances.max()) + 1, np.uint8)
    nuclear = instances > 0
    class_of[instances[nuclear]] = classes[nuclear]
    differs = nuclear & (class_of[instances] != classes)
    return f"instance {instances[differs][0]} has more than one class" if differs.any() else None
