"""A raw dataset and what its conversion wrote down of it: the same cases, nuclei, sizes and classes?

A nucleus that tiles cut has a row per piece, all with the id that it has in the source, so it counts as one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from nucplan.datasets.annotations.layers import areas_of
from nucplan.datasets.raw import Part, RawDataset
from nucplan.datasets.record import CONVERSION, NUCLEI, Record, Row, read_nuclei


@dataclass(frozen=True)
class CaseNuclei:
    """The nuclei of one case as they are on disk.

    Attributes
    ----------
    shape : (H, W) of the image
    area : id to number of pixels, by ascending id
    class_of : id to class, 1 to K
    """

    name: str
    part: Part
    shape: tuple[int, int]
    area: dict[int, int]
    class_of: dict[int, int]


@dataclass
class Comparison:
    """What was compared with the record, and what differs, a clause each.

    ``pieces`` is the number of nuclei of the dataset, ``nuclei`` that of nuclei of the source.
    """

    images: int = 0
    nuclei: int = 0
    pieces: int = 0
    differences: list[str] = field(default_factory=list)


def nuclei_on_disk(raw: RawDataset, case: str, part: Part) -> CaseNuclei:
    """Read the nuclei of one case.

    Raises
    ------
    NucplanError
        If a file is missing or damaged.
    """
    instances, classes = raw.instances(case, part), raw.classes_map(case, part)
    class_of = np.zeros(int(instances.max(initial=0)) + 1, np.uint8)
    class_of[instances] = classes
    area = areas_of(instances)
    return CaseNuclei(case, part, instances.shape, area, {i: int(class_of[i]) for i in area})


def compare_with_record(raw: RawDataset, found: Iterable[CaseNuclei], record: Record) -> Comparison:
    """Compare the nuclei on disk with ``nuclei.csv`` and ``conversion.json`` beside them.

    Raises
    ------
    NucplanError
        If ``nuclei.csv`` is missing or damaged.
    """
    on_disk = {case.name: case for case in found}
    done = Comparison(images=len(record.images))
    recorded = {case for image in record.images.values() for case in image.cases}
    done.differences += [
        f"{CONVERSION} has the case {c}, which the dataset lacks" for c in sorted(recorded - set(on_disk))
    ]
    done.differences += [f"the case {c} is not in {CONVERSION}" for c in sorted(set(on_disk) - recorded)]
    without_rows, parents, listed = set(recorded), {}, {}
    for case, rows in read_nuclei(raw.dataset.raw):
        without_rows.discard(case)
        done.pieces += len(rows)
        for row in rows:
            parents.setdefault(row.source_image, set()).add(row.source_id)
        if (twice := _listed_twice(rows, listed.setdefault(case, set()))) is not None:
            done.differences.append(f"{NUCLEI} lists nucleus {twice} of {case} twice")
        elif case in on_disk:
            done.differences += _case_differences(on_disk[case], rows, raw.info.class_names)
        else:
            done.differences.append(f"{NUCLEI} has nuclei of the case {case}, which the dataset lacks")
    for case in sorted(without_rows & set(on_disk)):
        done.differences += _case_differences(on_disk[case], [], raw.info.class_names)
    done.differences += _image_differences(record, parents)
    done.nuclei = sum(map(len, parents.values()))
    return done


def _listed_twice(rows: list[Row], listed: set[int]) -> int | None:
    """The first id of ``rows`` that was there before; the others are added to ``listed``."""
    for row in rows:
        if row.id in listed:
            return row.id
        listed.add(row.id)
    return None


def _case_differences(case: CaseNuclei, rows: list[Row], class_names: tuple[str, ...]) -> list[str]:
    """At most one clause: what differs first."""
    listed = {row.id: row for row in rows}
    if listed.keys() != case.area.keys():
        only_listed, only_there = listed.keys() - case.area.keys(), case.area.keys() - listed.keys()
        example = f"{min(only_listed)} is not there" if only_listed else f"{min(only_there)} is not listed"
        return [f"the case {case.name} has {len(case.area)} nuclei, {NUCLEI} has {len(listed)} of it: {example}"]
    for i, row in listed.items():
        if case.area[i] != row.area:
            return [f"in the case {case.name}, nucleus {i} has {case.area[i]} pixels, {NUCLEI} says {row.area}"]
        if (name := class_names[case.class_of[i] - 1]) != row.class_name:
            return [f"in the case {case.name}, nucleus {i} is {name}, {NUCLEI} says {row.class_name}"]
    return []


def _image_differences(record: Record, parents: dict[str, set[int]]) -> list[str]:
    return [
        f"the image {name} of the source gave {image.nuclei} nuclei by {CONVERSION}, but {len(parents.get(name, ()))} "
        f"by {NUCLEI}"
        for name, image in record.images.items()
        if image.nuclei != len(parents.get(name, ()))
    ]
