"""What a user is told about the data: every fault once, with places to look at, and nothing where all is well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planners.findings import findings
from planners.rules import Decision

FINE = {
    "scale": Decision(1, "."),
    "oracle_ceiling": Decision(0.99, ".", {"ceilings": {"distance": {"clean": 0.98}}}),
    "batch_size": Decision(2, ".", {"predicted_bytes": 1, "target_bytes": 2}),
}


def test_nothing_is_said_where_all_is_well(fingerprint_of) -> None:
    assert findings(fingerprint_of(), FINE) == []


@pytest.mark.parametrize(
    ("fault", "found", "expected"),
    [
        ("pieces", 1, "In several pieces: 1 nucleus (a: id 1)."),
        ("specks", 7, "Under 2 % of the usual area: 7 nuclei (a: id 1, a: id 2, a: id 3, ...)."),
        ("empty_images", ["x", "y"], "Without a nucleus: 2 images (x, y)."),
        ("near_duplicates", [["x", "y"]], "Alike, but of different groups: 1 pair (x and y) of images;"),
    ],
)
def test_a_fault_is_named_with_examples(fingerprint_of, fault, found, expected) -> None:
    count = found if isinstance(found, int) else 0
    examples = {"pieces": [], "specks": []} | {fault: [f"a: id {k + 1}" for k in range(min(5, count))]}
    faults = fingerprint_of().faults | {fault: found, "examples": examples}
    (sentence,) = findings(replace(fingerprint_of(), faults=faults), FINE)
    assert sentence.startswith(expected)


def test_labels_that_cannot_be_represented_are_said_with_the_number(fingerprint_of) -> None:
    (sentence,) = findings(fingerprint_of(), FINE | {"oracle_ceiling": replace(FINE["oracle_ceiling"], value=0.871)})
    assert "PQ 0.871 instead of 0.97" in sentence


def test_a_step_that_does_not_fit_is_said_with_both_sizes(fingerprint_of) -> None:
    large = Decision(1, ".", {"predicted_bytes": 3 * 2**30, "target_bytes": 2 * 2**30})
    (sentence,) = findings(fingerprint_of(), FINE | {"batch_size": large})
    assert "3.0 GiB" in sentence
    assert "2.0 GiB" in sentence


def test_what_foreground_alone_cannot_part_is_said(fingerprint_of) -> None:
    merged = Decision(0.99, ".", {"ceilings": {"distance": {"clean": 0.873}}})
    (sentence,) = findings(fingerprint_of(), FINE | {"oracle_ceiling": merged})
    assert "PQ 0.873 at best" in sentence
