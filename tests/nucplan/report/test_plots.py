"""Plots: one for each part of a report, from its numbers alone, with two signs beside the colour."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from nucplan.report.curve_plots import changing, constant, draw_curves
from nucplan.report.ensemble_plots import draw_options, draw_test
from nucplan.report.figures import looks, wrapped
from nucplan.report.html import PNG
from nucplan.report.plots import draw

from .conftest import CONFIGS


def test_every_part_of_a_dataset_is_drawn_and_is_whole(report, pictures):
    drawn = {name: picture for name, picture in pictures.items() if not picture.startswith(PNG)}
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


def test_the_rows_of_four_configs_with_decoders_and_stock_differ_in_colour_and_marker():
    found = looks(map(str, range(12))).values()
    for signs in ([look.colour for look in found], [look.marker for look in found]):
        assert len(set(signs)) == 12


def test_a_config_keeps_its_look_where_another_one_is_missing(report, axes_of):
    one = copy.deepcopy(report["datasets"][0])
    rows = one["seeds"][0]["comparison"]["rows"]
    small = report | {"datasets": [one], "ranks": []}
    before = colours_by_label(axes_of(draw, small))
    del rows[1]
    assert colours_by_label(axes_of(draw, small))["stock nnU-Net"] == before["stock nnU-Net"]


def colours_by_label(axes) -> dict[str, str]:
    return {line.get_label(): line.get_color() for ax in axes for line in ax.get_lines()}


@pytest.fixture
def axes_of(monkeypatch):
    """Draws, and gives the axes of all figures that were drawn."""
    figures = []

    def kept(figure):
        figures.append(figure)
        return b""

    for module in ("plots", "curve_plots", "ensemble_plots"):
        monkeypatch.setattr(f"nucplan.report.{module}.svg", kept)

    def axes(function, *arguments):
        figures.clear()
        function(*arguments)
        return [ax for figure in figures for ax in figure.axes]

    return axes


def marks(ax, label: str) -> list[list[float]]:
    return [list(line.get_xdata()) for line in ax.get_lines() if line.get_label() == label]


def test_the_test_part_is_drawn_by_the_score_of_the_choice(report, axes_of):
    (ax,) = axes_of(draw_test, report["datasets"][0]["test"], looks(CONFIGS))
    assert ax.get_xlabel() == "PQ (pooled), test part"
    assert marks(ax, "single fold") == [[0.6, 0.61]] * 2
    assert marks(ax, "mean of the single folds") == [pytest.approx([0.605] * 2)] * 2
    assert marks(ax, "ensemble of the folds") == [[0.612]] * 2
    assert marks(ax, "the chosen ensemble") == [[0.615]]


def test_of_classes_the_test_part_is_drawn_by_their_mean(report, axes_of):
    test = copy.deepcopy(report["datasets"][0]["test"])
    for row in test["rows"]:
        row["scores"]["mPQ+ (mean of classes)"] = 0.4
    (ax,) = axes_of(draw_test, test, looks(CONFIGS))
    assert ax.get_xlabel() == "mPQ+ (mean of classes), test part"
    assert marks(ax, "the chosen ensemble") == [[0.4]]


def test_options_are_drawn_best_first_with_the_choice_and_small_differences_stay_small(report, axes_of):
    (ax,) = axes_of(draw_options, report["datasets"][0]["inference"], looks(CONFIGS))
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names == ["boundary, the choice", "boundary", "baseline + boundary"]
    assert marks(ax, "the choice, own decoder") == [[0.623]]
    assert np.ptp(ax.get_xlim()) >= 0.05 - 1e-9


def test_the_mean_curve_is_that_of_the_trainings_of_full_length(axes_of):
    def curve(fold, losses):
        epochs = list(range(len(losses)))
        columns = {"epoch": epochs, "loss": losses, "learning_rate": losses}
        return {"config": "baseline", "seed": 0, "fold": fold, "columns": columns}

    curves = [curve(0, [9.0, 8.0]), curve(1, [4.0, 3.0, 2.0, 1.0]), curve(2, [2.0, 1.0, 1.0, 1.0])]
    ax = axes_of(draw_curves, curves, looks(["baseline"]))[0]
    (mean,) = [line for line in ax.get_lines() if line.get_label() == "baseline"]
    assert list(mean.get_ydata()) == [3.0, 2.0, 1.5, 1.0]


def test_columns_that_never_change_are_named_and_not_drawn(report):
    curves = report["datasets"][0]["curves"]
    assert constant(curves) == {"lambda_2": 0.5}
    assert changing(curves) == ["loss", "alpha", "validation_dice", "learning_rate"]


def test_long_names_are_broken_where_words_end():
    assert wrapped("boundary_attention, decoder of baseline", 13) == "boundary_\nattention,\ndecoder of\nbaseline"
