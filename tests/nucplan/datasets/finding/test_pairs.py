"""Every file is in one pair or in one sentence, and never in both."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.datasets.finding.pairs import Pair, by_stem, pair_up

keys = st.lists(st.integers(0, 6), max_size=6)


def files(found: list[int], folder: str) -> list[tuple[int, Path]]:
    return [(key, Path(f"{folder}/{place}-{key}")) for place, key in enumerate(found)]


@given(keys, keys)
@settings(max_examples=50, deadline=None)
def test_files_alone_of_their_key_on_both_sides_are_pairs_and_all_others_a_fault(images: list[int], labels: list[int]):
    pairs, faults = pair_up(files(images, "images"), files(labels, "labels"))
    alone = [key for key in images if images.count(key) == labels.count(key) == 1]
    assert list(pairs) == alone
    assert all(int(path.name.split("-")[1]) == key for key, pair in pairs.items() for path in pair)
    assert len(faults) == len({*images, *labels} - {*alone})


def test_sentences_name_the_file_and_what_it_lacks():
    images = {"a": Path("i/a.png"), "b": Path("i/b.png"), "c": Path("i/c.png")}
    labels = [("a", Path("l/a.tif")), ("c", Path("l/c.tif")), ("c", Path("l/c.png")), ("d", Path("l/d.tif"))]
    pairs, faults = pair_up(images, labels, "label map")
    assert pairs == {"a": Pair(Path("i/a.png"), Path("l/a.tif"))}
    assert faults == [
        "i/b.png has no label map of the same name; add it or remove the image.",
        "l/c.tif and l/c.png have the same name; rename or remove one of them.",
        "l/d.tif has no image of the same name; add it or remove the label map.",
    ]


def test_stems_are_names_without_the_suffix():
    assert by_stem([Path("x/a.b.png")]) == [("a.b", Path("x/a.b.png"))]
