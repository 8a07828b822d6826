"""The tables of an ablation: what stands in them, and how numbers are written."""

from __future__ import annotations

import numpy as np
import pytest

from nucplan.metrics.image import ImageCounts, evaluate_image
from nucplan.metrics.paired import COVERAGE, PairedFold, corrected_t_test, paired_difference
from nucplan.metrics.scores import ABLATION_SCORES, DICE, PQ_POOLED, mpq_plus
from nucplan.report.ablation import ablation, primary_scores
from nucplan.report.markdown import ablation_tables
from nucplan.report.numbers import number_text

GROUPS = {"image0": "p", "image1": "p", "image2": "q", "image3": "r", "image4": "s", "image5": "t"}


SHARES = dict.fromkeys(range(5), 1 / 4)


def reference() -> np.ndarray:
    labels = np.zeros((24, 24), np.int32)
    labels[2:10, 2:10], labels[2:10, 10:18], labels[14:20, 4:12] = 1, 2, 3
    return labels


def counts(name: str, merged: bool, shift: int) -> ImageCounts:
    predicted = np.roll(reference(), shift, axis=0)
    if merged:
        predicted[predicted == 2] = 1
    return evaluate_image(predicted, reference(), boundary_width=1, name=name)


def folds(merged: bool, shift: int = 0) -> dict[int, list[ImageCounts]]:
    """Folds 0, 1 and 3 of two images each; the shift grows with the image."""
    images = [counts(f"image{k}", merged and k % 2 == 0, shift * (k % 3)) for k in range(6)]
    return {0: images[:2], 1: images[2:4], 3: images[4:]}


def tables(configs) -> dict[str, dict[str, dict[str, str]]]:
    """The printed tables: head line -> row -> column -> cell."""
    found = {}
    parts = ablation_tables(ablation(configs, GROUPS, SHARES)).split("\n\n")
    for head, table in zip(parts[::2], parts[1::2], strict=True):
        titles, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n")]
        assert all(len(row) == len(titles) for row in rows)
        name = head.split(",")[0].rstrip(":")
        found[name] = {row[0]: dict(zip(titles, row, strict=True)) for row in rows}
    return found


CONFIGS = {"baseline": folds(merged=True), "boundary": folds(merged=False, shift=1)}


def test_cells_are_the_scores_of_the_folds_and_of_all_images():
    found = tables(CONFIGS)
    for name, of in CONFIGS.items():
        means, pooled = found["Mean over the folds"][name], found["All out-of-fold images together"][name]
        for score in ABLATION_SCORES:
            values = [score(images) for images in of.values()]
            images = [image for fold in of.values() for image in fold]
            assert float(means[score.title]) == pytest.approx(np.mean(values), abs=0.0501 if score.is_count else 6e-4)
            assert float(pooled[score.title]) == pytest.approx(score(images), abs=6e-4)
    assert found["All out-of-fold images together"]["baseline"]["merges"] == "3"


def test_differences_are_written_with_their_interval():
    row = tables(CONFIGS)["Difference to baseline"]["boundary"]
    paired = [
        PairedFold([GROUPS[image.name] for image in images], images, CONFIGS["boundary"][fold])
        for fold, images in CONFIGS["baseline"].items()
    ]
    expected = paired_difference(PQ_POOLED, paired)
    difference, interval = row[PQ_POOLED.title].split(" ", 1)
    low, high = map(float, interval.strip("[]").split(","))
    np.testing.assert_allclose([float(difference), low, high], expected[:3], atol=6e-4)
    assert difference.startswith(("+.", "-."))
    merges = paired_difference(ABLATION_SCORES[3], paired)
    assert row["merges"] == f"-1.0 [{merges.low:.1f}, {merges.high:.1f}]"


def test_a_config_equal_to_the_first_differs_by_nothing_and_is_not_tested():
    found = tables({"baseline": CONFIGS["baseline"], "copy": CONFIGS["baseline"]})
    row = found["Difference to baseline"]["copy"]
    assert row[PQ_POOLED.title] == "+.000 [.000, .000]"
    assert row["merges"] == "+0.0 [0.0, 0.0]"
    test = found["p of the corrected resampled t test over the folds"]["copy"]
    assert test == {"config": "copy", DICE.title: "-", PQ_POOLED.title: "-"}


