"""nucplan_verify: a raw dataset is re-read, compared with where it came from, and drawn."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nucplan.cli import common
from nucplan.errors import NucplanError
from nucplan.layout import find_dataset, resolve_roots
from nucplan.wording import number_of

if TYPE_CHECKING:
    from nucplan.datasets.against_record import CaseNuclei, Comparison
    from nucplan.datasets.raw import RawDataset
    from nucplan.datasets.record import Record
    from nucplan.datasets.source import Source

DESCRIPTION = """\
Re-read a raw dataset, compare every nucleus with the record of its conversion and with its source, and draw a
contact sheet with outlines and classes. Ends with code 2 and says what differs first where anything does."""
EXAMPLES = """  nucplan_verify 1
  nucplan_verify Breast --images 4 --output breast.png
  nucplan_verify 1 --source /data/my_images
"""


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser("nucplan_verify", DESCRIPTION, EXAMPLES)
    made.add_argument("dataset", metavar="DATASET", help="number or name of the dataset")
    made.add_argument("--source", metavar="FOLDER", type=Path, help="where the source is, if it was moved")
    made.add_argument(
        "--output", metavar="FILE", type=Path, help="the contact sheet (default: ./<dataset>_contact_sheet.png)"
    )
    made.add_argument("--images", metavar="N", type=int, default=12, help="on the contact sheet (default: 12)")
    made.add_argument("--trust", action="store_true", help="let Python objects in the source run their code")
    return common.run(verify, made, argv)


def verify(arguments: argparse.Namespace) -> None:
    """Check, compare, draw and say what was found; the picture is there also where something differs.

    Raises
    ------
    NucplanError
        If a file is refused, or with the first difference.
    """
    from nucplan.datasets.against_record import compare_with_record, nuclei_on_disk
    from nucplan.datasets.raw import RawDataset
    from nucplan.datasets.record import read_record
    from nucplan.datasets.verify import PARTS, verify_raw

    dataset = find_dataset(resolve_roots(arguments.root), arguments.dataset)
    if arguments.images < 1:
        raise NucplanError(f"--images {arguments.images} gives an empty picture; ask for 1 or more.")
    verify_raw(dataset, partial(common.progress, description="Checking"))
    raw, record = RawDataset(dataset), read_record(dataset.raw)
    listed = [(case, part) for part in PARTS for case in raw.cases(part)]
    cases = [nuclei_on_disk(raw, case, part) for case, part in common.progress(listed, "Counting")]
    print("\n".join(_counts(raw, cases)))
    print(f"  contact sheet: {_draw(raw, cases, arguments)}")
    if record is None:
        if arguments.source is not None:
            raise NucplanError(
                f"{dataset.raw} has no conversion.json, which says the format of a source; it can only be compared "
                "with one after nucplan_convert."
            )
        print("  not compared with a source: there is no conversion.json, so other tools made it, or an older version")
        return
    compared = compare_with_record(raw, cases, record)
    _report("conversion.json and nuclei.csv", compared.differences, _agreement(compared))
    _compare_with_source(raw, record, arguments)


def _compare_with_source(raw: RawDataset, record: Record, arguments: argparse.Namespace) -> None:
    from nucplan.datasets.against_source import differences_from_source

    folder = arguments.source or Path(record.source)
    if arguments.source is None and not (record.source and folder.exists()):
        where = f"{folder} is no longer there" if record.source else "the record names none"
        print(f"  not compared with the source: {where}; say where it is with --source FOLDER")
        return
    source = _read_again(folder, record, arguments.trust)
    track = partial(common.progress, description="Comparing")
    differences = list(differences_from_source(raw, source, record, track))
    agreement = f"every pixel and nucleus of {number_of(len(record.images), 'images')} is the same"
    _report(f"the source {folder}", differences, agreement)


def _read_again(folder: Path, record: Record, trust: bool) -> Source:
    from nucplan.cli.convert import format_options
    from nucplan.datasets import find_format

    found = find_format(record.format)
    chosen = [f"{name}={value}" for name, value in record.options.get("set", {}).items() if name != "trust"]
    return found.read(folder, partial(common.progress, description="Reading"), **format_options(found, chosen, trust))


def _report(what: str, differences: Sequence[str], agreement: str) -> None:
    """Say that two agree, or refuse with the first difference and the number of the others."""
    if differences:
        more = f" ({len(differences) - 1:,} more like it)" if len(differences) > 1 else ""
        raise NucplanError(
            f"The dataset and {what} differ: {differences[0]}{more}; convert again what was not changed on purpose."
        )
    print(f"  agrees with {what}: {agreement}")


def _agreement(compared: Comparison) -> str:
    pieces = "" if compared.pieces == compared.nuclei else f", which tiles cut into {compared.pieces:,}"
    return f"{number_of(compared.nuclei, 'nuclei')} of {number_of(compared.images, 'images')}{pieces}"


def _counts(raw: RawDataset, cases: Sequence[CaseNuclei]) -> Iterator[str]:
    from collections import Counter

    from nucplan.datasets.licences import licence_notice

    info, parts = raw.info, Counter(case.part for case in cases)
    per_class = Counter(info.class_names[k - 1] for case in cases for k in case.class_of.values())
    named = ", ".join(f"{name} {per_class[name]:,}" for name in info.class_names)
    groups = len(set(info.groups.values()))
    yield f"Checked {raw.dataset.raw}"
    yield (
        f"  {number_of(len(cases), 'images')} ({parts['Tr']:,} to train on, {parts['Ts']:,} to test on), "
        f"{number_of(groups, 'groups')}"
    )
    yield f"  {number_of(per_class.total(), 'nuclei')} ({named})"
    yield f"  microns per pixel: {'not known' if info.mpp is None else info.mpp}"
    yield f"  {licence_notice(info.licence)}"


def _draw(raw: RawDataset, cases: Sequence[CaseNuclei], arguments: argparse.Namespace) -> Path:
    from nucplan.images import write_image
    from nucplan.report.contact_sheet import draw_contact_sheet

    # In the current folder: the raw one stays what nnU-Net made of it, and the others are made by planning.
    path = arguments.output or Path(f"{raw.dataset.folder_name}_contact_sheet.png")
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise NucplanError(f"--output {path} is neither PNG nor JPEG; give it one of these endings.")
    write_image(path, draw_contact_sheet(raw, cases, arguments.images))
    return path


if __name__ == "__main__":
    raise SystemExit(main())
