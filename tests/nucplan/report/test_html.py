"""The page: it needs nothing else, hides nothing of the numbers, and takes no name for markup."""

from __future__ import annotations

import copy
from html.parser import HTMLParser

import pytest

from nucplan.report.ensemble import ranked_options
from nucplan.report.html import render
from nucplan.report.numbers import number_text, score_text

from .conftest import HOSTILE

VOID = {"meta", "link", "img", "br", "wbr"}


class Page(HTMLParser):
    """Elements of a page, its cells, and whether its tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "small" and self.tables and {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += " "

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def page(report, pictures) -> Page:
    return Page(render(report, pictures))


def test_all_tags_are_closed_and_nothing_is_run_or_fetched(page):
    assert page.open == []
    assert not {"script", "iframe", "object"} & {tag for tag, _ in page.elements}
    for tag, attributes in page.elements:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("data:", "#")), tag
        assert not any(name.startswith("on") for name in attributes)


def test_names_from_data_are_text(page):
    assert page.text.count(HOSTILE) >= 8


def test_every_picture_has_a_text_that_stands_for_it_and_a_caption_that_says_what_to_look_at(page, report, pictures):
    shown = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(shown) == len(pictures)
    assert all(len(attributes["alt"]) > 20 for attributes in shown)
    assert sum(tag == "figcaption" for tag, _ in page.elements) == len(shown)
    assert page.text.count("Look at ") == len(shown)


def test_the_ablation_table_has_the_numbers_of_the_data(page, report):
    comparison = report["datasets"][0]["seeds"][0]["comparison"]
    table = next(t for t in page.tables if t[0][:2] == ["config", "Dice (image mean)\u00a0*"] and len(t[0]) == 8)
    for row, cells in zip(comparison["rows"], table[1:], strict=True):
        for cell, score, text in zip(row["cells"], comparison["scores"], cells[1:], strict=True):
            words = text.split()
            assert words[0] == score_text(cell["mean"], score["is_count"])
            if cell["difference"] is not None:
                assert words[1].lstrip("+") == score_text(cell["difference"]["mean"], score["is_count"])
                assert words[2].strip("[,") == score_text(cell["difference"]["low"], score["is_count"])


def test_a_config_that_lacks_folds_says_over_which_it_is(page):
    (row,) = [row for t in page.tables for row in t if row[0].startswith("stock nnU-Net") and len(row) == 8][:1]
    assert "folds 0, 1 alone" in row[0]
    assert "its mean is not to be held against the other means" in page.text


def test_a_fold_that_is_missing_is_a_hole_with_its_reason(page):
    runs = next(t for t in page.tables if t[0] == ["config", *(f"fold {fold}" for fold in range(5))])
    assert runs[-1] == ["stock nnU-Net", ".500", ".500", "failed", "failed", "failed"]
    assert f"train/x/fold_2: failed ({HOSTILE})" in " ".join(page.text.split())


def test_the_variance_factor_is_that_of_the_folds_of_the_row(page):
    tests = next(t for t in page.tables if t[0][-1] == "variance factor")
    factors = {row[0]: row[-1] for row in tests[1:]}
    assert list(factors) == ["boundary", "boundary_attention", "stock nnU-Net"]
    assert factors["boundary"] == "1/5 + .250 = .450"
    assert factors["stock nnU-Net"] == "1/2 + .250 = .750"


def table_of(page: Page, head: str) -> list[list[str]]:
    return next(table for table in page.tables if table[0][0] == head)


def test_the_options_have_the_choice_with_its_own_decoder_best_first(page):
    options = table_of(page, "configs")
    assert [row[0] for row in options[1:]] == ["boundary, the choice", "boundary", "baseline + boundary"]
    assert options[1][1:3] == ["tempered (neck 0.5)", ".623"]


def test_a_choice_that_is_decoded_as_planned_is_one_of_the_options(report):
    evidence = copy.deepcopy(report["datasets"][0]["inference"]["evidence"])
    evidence["chosen"] = evidence["options"][1]
    assert [row["chosen"] for row in ranked_options(evidence)] == [False, True]


def test_the_test_part_has_the_mean_of_the_single_folds_of_each_config(page):
    rows = table_of(page, "model")[1:]
    assert [row[0] for row in rows][2] == "baseline, mean of 2 single folds"
    assert [row[0] for row in rows][5] == "boundary, mean of 2 single folds"
    assert rows[2][1:] == [".900", ".605", "12"]
    assert len(rows) == 9


def test_the_table_of_merges_repeats_no_other_score(page):
    (head,) = {tuple(table[0]) for table in page.tables if table[0][-1] == "boundary F1 (pooled)" and len(table[0]) < 8}
    stars = ("Dice (image mean)\u00a0*", "PQ (pooled)\u00a0*")
    assert head == ("config", *stars, "merges", "splits", "contact-boundary recall", "boundary F1 (pooled)")


def test_notes_that_configs_are_not_alike_are_warnings(report):
    differing = "Lengths DIFFER: baseline 2, boundary 9.", "boundary has another plan than baseline in beta."
    changed = copy.deepcopy(report)
    changed["datasets"][0]["seeds"][0]["notes"] += [{"text": text, "warning": True} for text in differing]
    page = Page(render(changed, {}))
    shown = [attributes.get("class") for tag, attributes in page.elements if tag == "p"]
    before = [attributes.get("class") for tag, attributes in Page(render(report, {})).elements if tag == "p"]
    assert shown.count("warning") == before.count("warning") + 2
    assert all(page.text.count(note) == 1 for note in differing)


def test_what_is_of_the_first_seed_alone_says_so_where_there_are_several(report, pictures, page):
    assert "seed alone" not in page.text
    assert "Of seed" not in page.text
    repeated = copy.deepcopy(report)
    one = repeated["datasets"][0]
    one["seeds"].append(one["seeds"][0] | {"seed": 1})
    text = Page(render(repeated, pictures)).text
    assert text.count("Of seed 0 alone.") == 3
    assert text.count("Of the first seed of each dataset alone.") == 3


def test_decisions_of_the_planner_about_itself_are_not_shown(report):
    changed = copy.deepcopy(report)
    changed["datasets"][0]["plan"] += [{"decision": "oracle_ceiling", "value": ["0.99"], "because": ["."]}]
    assert render(changed, {}) == render(report, {})


def test_a_dataset_without_a_plan_says_why_and_what_is_not_recorded_is_said(page, report):
    assert f"there is nothing to report: {HOSTILE}" in page.text
    costs = next(t for t in page.tables if t[1][0] == "parameters / million")
    trained = ["4.30", "4.00", "500", "computed", number_text(0.25, 3), "8.0", "2.0"]
    assert costs[2] == ["baseline", *trained, "2.00", ".50", "1.00", "1.00", "1.10"]


def test_costs_are_held_against_those_of_the_first_config(page, report):
    assert report["datasets"][0]["costs"]["boundary"]["peak_memory_bytes"] is None
    boundary = next(t for t in page.tables if t[1][0] == "parameters / million")[3]
    trained = ["4.30 1.00x", "4.00 1.00x", "500", "computed", ".500 2.00x", "8.0", "not recorded"]
    assert boundary == ["boundary", *trained, "1.60", ".40", "1.25 1.25x", "1.25", "1.38"]
    assert "2 validation images of fold 0" in page.text


def test_without_a_measurement_of_prediction_the_cells_and_the_caption_say_so(report):
    changed = copy.deepcopy(report)
    changed["datasets"][0] |= {"measured_cost": None, "not_measured": "The job failed."}
    page = Page(render(changed, {}))
    costs = next(t for t in page.tables if t[1][0] == "parameters / million")
    assert costs[2][-5:] == ["not measured"] * 5
    assert "Prediction was not measured here. The job failed." in page.text


def test_a_transfer_stands_beside_the_own_scores_and_a_dash_where_there_is_none(page):
    table = next(t for t in page.tables if t[0][1] == "own, Small")
    assert table[1:] == [
        ["boundary_attention, ensemble", ".600", ".500", "-.100", ".650"],
        ["the choice", "-", ".500", "-", "-"],
    ]
    assert "2 images of 1 group: the test part of Other" in page.text
    assert "enlarged to 200 % of their sides" in page.text
    every = next(t for t in page.tables if t[0][0] == "model" and t[0][-1] == "merges" and "AP" in t[0][2])
    assert every[1][1:] == [".500 -.100", ".500 -.100", ".500 -.100", "1,234"]
    assert f"There are no scores of this transfer: {HOSTILE}" in page.text


def test_a_report_that_asks_for_no_transfer_has_no_section_of_it(report):
    assert 'id="transfer"' not in render(report | {"transfers": []}, {})


def test_a_report_without_results_is_a_page_as_well(report):
    bare = copy.deepcopy(report)
    one = bare["datasets"][0] | {"inference": None, "test": None, "crops": [], "curves": [], "costs": {}}
    none = {"comparison": None, "classes": None, "not_compared": "baseline has no finished fold."}
    one |= {"seeds": [one["seeds"][0] | none], "planned_cost": {}}
    bare |= {"datasets": [one], "ranks": []}
    page = Page(render(bare, {}))
    assert "Nothing is compared: baseline has no finished fold." in page.text
    assert "There is no choice of an ensemble here." in page.text
    assert not [tag for tag, _ in page.elements if tag == "img"]


def test_what_records_lack_is_left_out(report):
    bare = copy.deepcopy(report) | {"ranks": []}
    one = bare["datasets"][0] | {"test": {"images": 1, "groups": 1, "rows": []}, "planned_cost": {}}
    one["inference"] = {"configs": ["boundary"], "folds": [0], "decoder": {}, "measure": "PQ (pooled)"}
    text = Page(render(bare | {"datasets": [one]}, {})).text
    assert "the mean of boundary over the folds 0" in text
    assert "The plan expected" not in text