def test_p_values_are_corrected_for_all_tests_of_the_table():
    configs = CONFIGS | {"copy": CONFIGS["baseline"]}
    cells = tables(configs)["p of the corrected resampled t test over the folds"]["boundary"]
    of_folds = [[s(CONFIGS["boundary"][k]) - s(CONFIGS["baseline"][k]) for k in (0, 1, 3)] for s in (DICE, PQ_POOLED)]
    raw = [corrected_t_test(np.array(differences), 1 / 4) for differences in of_folds]
    known = sorted(p for p in raw if not np.isnan(p))
    shown = sorted(float(cells[s.title]) for s in (DICE, PQ_POOLED) if cells[s.title] != "-")
    assert len(shown) == len(known) > 0
    assert shown[0] == pytest.approx(min(1, len(known) * known[0]), abs=6e-4)


def test_fold_sizes_count_images_nuclei_and_groups():
    sizes = tables(CONFIGS)["Validation parts"]
    assert sizes["images"] == {"": "images", "fold 0": "2", "fold 1": "2", "fold 3": "2"}
    assert sizes["nuclei"]["fold 1"] == "6"
    assert [sizes["groups"][f"fold {fold}"] for fold in (0, 1, 3)] == ["1", "2", "2"]


def difference_head(count: int) -> str:
    first = folds(merged=True)[0]
    configs = {name: dict.fromkeys(range(count), first) for name in CONFIGS}
    parts = ablation_tables(ablation(configs, GROUPS, dict.fromkeys(range(count), 0.25))).split("\n\n")
    return next(part for part in parts if part.startswith("Difference"))


def test_the_heading_says_how_many_folds_there_are_and_what_few_of_them_mean_for_the_interval():
    assert "(1 fold: over its groups alone, which leaves out how much trainings differ" in difference_head(1)
    assert "(2 folds: too narrow, in simulations it covers the truth in 75 to 93 %" in difference_head(2)
    assert all(f"({count} folds: too narrow" in difference_head(count) for count in (2, 3, 4))
    assert "(5 folds: too narrow, in simulations it covers the truth in 89 to 94 %" in difference_head(5)
    assert difference_head(6).endswith("(6 folds):")


def test_one_config_has_no_difference():
    alone = tables({"baseline": CONFIGS["baseline"]})
    assert list(alone) == ["Mean over the folds", "All out-of-fold images together", "Validation parts"]


def test_the_difference_is_that_of_the_means_also_where_one_config_has_no_score_in_a_fold():
    """Of an image without nuclei, only a config that finds some has a PQ."""
    nothing, something = np.zeros((24, 24), np.int32), reference()
    empty = [
        evaluate_image(found, nothing, boundary_width=1, name="empty") for found in (nothing, something, something)
    ]
    configs = {
        name: folds(merged, shift) | {4: [image]}
        for (name, merged, shift), image in zip(
            [("baseline", True, 0), ("boundary", False, 1), ("third", True, 1)], empty, strict=True
        )
    }
    text, found = ablation_tables(ablation(configs, GROUPS, SHARES)), tables(configs)
    assert "PQ (pooled): only over the folds 0, 1, 3, where all configs have it" in text.split("\n\n")[0]
    for name in ("boundary", "third"):
        for score in ABLATION_SCORES:
            means = [float(found["Mean over the folds"][config][score.title]) for config in ("baseline", name)]
            difference = float(found["Difference to baseline"][name][score.title].split(" ")[0])
            assert difference == pytest.approx(means[1] - means[0], abs=0.101 if score.is_count else 1.1e-3)
    # Without the fold that only the others have.
    without = tables({"baseline": folds(merged=True), "third": folds(merged=True, shift=1)})
    pq = PQ_POOLED.title
    assert found["Mean over the folds"]["third"][pq] == without["Mean over the folds"]["third"][pq]


