"""Multiplex images as OME-TIFF, MIBItiff or plain stacks, each with a label map.

Markers come from ``markers.csv`` (MCMICRO) or ``panel.csv`` (steinbock) where there is one, else from the files. Their
order may differ between images, and so may the markers: an image has planes of zeros for those that it lacks.

Source: OME-TIFF, https://docs.openmicroscopy.org/ome-model/; MIBItiff, https://github.com/ionpath/mibilib.
"""

from __future__ import annotations

import statistics
from functools import partial
from pathlib import Path

from nucplan.datasets.annotations.class_maps import one_class
from nucplan.datasets.annotations.label_files import read_ids
from nucplan.datasets.finding.case_names import case_name
from nucplan.datasets.finding.files import files_in
from nucplan.datasets.finding.pairs import pair_up
from nucplan.datasets.multiplex.intensities import Scale
from nucplan.datasets.multiplex.marker_tables import find_marker_table
from nucplan.datasets.multiplex.panels import Planes, choose_planes, common_scale, in_order, panel_remarks, union
from nucplan.datasets.multiplex.planes import Stack, read_header
from nucplan.datasets.source import Annotated, Case, Format, Source, Track, check_folder
from nucplan.errors import NucplanError
from nucplan.images import LABEL_SUFFIXES, TIFF_SUFFIXES

LAYOUT = """SOURCE/<stem>.ome.tif|tif       planes CYX, YXC or ZCYX with one Z (or in SOURCE/images or SOURCE/img)
SOURCE/<stem>_mask.tif|png      instance ids (_masks, _labels; or in SOURCE/masks or SOURCE/labels, also as <stem>)
SOURCE/markers.csv              optional: marker_name[,channel_number,cycle_number,remove], a row per plane
SOURCE/panel.csv                optional: channel,name[,keep], a row per plane"""

IMAGES, MASKS = ("images", "img"), ("masks", "labels")
# Beyond this ratio, pixel sizes are other magnifications and no tolerance of a microscope.
SAME_SCALE = 1.1
ENDINGS = ("_masks", "_mask", "_labels", "_label")


def read(folder: Path, track: Track = iter) -> Source:
    """List the images by their headers; where intensities do not fit 16 bits, all are read once for their range.

    Raises
    ------
    NucplanError
        If the folder does not exist or holds no image, or its marker table is damaged.
    """
    check_folder(folder)
    pairs, faults = pair_up(*_files(folder), "mask")
    table = find_marker_table(folder)
    chosen: dict[str, tuple[tuple[str, ...], tuple[int, ...], Stack]] = {}
    for stem, pair in track(pairs.items()):
        try:
            stack = _header(pair.image)
            chosen[stem] = *choose_planes(stack, table), stack
        except NucplanError as error:
            faults.append(str(error))
    markers = union(names for names, *_ in chosen.values()) or None
    images: dict[str, Planes] = {}
    absent: dict[str, tuple[str, ...]] = {}
    for stem, found in chosen.items():
        images[stem], absent[stem] = in_order(markers, *found)
    scale, unread = common_scale(list(images.values()), track)
    refused = unread | _other_scales([image.stack for image in images.values()])
    mpp, remarks = _pixel_size([image.stack for image in images.values() if image.stack.path not in refused])
    return Source(
        cases=[
            Case(
                case_name(stem),
                image.stack.path,
                partial(_load, image, pairs[stem].annotation, scale),
                absent=absent[stem],
            )
            for stem, image in images.items()
            if image.stack.path not in refused
        ],
        mpp=mpp,
        markers=markers,
        factors=scale.factors,
        faults=(*faults, *refused.values()),
        remarks=(*remarks, *scale.remarks(markers or ()), *panel_remarks(markers or (), absent)),
    )


Files = list[tuple[str, Path]]


def _files(folder: Path) -> tuple[Files, Files]:
    """Images and masks, both by the stem of the image."""
    images = next((folder / name for name in IMAGES if (folder / name).is_dir()), folder)
    masks = next((folder / name for name in MASKS if (folder / name).is_dir()), None)
    pictures, found = files_in(images, TIFF_SUFFIXES), files_in(masks or images, LABEL_SUFFIXES)
    if masks is None:
        found = [path for path in found if _stem(path).endswith(ENDINGS)]
        pictures = [path for path in pictures if path not in found]
    if not pictures:
        raise NucplanError(f"{images} holds no TIFF image; see nucplan_convert --list ome.")
    return [(_stem(path), path) for path in pictures], [(_stem_of_image(path), path) for path in found]


def _stem(path: Path) -> str:
    """The name without ``.tif`` or ``.ome.tif``."""
    return path.stem[:-4] if path.stem.lower().endswith(".ome") else path.stem


def _stem_of_image(mask: Path) -> str:
    stem = _stem(mask)
    return next((stem.removesuffix(ending) for ending in ENDINGS if stem.endswith(ending)), stem)


def _header(path: Path) -> Stack:
    stack = read_header(path)
    if stack.is_rgb:
        raise NucplanError(f"{path} is an RGB picture and no stack of markers; convert it with the format 'folder'.")
    return stack


def _other_scales(stacks: list[Stack]) -> dict[Path, str]:
    """What is wrong with images whose pixels are far from those of most.

    A dataset has one pixel size, and no --mpp makes nuclei of one image as large as in another. Small differences are
    those of microscopes.
    """
    known = [stack for stack in stacks if stack.mpp]
    usual = statistics.median_low(stack.mpp for stack in known) if known else 1.0
    return {
        stack.path: f"{stack.path} has pixels of {stack.mpp:g} microns, but most images have {usual:g}; resample it, "
        "or make two datasets."
        for stack in known
        if max(stack.mpp / usual, usual / stack.mpp) > SAME_SCALE
    }


def _pixel_size(stacks: list[Stack]) -> tuple[float | None, tuple[str, ...]]:
    """The pixel size of all images, if it is one."""
    sizes = {stack.mpp: stack.path for stack in stacks}
    if len(sizes) <= 1:
        return next(iter(sizes), None), ()
    named = ", ".join(f"{path.name} {mpp or 'none'}" for mpp, path in sizes.items())
    if None not in sizes and max(sizes) - min(sizes) <= 1e-3 * max(sizes):
        return next(iter(sizes)), ()
    return None, (f"The pixel sizes of the images differ ({named}), so that none is kept; give one with --mpp.",)


def _load(image: Planes, mask: Path, scale: Scale) -> Annotated:
    pixels, remarks = image.load(scale)
    return one_class(pixels, read_ids(mask))._replace(remarks=remarks)


FORMAT = Format(
    "ome",
    "multiplex",
    "OME-TIFF, MIBItiff or stacks with a table of markers",
    LAYOUT,
    read,
    classes="1",
    mpp="from OME-XML or TIFF tags",
    documented="https://docs.openmicroscopy.org/ome-model/",
)
