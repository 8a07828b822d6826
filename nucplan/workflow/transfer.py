"""Which images of another dataset the models of a dataset are scored on, and what keeps them from it."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from nucplan.errors import NucplanError
from nucplan.files import file_hash, read_json
from nucplan.plans import panel_decision

if TYPE_CHECKING:
    from nucplan.datasets.raw import Part, RawDataset
    from nucplan.inference.panel_reader import PanelReader
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
    part = annotated_part(target.dataset)
    cases = target.cases(part)
    if not cases:
        raise NucplanError(f"{target.dataset.raw} holds no image to score; convert it anew, or leave it out.")
    absent = next((path for case in cases if not (path := target.instances_path(case, part)).is_file()), None)
    if absent is not None:
        raise NucplanError(f"{absent} is missing, so its image cannot be scored; convert the dataset anew.")
    if not _fits(source, target):
        raise NucplanError(
            f"The models of {source.dataset.folder_name} are for {_channels(source)}, and the images of "
            f"{target.dataset.folder_name} have {_channels(target)}; leave it out of --transfer-to."
        )
    enlargement(source, target)


def refuse_shared(source: RawDataset, target: RawDataset) -> None:
    """Do nothing, or refuse; of files of one size the content is compared.

    Raises
    ------
    NucplanError
        If an image file that would be scored is among the training images of ``source``.
    """
    training, part, hashed = defaultdict(list), annotated_part(target.dataset), cache(file_hash)
    for case in source.cases():
        for path in source.image_paths(case):
            training[path.stat().st_size].append((case, path))
    for case in target.cases(part):
        for path in target.image_paths(case, part):
            for mine, trained in training[path.stat().st_size]:
                if hashed(path) == hashed(trained) and not _is_blank(path):
                    raise NucplanError(
                        f"{path} is the training image {mine} of {source.dataset.folder_name}, whose models are to be "
                        "scored on it; remove it from one of the datasets, or leave the transfer out."
                    )


def panel_reader(source: RawDataset) -> PanelReader | None:
    """What brings multiplex images of other datasets to models of ``source``; None for grey and RGB."""
    from nucplan.inference.panel_reader import PanelReader

    info, plan = source.info, source.dataset.plans()
    if info.panel is None:
        return None
    # Without a plan: as the rule will decide (`planners.rules.markers.channels`).
    usual = {"panel": "varying" if info.absent else "fixed"}
    decided = panel_decision(read_json(plan)) or {} if plan.is_file() else usual
    return PanelReader(info.panel, decided.get("panel") == "varying", info.factors)


def _fits(source: RawDataset, target: RawDataset) -> bool:
    """Whether all images of ``target`` have the channels, or the markers by name, that models of ``source`` take."""
    reader, other, part = panel_reader(source), target.info, annotated_part(target.dataset)
    if reader is None or other.panel is None:
        return reader is other.panel and len(source.info.channel_names) == len(other.channel_names)
    if any(factor > 1 for factor in other.factors.values()) and not reader.factors:
        # Fractions, which a model that was trained on counts would see as next to nothing.
        return False
    return all(reader.fits(other.panel, other.absent.get(case, ())) for case in target.cases(part))


def _is_blank(path: Path) -> bool:
    """Whether all pixels are equal, as of a marker that was not measured."""
    from nucplan.images import read_image

    image = read_image(path)
    return bool((image == image.flat[0]).all())


def _channels(raw: RawDataset) -> str:
    names = raw.info.markers or raw.info.channel_names
    scaled = ", fractions" if any(factor > 1 for factor in raw.info.factors.values()) else ""
    return f"{len(raw.info.channel_names)} channel(s) ({', '.join(names)}{scaled})"
