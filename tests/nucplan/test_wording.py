from __future__ import annotations

import pytest

from nucplan.wording import number_of


@pytest.mark.parametrize(
    ("count", "things", "said"),
    [
        (0, "images", "0 images"),
        (1, "images", "1 image"),
        (1, "nuclei that others cover", "1 nucleus that others cover"),
        (1200, "nuclei that others cover", "1,200 nuclei that others cover"),
        (1, "of the class stroma", "1 of the class stroma"),
    ],
)
def test_one_thing_is_no_plural(count: int, things: str, said: str):
    assert number_of(count, things) == said
