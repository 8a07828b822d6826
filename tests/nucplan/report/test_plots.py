"""Plots: one for each part of a report, from its numbers alone, with two signs beside the colour."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ElementTree

from nucplan.report.curve_plots import changing, constant
from nucplan.report.figures import looks, wrapped
from nucplan.report.plots import draw

from .conftest import CONFIGS


def test_every_part_of_a_dataset_is_drawn_and_is_whole(report):
    drawn = draw(report)
    kinds = ("folds_0", "differences_0", "curves", "options", "test")
    assert set(drawn) == {f"{one['folder']}/{kind}" for one in report["datasets"][:2] for kind in kinds} | {"ranks"}
    for picture in drawn.values():
        assert ElementTree.fromstring(picture).tag.endswith("svg")


def test_equal_numbers_give_equal_pictures_and_other_numbers_other_ones(report):
    small = report | {"datasets": report["datasets"][:1], "ranks": []}
    first, other = draw(small), copy.deepcopy(small)
    other["datasets"][0]["seeds"][0]["comparison"]["rows"][1]["cells"][0]["difference"]["mean"] += 0.1
    assert draw(small) == first
    changed = {name for name, picture in draw(other).items() if picture != first[name]}
    assert changed == {"Dataset001_Small/differences_0"}


def test_configs_differ_in_colour_and_marker_and_line():
    found = looks([*CONFIGS, "a", "b", "c"])
    for part in zip(*found.values(), strict=True):
        assert len(set(part)) == 6


def test_columns_that_never_change_are_named_and_not_drawn(report):
    curves = report["datasets"][0]["curves"]
    assert constant(curves) == {"lambda_2": 0.5}
    assert changing(curves) == ["loss", "alpha", "validation_dice", "learning_rate"]


def test_long_names_are_broken_where_words_end():
    assert wrapped("boundary_attention, decoder of baseline", 13) == "boundary_\nattention,\ndecoder of\nbaseline"