def test_a_score_that_exists_nowhere_is_a_dash():
    empty = np.zeros((8, 8), np.int32)
    images = {0: [evaluate_image(empty, empty, boundary_width=1, name="image0")]}
    found = tables({"baseline": images, "boundary": images})
    assert found["Mean over the folds"]["baseline"][PQ_POOLED.title] == "-"
    assert found["Difference to baseline"]["boundary"][PQ_POOLED.title] == "-"


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.5321, 3, ".532"),
        (-0.0214, 3, "-.021"),
        (-0.0001, 3, ".000"),
        (1.0, 3, "1.000"),
        (-10.25, 3, "-10.250"),
        (-0.64, 1, "-0.6"),
        (-0.04, 1, "0.0"),
        (float("nan"), 3, "-"),
    ],
)
def test_numbers_have_no_zero_before_the_point_and_zero_has_no_sign(value, decimals, text):
    assert number_text(value, decimals) == text


def typed(name: str, right: bool) -> ImageCounts:
    """An image with a nucleus of each of two classes, the second one found in its class or in the other."""
    truth = np.zeros((24, 24), np.int32)
    truth[2:10, 2:10], truth[14:20, 4:12] = 1, 2
    return evaluate_image(truth, truth, {1: 1, 2: 2 if right else 1}, {1: 1, 2: 2}, boundary_width=1, name=name)


def test_with_classes_the_mean_of_their_pooled_pq_is_primary_and_a_config_without_classes_has_none():
    skills = {"baseline": False, "boundary": True}
    found = {name: {0: [typed("image0", right)], 1: [typed("image1", right)]} for name, right in skills.items()}
    made = ablation(found | {"stock": {k: [counts(f"image{k}", False, 0)] for k in (0, 1)}}, GROUPS, SHARES, classes=2)
    place = [score["title"] for score in made["scores"]].index(mpq_plus(2).title)
    assert [score["title"] for score in made["scores"] if score["primary"]] == [DICE.title, mpq_plus(2).title]
    cells = {row["config"]: row["cells"][place] for row in made["rows"]}
    # Of the first class one of two predictions matches, of the second none.
    assert cells["baseline"]["mean"] == pytest.approx((1 / 1.5 + 0) / 2)
    assert cells["boundary"]["mean"] == 1
    assert made["scores"][place]["folds"] == [0, 1]
    assert cells["stock"]["pooled"] is None
    assert cells["stock"]["difference"]["mean"] is None


def test_with_one_class_dice_and_the_pooled_pq_are_primary():
    assert primary_scores(1) == primary_scores(0) == (DICE, PQ_POOLED)


def test_a_config_that_lacks_a_fold_is_compared_over_the_others_and_changes_no_other_row():
    whole = ablation(CONFIGS, GROUPS, SHARES)
    partial = {fold: images for fold, images in folds(merged=False, shift=2).items() if fold != 1}
    made = ablation(CONFIGS | {"partial": partial}, GROUPS, {0: 0.5, 1: 3.0, 3: 0.3})
    for before, row in zip(whole["rows"], made["rows"], strict=False):
        assert row["folds"] == [0, 1, 3]
        assert [cell["mean"] for cell in row["cells"]] == [cell["mean"] for cell in before["cells"]]
    row = made["rows"][2]
    assert (row["folds"], row["coverage"]) == ([0, 3], COVERAGE[2])
    assert row["variance_factor"] == pytest.approx(1 / 2 + 0.4)
    for cell, score in zip(row["cells"], ABLATION_SCORES, strict=True):
        values = [score(partial[fold]) for fold in (0, 3)]
        assert cell["mean"] == pytest.approx(np.mean(values))
        baseline = np.mean([score(CONFIGS["baseline"][fold]) for fold in (0, 3)])
        assert cell["difference"]["mean"] == pytest.approx(np.mean(values) - baseline)
        assert cell["of_folds"][1] is None


def test_a_config_that_is_not_tested_changes_no_p_value():
    alone = ablation(CONFIGS, GROUPS, SHARES)["rows"][1]
    made = ablation(CONFIGS | {"again": folds(merged=False, shift=2)}, GROUPS, SHARES, untested=["again"])
    assert made["rows"][1] == alone
    assert "p" not in made["rows"][2]["cells"][0]["difference"]
    assert [row["tested"] for row in made["rows"]] == [False, True, False]
