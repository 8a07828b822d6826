"""The word "test" makes a test part, however it is joined to others; words that have it inside do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.datasets.finding.parts import by_part, part_of, says_test

WORDS = ("test", "tests", "testing", "testset", "testdata")


@pytest.mark.parametrize(
    "name",
    [
        *("test_same", "test-diff", "my_test", "2018 test", "test2017", "instances_test2017", "01_test_images"),
        *("MoNuSegTestData", "MoNuSAC Testing Data and Annotations", "TestData", "imagesTest", "TEST_1", "TESTING"),
    ],
)
def test_names_with_the_word_say_test(name: str):
    assert says_test(name)


@pytest.mark.parametrize(
    "name",
    [
        *("latest", "Latest", "LATEST", "testis", "Testis", "TESTIS", "human testis", "contest", "attestation"),
        *("tester", "testosterone", "fastest_run", "protested", "train", "", "te_st", "intestine"),
    ],
)
def test_other_words_do_not(name: str):
    assert not says_test(name)


@given(st.sampled_from(WORDS), st.sampled_from(["lower", "capitalize", "upper"]), *[st.text("0123456789_- .()")] * 2)
@settings(max_examples=50, deadline=None)
def test_signs_and_digits_around_the_word_change_nothing(word: str, case: str, before: str, after: str):
    assert says_test(before + getattr(word, case)() + after)
    assert not says_test(before + getattr(f"la{word}", case)() + after)


def test_folders_between_the_source_and_the_file_decide(tmp_path: Path):
    folder = tmp_path / "test"
    assert part_of(folder / "a.png", folder) == "Tr"
    assert part_of(folder / "train" / "test.png", folder) == "Tr"
    assert part_of(folder / "Test" / "tiles" / "a.png", folder) == "Ts"


def test_one_stem_in_both_parts_has_two_keys(tmp_path: Path):
    train, test = tmp_path / "train" / "a.png", tmp_path / "test" / "a.png"
    assert by_part([train, test], tmp_path) == [(("Tr", "a"), train), (("Ts", "a"), test)]
