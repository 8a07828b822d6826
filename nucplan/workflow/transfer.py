"""Which images of another dataset the models of a dataset are scored on, and what keeps them from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucplan.errors import NucplanError

if TYPE_CHECKING:
    from nucplan.datasets.raw import Part, RawDataset
    from nucplan.layout import Dataset


def annotated_part(dataset: Dataset) -> Part:
    """The test part where it is annotated, else the training part: models of another dataset have seen neither."""
    annotated = dataset.part("instances", "Ts")
    # nnU-Net's test images need no labels.
    return "Ts" if annotated.is_dir() and any(path.name[0] != "." for path in annotated.iterdir()) else "Tr"


def enlargement(source: RawDataset, target: RawDataset) -> float:
    """The factor by which images of ``target`` are enlarged for models of ``source``; 1 where a pixel size is unknown.

    Raises
    ------
    NucplanError
        If one is more than ten times the other.
    """
    from nucplan.inference.pixel_size import scale_to_model

    try:
        return scale_to_model(target.info.mpp, source.info.mpp)
    except NucplanError:
        raise NucplanError(
            f"{target.dataset.dataset_json} says {target.info.mpp:g} um per pixel and {source.dataset.dataset_json} "
            f"{source.info.mpp:g}, which is too far apart for a transfer; correct the wrong one, or leave it out."
        ) from None


def refuse_unfit(source: RawDataset, target: RawDataset) -> None:
    """Do nothing, or refuse; no image is read.

    Raises
    ------
    NucplanError
        If ``target`` has no image, one without annotation, other channels or markers, or a pixel size out of reach.
    """
    mine, other, part = source.info, target.info, annotated_part(target.dataset)
    cases = target.cases(part)
    if not cases:
        raise NucplanError(f"{target.dataset.raw} holds no image to score; convert it anew, or leave it out.")
    absent = next((path for case in cases if not (path := target.instances_path(case, part)).is_file()), None)
    if absent is not None:
        raise NucplanError(f"{absent} is missing, so its image cannot be scored; convert the dataset anew.")
    if len(mine.channel_names) != len(other.channel_names) or _differ(mine.markers, other.markers):
        raise NucplanError(
            f"The models of {source.dataset.folder_name} are for {_channels(source)}, and the images of "
            f"{target.dataset.folder_name} have {_channels(target)}; leave it out of --transfer-to."
        )
    enlargement(source, target)


def _differ(mine: tuple[str, ...] | None, other: tuple[str, ...] | None) -> bool:
    return mine is not None and other is not None and mine != other


def _channels(raw: RawDataset) -> str:
    names = raw.info.markers or raw.info.channel_names
    return f"{len(raw.info.channel_names)} channel(s) ({', '.join(names)})"
