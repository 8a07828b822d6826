"""Data Science Bowl 2018 (BBBC038): a folder per image, one PNG mask or one line of run lengths per nucleus.

Source: Caicedo et al. 2019, Nature Methods 16, doi 10.1038/s41592-019-0612-7.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from nucplan.datasets.annotations.polygons import Stamp, draw, stamp_of
from nucplan.datasets.annotations.run_lengths import decode_runs, read_run_lengths
from nucplan.datasets.finding.files import folders_in
from nucplan.datasets.raw import Part
from nucplan.datasets.source import NO_GROUPS_KNOWN, Annotated, Case, Format, Source, Track, check_folder
from nucplan.errors import NucplanError
from nucplan.images import images_by_stem, read_image, read_label_map

LAYOUT = """SOURCE/<id>/images/<id>.png    RGBA; one grey channel is kept when no image has colour
SOURCE/<id>/masks/*.png        one binary mask per nucleus
or these in SOURCE/stage1_train, and optionally, as the test part
SOURCE/stage1_test/<id>/images/<id>.png
SOURCE/stage1_solution.csv     ImageId,EncodedPixels: a line per nucleus"""

TRAIN, TEST, SOLUTION = "stage1_train", "stage1_test", "stage1_solution.csv"
NO_SOLUTION = f"{TEST} was left out, as there is no {SOLUTION} beside it."

# The nuclei of one image of a given shape; cut down to what they hold, as there are hundreds in a large image.
Masks = Callable[[tuple[int, int]], list[Stamp]]


def read(folder: Path, track: Track = iter) -> Source:
    """List the images; a look at them, up to the first that has colour, decides whether all become grey or RGB.

    Raises
    ------
    NucplanError
        If the folder does not exist or no image folder is found.
    """
    check_folder(folder)
    train = folder / TRAIN if (folder / TRAIN).is_dir() else folder
    folders = _image_folders(train)
    if not folders:
        raise NucplanError(f"{train} has no image folder; expected are <id>/images/<id>.png and <id>/masks/*.png.")
    tests = _image_folders(folder / TEST) if (folder / TEST).is_dir() else []
    solution = folder / SOLUTION
    solved = bool(tests) and solution.is_file()
    runs = read_run_lengths(solution) if solved else {}
    known: list[tuple[Path, Masks, Part]] = []
    faults: list[str] = []
    for place, part in [*((f, "Tr") for f in folders), *((f, "Ts") for f in tests if solved)]:
        try:
            image = _only_image(place)
            masks = _drawn(image, place / "masks") if part == "Tr" else _encoded(image, solution, runs)
            known.append((image, masks, part))
        except NucplanError as error:
            faults.append(str(error))
    grey = all(_is_grey(image) for image in track([image for image, _, _ in known]))
    return Source(
        cases=[
            Case(image.parent.parent.name, image, partial(_load, image, masks, grey), part)
            for image, masks, part in known
        ],
        licence=FORMAT.licence,
        citation="BBBC038, Caicedo et al. 2019, doi 10.1038/s41592-019-0612-7",
        faults=tuple(faults),
        remarks=(NO_GROUPS_KNOWN, *((NO_SOLUTION,) if tests and not solved else ())),
    )


def _image_folders(folder: Path) -> list[Path]:
    return [place for place in folders_in(folder) if (place / "images").is_dir()]


def _only_image(folder: Path) -> Path:
    images = list(images_by_stem(folder / "images").values())
    if len(images) != 1:
        raise NucplanError(f"{folder / 'images'} holds {len(images)} images instead of one; see the layout of dsb2018.")
    return images[0]


def _drawn(image: Path, folder: Path) -> Masks:
    if not folder.is_dir():
        raise NucplanError(f"{image} has no folder {folder} beside it; add the masks or remove the image.")
    return partial(_read_masks, folder)


def _read_masks(folder: Path, shape: tuple[int, int]) -> list[Stamp]:
    masks = []
    for path in images_by_stem(folder).values():
        mask = read_label_map(path) > 0
        if mask.shape != shape:
            raise NucplanError(f"{path} and its image differ in size, {mask.shape} and {shape}; export again.")
        masks.append(stamp_of(mask))
    return masks


def _encoded(image: Path, solution: Path, runs: dict[str, list[str]]) -> Masks:
    name = image.parent.parent.name
    if name not in runs:
        raise NucplanError(f"{image} has no line in {solution}; add its nuclei or remove the image.")
    return lambda shape: [stamp_of(decode_runs(text, shape, solution)) for text in runs[name]]


def _load(image_path: Path, read_masks: Masks, grey: bool) -> Annotated:
    image = read_image(image_path)
    drawn = draw(read_masks(image.shape[:2]), image.shape[:2])
    if grey and image.ndim == 3:
        image = image[..., 0]
    elif not grey and image.ndim == 2:
        image = np.dstack([image] * 3)
    return Annotated(image, drawn.instances, drawn.class_of, left_out=drawn.left_out, remarks=drawn.remarks)


def _is_grey(path: Path) -> bool:
    try:
        image = read_image(path)
    except NucplanError:
        # It is refused when it is loaded, and says nothing about the others.
        return True
    return image.ndim == 2 or bool((image == image[..., :1]).all())


FORMAT = Format(
    "dsb2018",
    "fluorescence, bright field, H&E",
    "Data Science Bowl 2018 (BBBC038), stage 1",
    LAYOUT,
    read,
    classes="1",
    mpp="unknown",
    size="670 + 65 images, mixed sizes",
    licence="CC0-1.0",
    documented="https://bbbc.broadinstitute.org/BBBC038",
)
