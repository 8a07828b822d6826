"""Data Science Bowl 2018 (BBBC038): a folder per image, one PNG mask per nucleus.

Source: Caicedo et al. 2019, Nature Methods 16, doi 10.1038/s41592-019-0612-7.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from nucplan.datasets.layers import HIDDEN, OVERLAP, counted, ids_of, stack_masks
from nucplan.datasets.source import Annotated, Case, Format, Source, Track, check_folder
from nucplan.errors import NucplanError
from nucplan.images import images_by_stem, read_image, read_label_map

LAYOUT = """SOURCE/<id>/images/<id>.png    RGBA; one grey channel is kept when no image has colour
SOURCE/<id>/masks/*.png        one binary mask per nucleus"""


def read(folder: Path, track: Track = iter) -> Source:
    """List the images; a look at them, up to the first that has colour, decides whether the dataset is grey.

    Raises
    ------
    NucplanError
        If the folder does not exist, no image folder is found, or one of them lacks its image or its masks.
    """
    check_folder(folder)
    folders = sorted(f for f in folder.iterdir() if (f / "images").is_dir())
    if not folders:
        raise NucplanError(f"{folder} has no image folder; expected are <id>/images/<id>.png and <id>/masks/*.png.")
    images = {f.name: _only_image(f) for f in folders}
    grey = all(_is_grey(read_image(path)) for path in track(images.values()))
    return Source(
        cases=[Case(f.name, images[f.name], partial(_load, images[f.name], f / "masks", grey)) for f in folders],
        licence="CC0-1.0",
        citation="BBBC038, Caicedo et al. 2019, doi 10.1038/s41592-019-0612-7",
    )


def _only_image(folder: Path) -> Path:
    images = list(images_by_stem(folder / "images").values())
    if len(images) != 1:
        raise NucplanError(f"{folder / 'images'} holds {len(images)} images instead of one; see the layout of dsb2018.")
    if not (folder / "masks").is_dir():
        raise NucplanError(
            f"{images[0]} has no folder {folder / 'masks'} beside it; add the masks or remove the image."
        )
    return images[0]


def _load(image_path: Path, mask_folder: Path, grey: bool) -> Annotated:
    image = read_image(image_path)
    masks = []
    for path in images_by_stem(mask_folder).values():
        masks.append(read_label_map(path))
        if masks[-1].shape != image.shape[:2]:
            raise NucplanError(
                f"{path} and its image differ in size, {masks[-1].shape} and {image.shape[:2]}; export again."
            )
    instances, contested = stack_masks(masks) if masks else (np.zeros(image.shape[:2], np.int32), 0)
    visible = ids_of(instances)
    return Annotated(
        image[..., 0] if grey and image.ndim == 3 else image,
        instances,
        dict.fromkeys(visible, 1),
        left_out=counted([(HIDDEN, len(masks) - len(visible))]),
        remarks=counted([(OVERLAP, contested)]),
    )


def _is_grey(image: np.ndarray) -> bool:
    return image.ndim == 2 or bool((image == image[..., :1]).all())


FORMAT = Format(
    "dsb2018",
    "fluorescence, bright field, H&E",
    "Data Science Bowl 2018 (BBBC038), stage 1",
    LAYOUT,
    read,
    classes="1",
    mpp="unknown",
    size="670 images, mixed sizes",
    licence="CC0-1.0",
    documented="https://bbbc.broadinstitute.org/BBBC038",
)
