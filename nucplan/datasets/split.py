"""The test part: whole groups set aside, as close to the wanted share of the images as whole groups allow."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable

from nucplan.errors import NucplanError


def choose_test_groups(group_of_images: Iterable[str], fraction: float) -> set[str]:
    """Choose the groups of the test part.

    Parameters
    ----------
    group_of_images : the group of every image, in any order
    fraction : wanted share of the images, above 0 and below 1

    Returns
    -------
    set of str
        At least one group and never all of them. It depends on the group names and sizes alone: of the choices
        that come equally close, the one that a hash of the names puts first.

    Raises
    ------
    NucplanError
        If the fraction is out of range or there is one group only.
    """
    sizes = Counter(group_of_images)
    if not 0 < fraction < 1:
        raise NucplanError(f"--test-split {fraction} is not between 0 and 1; 0.2 sets a fifth of the images aside.")
    if len(sizes) < 2:
        raise NucplanError("A test part needs at least two groups, and this dataset has one; leave --test-split out.")
    order = sorted(sizes, key=lambda group: hashlib.sha256(group.encode()).digest())
    reachable = _reachable_sums([sizes[group] for group in order])
    images = sizes.total()
    wanted = min((n for n in range(1, images) if reachable[-1] >> n & 1), key=lambda n: (abs(n - fraction * images), n))
    return _groups_of_sum(order, sizes, reachable, wanted)


def _reachable_sums(sizes: list[int]) -> list[int]:
    """Subset sums of the first 0, 1, 2, ... sizes; bit n of an integer says that the sum n is reachable."""
    sums = [1]
    for size in sizes:
        sums.append(sums[-1] | sums[-1] << size)
    return sums


def _groups_of_sum(order: list[str], sizes: Counter[str], reachable: list[int], wanted: int) -> set[str]:
    chosen = set()
    for position in range(len(order), 0, -1):
        group = order[position - 1]
        if not reachable[position - 1] >> wanted & 1:
            chosen.add(group)
            wanted -= sizes[group]
    return chosen
