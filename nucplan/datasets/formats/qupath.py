"""QuPath: images, and the GeoJSON that was exported for each.

Nuclei are detections and cells, of cells the outline of the nucleus where there is one. Annotations are nuclei where
the source has neither; beside them they are regions, which are left out unless ``--set objects=all``. As in QuPath,
classes whose name ends in ``*`` are not of interest: objects of ``Ignore*`` become areas to ignore, others are left
out. Objects without a classification are of the class "nucleus", or become areas to ignore.

Reads exactly what `nucplan.inference.geojson` writes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nucplan.datasets.annotations.geojson import CELL, SUFFIXES, Feature, read_features, stem_of
from nucplan.datasets.annotations.layers import counted
from nucplan.datasets.annotations.polygons import NO_AREA, UNCLEAR, Outline, covered, draw, refuse_other_origin
from nucplan.datasets.description import Description, read_description
from nucplan.datasets.finding.files import files_below
from nucplan.datasets.finding.pairs import Pair, pair_up
from nucplan.datasets.source import Annotated, Case, Format, Option, Source, Track, check_folder
from nucplan.errors import NucplanError
from nucplan.images import images_by_stem, read_image

LAYOUT = """SOURCE/images/<name>.png|tif|...       the images (or in SOURCE itself)
SOURCE/.../<name>.geojson|.geojson.gz    objects of each image, exported from QuPath (or <name>.tif.geojson)
SOURCE/dataset.json                      optional: groups {name: group}, classes {"1": name}, mpp, licence, source"""

ANNOTATION, DETECTIONS = "annotation", ("detection", CELL)
NUCLEUS = "nucleus"
OF_NO_INTEREST, IGNORE = "*", "ignore*"

OTHER_OBJECTS = "objects that are no nuclei (tiles, cores, classes that end in *)"
REGIONS = "annotations beside detections, taken for regions"
WHOLE_CELLS = "cells without the outline of a nucleus, taken whole"
UNCLASSIFIED = "nuclei without a classification, now of the class nucleus"
IGNORED = "annotations of the class Ignore*, now areas to ignore"


@dataclass(frozen=True)
class _Rules:
    """What counts as a nucleus in one source, and of which class."""

    kinds: tuple[str, ...]
    class_names: tuple[str, ...]
    unclassified: str

    def role(self, feature: Feature) -> str:
        """`NUCLEUS`, or what is said of objects that are none."""
        if feature.class_name.lower() == IGNORE:
            return IGNORED
        if feature.kind == ANNOTATION and ANNOTATION not in self.kinds:
            return REGIONS
        if feature.kind not in self.kinds or feature.class_name.endswith(OF_NO_INTEREST):
            return OTHER_OBJECTS
        if not feature.rings:
            return NO_AREA
        return UNCLEAR if self.unclassified == "ignore" and not feature.class_name else NUCLEUS

    def class_of(self, feature: Feature, path: Path) -> int:
        """Class 1 to K."""
        name = feature.class_name or NUCLEUS
        if name not in self.class_names:
            raise NucplanError(
                f"{path} has the class '{name}', which the dataset.json of the source lacks "
                f"({', '.join(self.class_names)}); add it there."
            )
        return self.class_names.index(name) + 1


def read(folder: Path, track: Track = iter, unclassified: str = NUCLEUS, objects: str = "auto") -> Source:
    """List the images, and look through all objects for their kinds and classes.

    Raises
    ------
    NucplanError
        If the folder does not exist, holds no GeoJSON, or its ``dataset.json`` is malformed.
    """
    check_folder(folder)
    outlines = files_below(folder, SUFFIXES)
    if not outlines:
        raise NucplanError(f"{folder} holds no .geojson file; export the objects of each image from QuPath.")
    images = images_by_stem(folder / "images" if (folder / "images").is_dir() else folder)
    stems = {image.name: stem for stem, image in images.items()}
    pairs, faults = pair_up(images, [(stems.get(stem_of(path), stem_of(path)), path) for path in outlines])
    described, kinds, seen, readable = read_description(folder / "dataset.json"), set(), set(), []
    for pair in track(pairs.values()):
        try:
            features = [f for f in read_features(pair.annotation) if not f.class_name.endswith(OF_NO_INTEREST)]
        except NucplanError as error:
            faults.append(str(error))
            continue
        readable.append(pair)
        kinds |= {feature.kind for feature in features}
        seen |= {(feature.kind, feature.class_name) for feature in features if feature.rings}
    nuclear = _nuclear_kinds(kinds, objects)
    # Only after the last file it is known which kinds are nuclei: the classes of regions are none.
    names = {name for kind, name in seen if kind in nuclear}
    rules = _Rules(nuclear, _class_names(names, described, unclassified), unclassified)
    return Source(
        cases=[Case(pair.image.stem, pair.image, partial(_load, pair, rules)) for pair in readable],
        class_names=rules.class_names,
        groups=described.groups,
        mpp=described.mpp,
        licence=described.licence,
        citation=described.citation,
        faults=tuple(faults),
    )


def _nuclear_kinds(kinds: Iterable[str], objects: str) -> tuple[str, ...]:
    if objects == "auto" and set(kinds) & set(DETECTIONS):
        return ("", *DETECTIONS)
    return ("", ANNOTATION, *DETECTIONS)


def _class_names(names: set[str], described: Description, unclassified: str) -> tuple[str, ...]:
    """As described, else by alphabet; "nucleus" comes last where objects without a classification need it."""
    found = tuple(described.class_names.values()) or tuple(sorted(names - {""}))
    if not found or ("" in names and unclassified == NUCLEUS and NUCLEUS not in found):
        found = (*found, NUCLEUS)
    return found


def _load(pair: Pair, rules: _Rules) -> Annotated:
    image, objects = read_image(pair.image), defaultdict(list)
    for feature in read_features(pair.annotation):
        objects[rules.role(feature)].append(feature)
    nuclei, unsure = objects[NUCLEUS], [Outline(f.rings) for role in (IGNORED, UNCLEAR) for f in objects[role]]
    drawn = draw([Outline(f.rings, rules.class_of(f, pair.annotation)) for f in nuclei], image.shape[:2])
    refuse_other_origin(drawn, str(pair.annotation))
    whole, unnamed = sum(f.whole_cell for f in nuclei), sum(not f.class_name for f in nuclei)
    remarks = [(role, len(objects[role])) for role in (IGNORED, REGIONS, OTHER_OBJECTS)]
    remarks += [(WHOLE_CELLS, whole), (UNCLASSIFIED, unnamed if len(rules.class_names) > 1 else 0)]
    return Annotated(
        image,
        drawn.instances,
        drawn.class_of,
        covered(unsure, image.shape[:2]) if unsure else None,
        drawn.left_out | counted((role, len(objects[role])) for role in (UNCLEAR, NO_AREA)),
        drawn.remarks | counted(remarks),
    )


FORMAT = Format(
    "qupath",
    "any",
    "GeoJSON that QuPath exported for each image, or nucplan_predict wrote",
    LAYOUT,
    read,
    documented="https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html",
    options=(
        Option("unclassified", "what objects without a classification are", NUCLEUS, (NUCLEUS, "ignore")),
        Option("objects", "auto leaves annotations out where there are detections", "auto", ("auto", "all")),
    ),
)
