"""What a decision can be set to: small readers that check a value and give it back in the planned type.

A form is called with the place ("The decision 'gate'", for messages), the value that a user gave and the value that
was planned; it raises `NucplanError` on a wrong one. Values come from JSON, in which ``true`` is no number and NaN
and Infinity may appear.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any, NoReturn

from nucplan.errors import NucplanError

Form = Callable[[str, Any, Any], Any]


def number(low: float, high: float, above: bool = False) -> Form:
    """A float from ``low``, itself excluded where ``above``, to ``high``."""
    words = f"a number above {low:g}, up to {high:g}" if above else f"a number from {low:g} to {high:g}"

    def read(place: str, given: Any, planned: Any) -> float:
        # No comparison with NaN holds, so it falls out of every range.
        right = _is_number(given) and (low < given if above else low <= given) and given <= high
        return float(given) if right else refuse(place, words, given, planned)

    return read


def whole(low: int, high: int | None = None, odd: bool = False) -> Form:
    """An int from ``low`` to ``high``, or without an upper bound."""
    kind = "an odd whole number" if odd else "a whole number"
    words = f"{kind} of {low} or more" if high is None else f"{kind} from {low} to {high}"

    def read(place: str, given: Any, planned: Any) -> int:
        right = isinstance(given, int) and not isinstance(given, bool) and low <= given
        right = right and (high is None or given <= high) and (not odd or given % 2 == 1)
        return given if right else refuse(place, words, given, planned)

    return read


def yes_or_no(place: str, given: Any, planned: Any) -> bool:
    """``true`` or ``false``."""
    return given if isinstance(given, bool) else refuse(place, "true or false", given, planned)


def text(place: str, given: Any, planned: Any) -> str:
    """A text that is not empty."""
    return given if isinstance(given, str) and given else refuse(place, "a name", given, planned)


def one_of(choices: Collection[str]) -> Form:
    """One of a few names."""

    def read(place: str, given: Any, planned: Any) -> str:
        right = isinstance(given, str) and given in choices
        return given if right else refuse(place, f"one of {', '.join(choices)}", given, planned)

    return read


def several(entry: Form, count: int | None = None) -> Form:
    """A list of ``count`` entries, or of as many as were planned."""

    def read(place: str, given: Any, planned: Any) -> list[Any]:
        wanted = len(planned) if count is None else count
        if not isinstance(given, list | tuple) or len(given) != wanted:
            refuse(place, f"a list of {wanted}", given, planned)
        return [entry(part_of(place, f"Entry {k}"), value, planned) for k, value in enumerate(given, start=1)]

    return read


def parts(forms: Mapping[str, Form]) -> Form:
    """Some or all parts of a decision; the others stay as planned."""

    def read(place: str, given: Any, planned: Any) -> dict[str, Any]:
        if not isinstance(given, Mapping):
            refuse(place, f"parts of it, such as {_example(planned)}", given, planned)
        for name in given:
            if name not in planned:
                raise NucplanError(f"{place} has no part '{name}'; {nearest(str(name), planned, 'parts')}")
        checked = {
            name: forms[name](part_of(place, f"The part '{name}'"), value, planned[name])
            for name, value in given.items()
        }
        return {**planned, **checked}

    return read


def refuse(place: str, words: str, given: Any, planned: Any) -> NoReturn:
    """Say in one sentence what was given where, and what would be right.

    Raises
    ------
    NucplanError
        Always.
    """
    raise NucplanError(f"{place} takes {words}, not {as_json(given)}; planned was {as_json(planned)}.")


def part_of(place: str, part: str) -> str:
    """The place of a part: "The part 'alpha'" of "The decision 'gate'"."""
    return f"{part} of {place[0].lower()}{place[1:]}"


def nearest(name: str, known: Collection[str], kind: str) -> str:
    """The end of a sentence about an unknown name: the known ones that are like it, or all of them."""
    within = [other for other in known if len(name) > 2 and name in other]
    alike = dict.fromkeys([*get_close_matches(name, known), *within])
    return f"did you mean {' or '.join(alike)}?" if alike else f"its {kind} are {', '.join(known)}."


def as_json(value: Any) -> str:
    """A value as it would be typed after ``--set NAME=``, for messages."""
    return json.dumps(value, default=str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _example(planned: Mapping[str, Any]) -> str:
    name = next(iter(planned))
    return as_json({name: planned[name]})
