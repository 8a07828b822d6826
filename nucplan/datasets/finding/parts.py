"""Official parts, by the names of folders."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from nucplan.datasets.raw import Part

# A word of its own, as in test_same and Testing Data, or the end of one, as in MoNuSegTestData; no latest, no testis.
_ENDS = r"(?:s|ing|sets?|data)?"
_TEST = re.compile(
    rf"(?<![A-Za-z])[Tt]est{_ENDS}(?![a-z])|(?<=[a-z])Test{_ENDS}(?![a-z])"
    rf"|(?<![A-Za-z])TEST{_ENDS.upper()}(?![A-Za-z])"
)


def part_of(path: Path, folder: Path) -> Part:
    """``Ts`` where a folder between ``folder`` and the file has the word "test" in its name."""
    return "Ts" if any(map(says_test, path.relative_to(folder).parts[:-1])) else "Tr"


def by_part(paths: Iterable[Path], folder: Path) -> list[tuple[tuple[Part, str], Path]]:
    """Paths with their part and stem as keys for `nucplan.datasets.finding.pairs.pair_up`."""
    return [((part_of(path, folder), path.stem), path) for path in paths]


def says_test(name: str) -> bool:
    """Whether a name has the word "test" in it, or "tests", "testing", "testset" or "testdata"."""
    return _TEST.search(name) is not None
