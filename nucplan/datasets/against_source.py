"""A raw dataset and the source that it was made from, read again: the same images, nuclei, classes and parts?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nucplan.datasets.checks import checked
from nucplan.datasets.class_selection import select_classes
from nucplan.datasets.raw import Part, RawDataset
from nucplan.datasets.record import Record
from nucplan.datasets.source import Annotated, Case, Source, Track
from nucplan.datasets.tiling import Tiling
from nucplan.wording import number_of


def differences_from_source(raw: RawDataset, source: Source, record: Record, track: Track = iter) -> Iterator[str]:
    """Read every image of ``source`` that the record names and compare; yields what differs, a clause each.

    One image is in memory at a time. Ids may differ, as long as they make the same nuclei.

    Raises
    ------
    NucplanError
        If an image of the source is refused, or the dataset lacks a file.
    """
    options = record.options
    selection = select_classes(options.get("classes"), source.class_names)
    if selection.names != raw.info.class_names:
        yield f"the source gives the classes {', '.join(selection.names)}, the dataset has {_names(raw)}"
        return
    yield from _other_facts(raw, source, options)
    tiling = Tiling(options["tile"], options.get("overlap") or 0) if options.get("tile") else None
    yield from _other_images(source, record)
    part_of: dict[str, Part] = {case: part for part in ("Tr", "Ts") for case in raw.cases(part)}
    for case in track([case for case in source.cases if case.name in record.images]):
        annotated = selection.apply(checked(case, source))
        tiles = dict([(case.name, annotated)] if tiling is None else tiling.cut(case.name, annotated))
        if list(tiles) != record.images[case.name].cases:
            yield f"the image {case.name} gives the cases {', '.join(tiles)} now, and others by the record"
            continue
        for name, tile in tiles.items():
            if name not in part_of:
                yield f"the dataset lacks the case {name}"
            elif set(raw.info.absent.get(name, ())) != set(case.absent):
                yield f"in the case {name}, other markers are absent than there"
            elif problem := _misplaced(case, name, part_of[name], source, raw, options) or _difference(
                raw, name, part_of[name], tile
            ):
                yield f"in the case {name}, {problem}"


def _other_facts(raw: RawDataset, source: Source, options: dict) -> Iterator[str]:
    given = options.get("mpp")
    facts = {
        "pixel size": (raw.info.mpp, source.mpp if given is None else given),
        "licence": (raw.info.licence or None, source.licence or None),
        "markers": (raw.info.markers, source.markers or None),
    }
    for what, (here, there) in facts.items():
        if here != there:
            origin = "by --mpp" if what == "pixel size" and given is not None else "there"
            yield f"the {what} here: {_said(here)}, {origin}: {_said(there)}"


def _said(fact: float | str | tuple[str, ...] | None) -> str:
    return "not known" if fact is None else ", ".join(fact) if isinstance(fact, tuple) else str(fact)


def _other_images(source: Source, record: Record) -> Iterator[str]:
    there = {case.name for case in source.cases}
    for name in sorted(record.images.keys() - there):
        yield f"the source no longer has the image {name}"
    if lacking := sorted(there - record.images.keys() - set(record.skipped_images)):
        yield f"the dataset lacks {number_of(len(lacking), 'images')} of the source, of which {lacking[0]} is the first"


def _misplaced(case: Case, name: str, part: Part, source: Source, raw: RawDataset, options: dict) -> str | None:
    if options.get("test_split") is None and part != case.part:
        return f"it is in images{part}, there it belongs to images{case.part}"
    if source.groups is None or options.get("groups") is not None:
        return None
    group, expected = raw.info.groups.get(name), source.groups.get(case.name)
    return None if group == expected else f"its group is {group}, there it is {expected}"


def _difference(raw: RawDataset, name: str, part: Part, expected: Annotated) -> str | None:
    """What differs first between a case on disk and the same window of the source, or None."""
    image = raw.image(name, part)
    if image.shape[:2] != expected.image.shape[:2]:
        return f"its image has the shape {image.shape[:2]}, there {expected.image.shape[:2]}"
    if not np.array_equal(np.atleast_3d(image), np.atleast_3d(expected.image)):
        return "its image has other pixels"
    instances, classes = raw.instances(name, part), raw.classes_map(name, part)
    if instances.shape != expected.instances.shape:
        return f"its instance map has the shape {instances.shape}, there {expected.instances.shape}"
    if problem := partition_difference(instances, expected.instances):
        return problem
    class_of = np.zeros(int(expected.instances.max(initial=0)) + 1, np.uint8)
    class_of[list(expected.class_of)] = list(expected.class_of.values())
    wrong = (expected.instances > 0) & (classes != class_of[expected.instances])
    if wrong.any():
        first = expected.instances[wrong][0]
        there, here = _names(raw, class_of[first]), _names(raw, classes[wrong][0])
        return f"{_nucleus(expected.instances, first)} is {there} there, {here} here"
    ignored = np.zeros(classes.shape, bool) if expected.ignored is None else expected.ignored
    pixels = int((ignored != ((classes > 0) & (instances == 0))).sum())
    return f"the areas to ignore differ by {number_of(pixels, 'pixels')}" if pixels else None


def partition_difference(found: np.ndarray, expected: np.ndarray) -> str | None:
    """What differs first between two label maps (H, W) whose ids may differ, in words; None where nothing does."""
    stride = int(found.max(initial=0)) + 1
    pairs = np.unique(expected.astype(np.int64) * stride + found)
    there, here = np.divmod(pairs, stride)
    if (mixed := _first_repeated(there)) is not None:
        pieces = here[there == mixed]
        if mixed == 0:
            return f"{_nucleus(found, pieces[pieces > 0][0])} covers pixels that are background there"
        if 0 in pieces:
            return f"{_nucleus(expected, mixed)} has lost pixels here"
        return f"{_nucleus(expected, mixed)} is in {len(pieces)} pieces here"
    if (merged := _first_repeated(here)) is not None:
        ids = there[here == merged]
        if merged == 0:
            return f"{_nucleus(expected, ids[ids > 0][0])} is missing here"
        return f"{_nucleus(expected, ids[0])} and {_nucleus(expected, ids[1])} are one nucleus here, {merged}"
    # One to one, but background and a nucleus may have changed places.
    if (swapped := (there > 0) != (here > 0)).any():
        return f"nucleus {max(there[swapped][0], here[swapped][0])} takes the place of background"
    return None


def _first_repeated(ids: np.ndarray) -> int | None:
    values, counts = np.unique(ids, return_counts=True)
    return int(values[counts > 1][0]) if (counts > 1).any() else None


def _nucleus(labels: np.ndarray, i: int) -> str:
    rows, columns = np.nonzero(labels == i)
    return f"nucleus {i} ({number_of(len(rows), 'pixels')} around row {rows.mean():.0f}, column {columns.mean():.0f})"


def _names(raw: RawDataset, class_id: int | None = None) -> str:
    names = raw.info.class_names
    if class_id is None:
        return ", ".join(names)
    return names[class_id - 1] if 1 <= class_id <= len(names) else "of no class"
