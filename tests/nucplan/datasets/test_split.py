from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.datasets.split import choose_test_groups
from nucplan.errors import NucplanError


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("ABCDEFG"), min_size=2, max_size=40), st.floats(0.01, 0.99), st.randoms())
def test_no_other_choice_of_whole_groups_comes_closer(images: list[str], fraction: float, random):
    sizes = Counter(images)
    if len(sizes) < 2:
        return
    chosen = choose_test_groups(images, fraction)
    random.shuffle(images)
    assert choose_test_groups(images, fraction) == chosen
    assert 0 < len(chosen) < len(sizes)
    choices = [c for n in range(1, len(sizes)) for c in combinations(sizes, n)]
    best = min(abs(sum(sizes[g] for g in c) - fraction * len(images)) for c in choices)
    assert abs(sum(sizes[g] for g in chosen) - fraction * len(images)) == pytest.approx(best)


def test_one_group_or_a_share_out_of_range_is_refused():
    with pytest.raises(NucplanError, match="at least two groups"):
        choose_test_groups(["a", "a"], 0.5)
    for fraction in (0.0, 1.0, 20.0):
        with pytest.raises(NucplanError, match="between 0 and 1"):
            choose_test_groups(["a", "b"], fraction)
