"""What differs first between two manifests, in the order in which one thing follows from another."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nucplan.plans import NEUTRAL

# Results follow from what stands before them: a changed label file changes all scores, and is what should be named.
WORDS = {
    "format": "the format of the manifest",
    "raw": "the raw files",
    "study": "what was asked",
    "command": "the command",
    "code": "the code",
    "environment": "the environment",
    "plans": "the plan",
    "planning": "how the plan came about",
    "splits": "the folds",
    "commands": "the commands of the jobs",
    "results": "the trainings",
    "reference": "stock nnU-Net",
    "choices": "the choice of the ensemble and its test scores",
}
# On a GPU, where sums are taken in another order each time: absolute, on scores from 0 to 1. A choice, see
# docs/reproducibility.md.
TOLERANCE = 0.02
SCORES = ("pq_pooled", "dice_image_mean")
HASH = re.compile("[0-9a-f]{64}")
ABSENT = object()
# Longer values are cut: a difference is one line.
SHOWN = 60

Manifest = Mapping[str, Any]
Keys = tuple[str, ...]


def first_difference(
    original: Manifest, repeated: Manifest, sections: Sequence[str] = tuple(WORDS), tolerance: float | None = None
) -> str | None:
    """The first of `differences`; None where the manifests agree."""
    return next(differences(original, repeated, sections, tolerance), None)


def differences(
    original: Manifest, repeated: Manifest, sections: Sequence[str] = tuple(WORDS), tolerance: float | None = None
) -> Iterator[str]:
    """What differs, each in words that end a sentence.

    Parameters
    ----------
    original, repeated
        As `nucplan.reproduction.manifest.manifest_of` makes them.
    sections
        Which parts count, in any order.
    tolerance
        None compares everything. A number compares the trainings by their `SCORES` alone, which may differ so much.
    """
    for section in (name for name in WORDS if name in sections):
        parts = (content.get(section, {}) for content in (original, repeated))
        there, here = (dict(_leaves(_telling(part) if section == "plans" else part)) for part in parts)
        for path in dict.fromkeys([*there, *here]):
            if section == "results" and tolerance is not None and not _is_score(path):
                continue
            values = there.get(path, ABSENT), here.get(path, ABSENT)
            if not _agree(*values, tolerance if section == "results" else None):
                yield f"{WORDS[section]}: {_sentence(path, *values)}"


def score_differences(original: Manifest, repeated: Manifest) -> dict[str, float]:
    """By score, how far the trainings of both manifests are apart at most; for scores that both have."""
    there, here = (dict(_leaves(content.get("results", {}))) for content in (original, repeated))
    found: dict[str, float] = {}
    for path in filter(_is_score, there):
        if _is_number(there[path]) and _is_number(here.get(path)):
            found[path[-1]] = max(found.get(path[-1], 0.0), abs(there[path] - here[path]))
    return found


def _telling(plans: Any) -> Any:
    """The decisions by dataset without those that say what their absence says: an earlier nucplan wrote none."""
    if not isinstance(plans, Mapping):
        return plans
    return {name: _without_neutral(of) if isinstance(of, Mapping) else of for name, of in plans.items()}


def _without_neutral(decisions: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in decisions.items() if name not in NEUTRAL or value != NEUTRAL[name]}


def _leaves(content: Any, path: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    # An empty object is a leaf: what is not there must not look like what is empty.
    if isinstance(content, Mapping) and content:
        for key, value in content.items():
            yield from _leaves(value, (*path, key))
    else:
        yield path, content


def _is_score(path: Keys) -> bool:
    return len(path) > 1 and path[-2] == "scores" and path[-1] in SCORES


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _agree(there: Any, here: Any, tolerance: float | None) -> bool:
    if ABSENT in (there, here):
        return False
    if tolerance is not None and _is_number(there) and _is_number(here):
        return abs(there - here) <= tolerance
    # As text: in Python 1, 1.0 and true are equal.
    return json.dumps(there, sort_keys=True) == json.dumps(here, sort_keys=True)


def _sentence(path: Keys, there: Any, here: Any) -> str:
    place = ", ".join(path)
    if here is ABSENT:
        return f"{place} is missing"
    if there is ABSENT:
        return f"{place} is new"
    if all(isinstance(value, str) and HASH.fullmatch(value) for value in (there, here)):
        return f"{place} has changed"
    return f"{place} was {_short(there)} and is {_short(here)}".lstrip()


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
