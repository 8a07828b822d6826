"""nucplan_convert: a public or plain format becomes a raw dataset."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nucplan.cli import common
from nucplan.layout import resolve_roots

if TYPE_CHECKING:
    from nucplan.datasets.conversion import Conversion

EXAMPLES = """  nucplan_convert folder my_images 1 Breast
  nucplan_convert folder my_images 1 Breast --test-split 0.2 --groups patients.csv --mpp 0.25
  nucplan_convert dsb2018 stage1_train 2 DSB2018
  nucplan_convert --list
"""


class ListFormats(argparse.Action):
    """Print the known formats and leave."""

    def __call__(self, made: argparse.ArgumentParser, *_: object) -> None:
        from nucplan.datasets import FORMATS

        for known in FORMATS.values():
            print(f"{known.name}: {known.description} ({known.modality})")
            print("\n".join(f"    {line}" for line in known.layout.splitlines()))
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
    made.add_argument("--list", action=ListFormats, nargs=0, help="list the formats with their layout, and leave")
    return common.run(convert, made, argv)


def convert(arguments: argparse.Namespace) -> None:
    """Read, check, write, and say what was written."""
    from dataclasses import replace

    from nucplan.datasets import find_format
    from nucplan.datasets.conversion import new_dataset, with_groups, write_raw
    from nucplan.datasets.tables import read_group_table

    found = find_format(arguments.format)
    dataset = new_dataset(resolve_roots(arguments.root), arguments.id, arguments.name)
    source = found.read(arguments.source, partial(common.progress, description="Reading"))
    if arguments.groups is not None:
        source = with_groups(source, read_group_table(arguments.groups), arguments.groups)
    if arguments.mpp is not None:
        source = replace(source, mpp=arguments.mpp)
    track = partial(common.progress, description="Converting")
    print("\n".join(summary(write_raw(source, dataset, arguments.test_split, track))))


def summary(done: Conversion) -> list[str]:
    """What was written and what to type next, line by line."""
    images, groups = done.images, len(set(done.groups.values()))
    per_class = ", ".join(f"{name} {count:,}" for name, count in sorted(done.nuclei_per_class.items()))
    return [
        f"Wrote {done.dataset.raw}",
        f"  {images.total():,} images ({images['Tr']:,} to train on, {images['Ts']:,} to test on), {groups:,} groups",
        f"  {done.nuclei_per_class.total():,} nuclei ({per_class or 'none'})",
        f"Next: nucplan_plan_and_preprocess {done.dataset.id}",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
