"""nucplan_convert: a public or plain format becomes a raw dataset."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucplan.cli import common
from nucplan.errors import NucplanError
from nucplan.layout import Dataset, resolve_roots
from nucplan.wording import number_of

if TYPE_CHECKING:
    from nucplan.datasets.conversion import Conversion, Wishes
    from nucplan.datasets.source import Format, Source

EXAMPLES = """  nucplan_convert folder my_images 1 Breast
  nucplan_convert folder my_images 1 Breast --test-split 0.2 --groups patients.csv --mpp 0.25
  nucplan_convert dsb2018 stage1_train 2 DSB2018
  nucplan_convert --list
  nucplan_convert --list dsb2018
"""
SHOWN_FAULTS = 20
# A smaller tile holds hardly a whole nucleus.
SMALLEST_TILE = 32


class ListFormats(argparse.Action):
    """Print the known formats, or all that there is to know of one, and leave."""

    def __call__(self, made: argparse.ArgumentParser, _: object, name: str | None, *__: object) -> None:
        from nucplan.datasets import all_formats, find_format
        from nucplan.datasets.listing import details, table

        try:
            print(details(find_format(name)) if name else table(all_formats().values()))
        except NucplanError as error:
            made.exit(common.EXIT_BAD_INPUT, f"{made.prog}: {error}\n")
        made.exit()


def main(argv: Sequence[str] | None = None) -> int:
    made = common.parser("nucplan_convert", "Turn images and annotations into a raw dataset to train on.", EXAMPLES)
    made.add_argument("format", metavar="FORMAT", help="name of the format, see --list")
    made.add_argument("source", metavar="SOURCE", type=Path, help="folder that holds the data")
    made.add_argument("id", metavar="ID", type=int, help="number of the new dataset, 1 to 999")
    made.add_argument("name", metavar="NAME", help="name of the new dataset")
    made.add_argument("--test-split", metavar="FRACTION", type=float, help="set whole groups aside as the test part")
    made.add_argument(
        "--groups", metavar="FILE", type=Path, help="patient or slide per image: CSV (image,group) or JSON"
    )
    made.add_argument("--mpp", metavar="UM", type=float, help="pixel size in microns")
    made.add_argument("--tile", metavar="N", type=int, help="cut larger images into tiles of N x N pixels")
    made.add_argument("--overlap", metavar="M", type=int, default=0, help="pixels that neighbouring tiles share")
    made.add_argument(
        "--classes", metavar="LIST", help="keep, merge or leave out classes: tumour,other=stroma+dead or nucleus=*"
    )
    made.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="a choice of this format, see --list FORMAT"
    )
    made.add_argument("--skip-bad", action="store_true", help="list what is refused instead of stopping there")
    made.add_argument("--trust", action="store_true", help="let Python objects in the source run their code")
    made.add_argument(
        "--list", metavar="FORMAT", action=ListFormats, nargs="?", help="list the formats, or describe one, and leave"
    )
    return common.run(convert, made, argv, stopped="nothing was written, repeat the command")


def convert(arguments: argparse.Namespace) -> None:
    """Read, check, write, and say what was written."""
    from nucplan.datasets import find_format
    from nucplan.datasets.reservation import new_dataset, reserved

    found = find_format(arguments.format)
    options = format_options(found, arguments.set, arguments.trust)
    wishes = _wishes(arguments)
    dataset = new_dataset(resolve_roots(arguments.root), arguments.id, arguments.name)
    with reserved(dataset):
        _convert_into(dataset, arguments, found, options, wishes)


def _convert_into(
    dataset: Dataset, arguments: argparse.Namespace, found: Format, options: dict[str, Any], wishes: Wishes
) -> None:
    from dataclasses import replace

    from nucplan.datasets.conversion import with_groups, write_raw
    from nucplan.datasets.record import Record
    from nucplan.datasets.tables import read_group_table

    source = found.read(arguments.source, partial(common.progress, description="Reading"), **options)
    if arguments.groups is not None:
        source = with_groups(source, read_group_table(arguments.groups), arguments.groups)
    if arguments.mpp is not None:
        source = replace(source, mpp=arguments.mpp)
    record = Record(str(arguments.source.resolve()), found.name, _recorded(arguments, options))
    track = partial(common.progress, description="Converting")
    done = write_raw(source, dataset, wishes, track, record)
    print("\n".join(summary(done, source)))


def format_options(found: Format, given: Sequence[str], trust: bool = False) -> dict[str, Any]:
    """What ``--set`` says, with the defaults of the format, as keywords of its reader.

    Raises
    ------
    NucplanError
        If the format has no such choice or no such value.
    """
    options: dict[str, Any] = {option.name: option.default for option in found.options}
    for text in given:
        key, equals, value = text.partition("=")
        option = next((option for option in found.options if option.name == key), None)
        if option is None or not equals:
            known = ", ".join(f"{option.name}=..." for option in found.options) or "none"
            raise NucplanError(f"--set {text} is no choice of the format {found.name}; it has {known}.")
        if option.values and value not in option.values:
            raise NucplanError(f"--set {text}: choose one of {', '.join(option.values)}.")
        # Whole, as nucplan_verify may read the source from another folder.
        options[key] = str(Path(value).absolute()) if option.path else value
    return options | ({"trust": trust} if found.may_hold_pickles else {})


def summary(done: Conversion, source: Source) -> list[str]:
    """What was written, what was not, and what to type next, line by line."""
    from nucplan.datasets.licences import licence_notice

    images, groups = done.images, len(set(done.groups.values()))
    per_class = ", ".join(f"{name} {count:,}" for name, count in sorted(done.nuclei_per_class.items()))
    record = done.record
    return [
        f"Wrote {done.dataset.raw}",
        f"  {number_of(images.total(), 'images')} ({images['Tr']:,} to train on, {images['Ts']:,} to test on), "
        f"{number_of(groups, 'groups')}",
        f"  {number_of(done.nuclei_per_class.total(), 'nuclei')} ({per_class})",
        *(f"  left out: {number_of(count, reason)}" for reason, count in record.total("left_out").items()),
        *(f"  counted: {number_of(count, remark)}" for remark, count in record.total("remarks").items()),
        *(f"  {remark}" for remark in source.remarks),
        *_skipped(record.skipped),
        *([] if source.mpp else ["  microns per pixel: not known; give --mpp if you know it"]),
        f"  {licence_notice(source.licence)}",
        f"Look at it: nucplan_verify {done.dataset.id}",
        f"Next: nucplan_plan_and_preprocess {done.dataset.id}",
    ]


def _skipped(faults: Sequence[str]) -> list[str]:
    if not faults:
        return []
    more = [f"    and {len(faults) - SHOWN_FAULTS:,} more, see conversion.json"] if len(faults) > SHOWN_FAULTS else []
    return [
        f"  skipped: {number_of(len(faults), 'images')}",
        *(f"    {fault}" for fault in faults[:SHOWN_FAULTS]),
        *more,
    ]


def _wishes(arguments: argparse.Namespace) -> Wishes:
    from nucplan.datasets.conversion import Wishes
    from nucplan.datasets.raw import check_pixel_size
    from nucplan.datasets.tiling import Tiling

    if arguments.overlap and arguments.tile is None:
        raise NucplanError(f"--overlap {arguments.overlap} has no meaning without --tile; give the size of a tile.")
    tiling = None if arguments.tile is None else Tiling(arguments.tile, arguments.overlap)
    if tiling and tiling.size < SMALLEST_TILE:
        raise NucplanError(f"--tile {tiling.size} is too small for whole nuclei; give {SMALLEST_TILE} or more.")
    check_pixel_size(arguments.mpp, "--mpp")
    return Wishes(arguments.test_split, tiling, arguments.classes, arguments.skip_bad)


def _recorded(arguments: argparse.Namespace, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a conversion that `nucplan_verify` needs to read the source again."""
    given = {name: getattr(arguments, name) for name in ("classes", "test_split", "tile", "overlap", "mpp")}
    groups = None if arguments.groups is None else str(arguments.groups)
    # Trust is not handed on: whoever reads the source again must say so again.
    return {"set": {k: v for k, v in options.items() if k != "trust"}, **given, "groups": groups}


if __name__ == "__main__":
    raise SystemExit(main())
