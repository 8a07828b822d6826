from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.datasets.finding.case_names import case_name, distinct_names


@given(st.text())
@settings(max_examples=50, deadline=None)
def test_only_signs_that_every_shell_takes_are_left_and_names_of_these_stay(text: str):
    name = case_name(text)
    assert re.fullmatch(r"[A-Za-z0-9._-]*", name)
    assert case_name(name) == name
    assert bool(name) == bool(text)


def test_a_run_of_other_signs_becomes_one():
    assert case_name("mouse fat (white)_01") == "mouse_fat_white__01"


def test_names_begin_with_the_folder_only_where_one_is_there_twice():
    assert distinct_names([("a", "train"), ("b", "test")]) == ["a", "b"]
    assert distinct_names([("a", "train"), ("a", "test"), ("b", "test")]) == ["train_a", "test_a", "test_b"]
