"""NuInsSeg: H&E of 31 human and mouse organs, a folder per organ.

``label masks modify`` gives a pixel of several nuclei to the last of them; ``label masks`` holds the sum of their ids
there, so it is never read. Ambiguous areas become areas to ignore where the source has them.

Source: Mahbod et al. 2024, Scientific Data 11, doi 10.1038/s41597-024-03117-2.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from nucplan.datasets.annotations.label_files import load_labelled
from nucplan.datasets.finding.case_names import case_name
from nucplan.datasets.finding.files import files_below, folders_in
from nucplan.datasets.finding.pairs import Pair, pair_up
from nucplan.datasets.finding.unpacked import find_root
from nucplan.datasets.source import Annotated, Case, Format, Source, Track
from nucplan.errors import NucplanError
from nucplan.images import images_by_stem, read_label_map

LAYOUT = """SOURCE/<organ>/tissue images/<stem>.png          RGB
SOURCE/<organ>/label masks modify/<stem>.tif     instance ids
SOURCE/<organ>/<vague or ambiguous ...>/**.png   optional: white where nothing can be told, of the same stem"""

IMAGES, LABELS = "tissue images", "label masks modify"
AMBIGUOUS, BINARY = ("ambiguous", "vague"), "mask binary"
ONE_SLIDE = "All images of an organ are one group: the source does not say which of them come from one slide."


def read(folder: Path, track: Track = iter) -> Source:
    """List the images; organs are the groups.

    Raises
    ------
    NucplanError
        If the folder does not exist or holds no organ folder with ``tissue images``.
    """
    cases, faults, groups = [], [], {}
    for organ in (f for f in folders_in(find_root(folder, f"*/{IMAGES}")) if (f / IMAGES).is_dir()):
        if not (organ / LABELS).is_dir():
            faults.append(f"{organ} has no folder '{LABELS}' ('label masks' holds sums of ids); unpack it again.")
            continue
        pairs, lonely = pair_up(images_by_stem(organ / IMAGES), images_by_stem(organ / LABELS), "label map")
        faults.extend(lonely)
        ambiguous = _ambiguous(organ)
        for stem, pair in pairs.items():
            name = case_name(stem)
            cases.append(Case(name, pair.image, partial(_load, pair, ambiguous.get(stem))))
            groups[name] = organ.name
    return Source(
        cases=cases,
        groups=groups,
        licence=FORMAT.licence,
        citation="NuInsSeg, Mahbod et al. 2024, doi 10.1038/s41597-024-03117-2",
        faults=tuple(faults),
        remarks=(ONE_SLIDE,),
    )


def _ambiguous(organ: Path) -> dict[str, Path]:
    named = [f for f in folders_in(organ) if any(word in f.name.lower() for word in AMBIGUOUS)]
    found = [path for folder in named for path in files_below(folder, [".png"])]
    # Pictures for the eye may lie beside the masks; what comes last counts.
    return {path.stem: path for path in sorted(found, key=lambda path: path.parent.name == BINARY)}


def _load(pair: Pair, ambiguous: Path | None) -> Annotated:
    found = load_labelled(*pair)
    if ambiguous is None:
        return found
    area = read_label_map(ambiguous) > 0
    if area.shape != found.instances.shape:
        raise NucplanError(
            f"{ambiguous} and its image differ in size, {area.shape} and {found.instances.shape}; unpack it again."
        )
    return found._replace(ignored=area)


FORMAT = Format(
    "nuinsseg",
    "H&E",
    "NuInsSeg, 31 human and mouse organs",
    LAYOUT,
    read,
    classes="1",
    mpp="40x, not stated",
    size="665 images, 512x512",
    licence="CC-BY-4.0",
    documented="https://github.com/masih4/NuInsSeg",
)
