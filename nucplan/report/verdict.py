"""The sentence on top of a dataset's report: which config is better, as far as the numbers allow it to be said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nucplan.metrics.paired import LEVEL, PairedDifference
from nucplan.report.numbers import number_text

ALPHA = 1 - LEVEL
# What the simulated false alarms of the interval are for; fewer folds or seeds need the corrected t test.
ENOUGH_FOLDS, ENOUGH_SEEDS = 5, 3
SEEDS_OPTION = "--seeds 0,1,2"
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Comparison:
    """One config against the baseline by one score of which more is better.

    Attributes
    ----------
    config : str
    title : str
        Of the score.
    difference : PairedDifference
        Of the config to the baseline.
    p : float
        Of the corrected resampled t test, after Holm for all configs and primary scores; NaN where there is no test.
    folds : int
        Compared: finished by both, with the score under both.
    folds_asked : int
        As many as there would be without failures.
    seeds : int
        Compared in every fold.
    noise_floor : float or None
        Standard deviation of the score between seeds, or None where it is unknown.
    """

    config: str
    title: str
    difference: PairedDifference
    p: float
    folds: int
    folds_asked: int
    seeds: int
    noise_floor: float | None

    def to_dict(self) -> dict[str, Any]:
        """Its numbers as plain values, None for what does not exist."""
        numbers = {name: getattr(self.difference, name) for name in ("mean", "low", "high")} | {"p_holm": self.p}
        return {
            **{name: getattr(self, name) for name in ("config", "title", "folds", "folds_asked", "seeds")},
            **{name: None if math.isnan(value) else float(value) for name, value in numbers.items()},
            "noise_floor": self.noise_floor,
            "sure": self.is_sure,
        }

    @property
    def is_sure(self) -> bool:
        """Whether the difference may be called one, in either direction.

        Its interval excludes 0, and either the corrected t test says so too, or three seeds of five folds do with a
        difference that is larger than what a seed alone changes.
        """
        found = self.difference
        if not (found.low > 0 or found.high < 0):
            return False
        enough = self.folds >= ENOUGH_FOLDS and self.seeds >= ENOUGH_SEEDS
        above_noise = self.noise_floor is not None and abs(found.mean) > self.noise_floor
        # Comparisons with NaN are false.
        return self.p <= ALPHA or (enough and above_noise)


def verdict(baseline: str, comparisons: Sequence[Comparison]) -> str:
    """One sentence over all configs, each by its first score.

    "Better" and "worse" are said only where `Comparison.is_sure`; else who leads, that this is not told from noise,
    and what would tell it.

    Parameters
    ----------
    baseline : str
        The config that the others are compared with.
    comparisons : sequence of Comparison
        One for each of the others, in the order of the report; empty where there is none.
    """
    if not comparisons:
        return f"There is nothing to compare {baseline} with; name further configs with --configs."
    return "; ".join(_clause(baseline, one) for one in comparisons) + "."


def _clause(baseline: str, one: Comparison) -> str:
    return f"{_finding(baseline, one)}{_holes(one)}"


def _finding(baseline: str, one: Comparison) -> str:
    found = one.difference
    if one.folds == 0 and one.folds_asked > 0:
        return f"{one.config} cannot be compared with {baseline}: no fold has {one.title} under both"
    if math.isnan(found.mean):
        return f"{one.config} cannot be compared with {baseline} by {one.title}, which has no value without nuclei"
    if found.mean == found.low == found.high == 0:
        return f"{one.config} equals {baseline} in {one.title}"
    effect = f"{baseline} by {_effect(one)}"
    if one.is_sure:
        return f"{one.config} is {'better' if found.mean > 0 else 'worse'} than {effect}"
    if found.mean == 0:
        return f"{one.config} is level with {baseline} in {one.title} over {_what_there_is(one)}{_way_out(one)}"
    lead = "leads" if found.mean > 0 else "trails"
    return f"{one.config} {lead} {effect}, which {_what_there_is(one)} cannot tell from noise{_way_out(one)}"


def _effect(one: Comparison) -> str:
    found = one.difference
    mean, low, high = (number_text(value, 3) for value in (abs(found.mean), found.low, found.high))
    # What trails does so by a positive amount; its interval says the direction once more.
    sign = "+" if found.mean > 0 else ""
    interval = "" if math.isnan(found.low) else f" [{low}, {high}]"
    return f"{sign}{mean} {one.title}{interval}"


def _what_there_is(one: Comparison) -> str:
    return f"{_counted(one.folds, 'fold')} of {_counted(one.seeds, 'seed')}"


def _way_out(one: Comparison) -> str:
    steps = [] if one.folds >= ENOUGH_FOLDS else ["train all folds"]
    steps += [] if one.seeds >= ENOUGH_SEEDS else [f"repeat with {SEEDS_OPTION}"]
    return f" ({' and '.join(steps)})" if steps else ""


def _holes(one: Comparison) -> str:
    if not 0 < one.folds < one.folds_asked:
        return ""
    return f" (over {_counted(one.folds, 'fold')} of {_counted(one.folds_asked, '')}, the others are missing)"


def _counted(count: int, noun: str) -> str:
    word = WORDS[count] if count < len(WORDS) else str(count)
    return f"{word} {noun}{'s' if noun and count != 1 else ''}".strip()
