"""Whoever converts images that are not for commerce is told so, and nobody else is."""

from __future__ import annotations

import pytest

from nucplan.datasets import all_formats
from nucplan.datasets.licences import licence_notice


@pytest.mark.parametrize(
    "licence",
    [
        "CC BY-NC-SA 4.0",
        "CC-BY-NC-SA-4.0",
        "CC BY-NC 4.0",
        "modified Apache 2.0, non-commercial academic use",
        "noncommercial",
        "Non Commercial",
        "for research only",
        "Research use only",
        "academic use only",
        "for research purposes only",
        "for academic research purposes only",
        "Not for commercial use",
    ],
)
def test_it_is_said_aloud(licence: str):
    assert licence_notice(licence).startswith(f"Licence: {licence}. NOT FOR COMMERCIAL USE")


@pytest.mark.parametrize("licence", ["CC0-1.0", "CC BY 4.0", "CC-BY-SA-4.0", "Apache-2.0", "MIT", "BSD-3-Clause"])
def test_free_ones_are_named(licence: str):
    assert licence_notice(licence) == f"Licence: {licence}."


@pytest.mark.parametrize("licence", [None, ""])
def test_no_licence_is_no_permission(licence: str | None):
    assert "the source names none; ask" in licence_notice(licence)


def test_every_format_that_names_a_licence_gives_one_line():
    for known in all_formats().values():
        assert "\n" not in licence_notice(known.licence)
