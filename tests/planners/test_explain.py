"""The table of decisions: complete, within the terminal, marked where a user or a limit spoke."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planners.explain import explain

words = st.lists(st.text("abcdefghij0123.-", min_size=1, max_size=12), min_size=1, max_size=40).map(" ".join)
values = st.one_of(
    st.integers(), st.floats(allow_nan=False), st.none(), st.booleans(), words,
    st.lists(st.integers(0, 999), max_size=9),
    st.dictionaries(st.text("abc_", min_size=1, max_size=20), st.floats(0, 1), min_size=1, max_size=5),
)  # fmt: skip
decisions_of_plans = st.dictionaries(
    st.text("abcdefg_", min_size=1, max_size=20),
    st.fixed_dictionaries({"value": values, "because": words}, optional={"limit": words, "overridden": st.just(True)}),
    min_size=1,
    max_size=8,
)


def plans_of(decisions: dict) -> dict:
    return {"nucplan": {"decisions": decisions}}


def columns_of(table: str) -> list[tuple[str, str, str]]:
    """The lines of a table as (decision, value, because), found by the dashes under the heads."""
    lines = table.split("\n")
    first, second, _ = (len(dashes) for dashes in lines[1].split("  "))
    return [(line[:first], line[first + 2 : first + second + 2], line[first + second + 4 :]) for line in lines[2:]]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch):
    """``terminal(columns)`` sets the width."""
    return lambda columns: monkeypatch.setenv("COLUMNS", str(columns))


@pytest.mark.parametrize(("columns", "width"), [(80, 80), (111, 111), (40, 80), (500, 160)])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(decisions_of_plans)
def test_every_decision_and_reason_is_in_the_table_and_no_line_is_too_long(terminal, columns, width, decisions) -> None:
    terminal(columns)
    table = explain(plans_of(decisions))
    assert all(len(line) <= width for line in table.split("\n"))
    cells = columns_of(table)
    assert [name.strip() for name, _, _ in cells if name.strip()] == list(decisions)
    # A word that is longer than its column is cut, so only the letters are compared.
    shown = "".join(because.replace(" ", "") for _, _, because in cells)
    for decision in decisions.values():
        assert decision["because"].replace(" ", "") in shown
        if "limit" in decision:
            assert f"atitslimit:{decision['limit'].replace(' ', '')}" in shown
    assert shown.count("*setbyyou") == sum("overridden" in decision for decision in decisions.values())


def test_parts_of_a_value_have_lines_of_their_own_and_floats_are_short(terminal) -> None:
    terminal(100)
    value = {"diameter": 18.23456789, "name": "interior", "frozen": False, "taps": [1, 2, 4, 5]}
    cells = columns_of(explain(plans_of({"decoder": {"value": value, "because": "So."}})))
    assert [part.strip() for _, part, _ in cells] == [
        "diameter: 18.23",
        "name: interior",
        "frozen: no",
        "taps: 1, 2, 4, 5",
    ]


def test_equal_normalisations_of_many_channels_are_counted(terminal) -> None:
    terminal(80)
    table = explain(plans_of({"normalization": {"value": ["ZScoreNormalization"] * 30, "because": "So."}}))
    assert "30 x ZScoreNormalization" in table
