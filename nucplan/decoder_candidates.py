"""The family of decoders as a small explicit grid: what may be tried on the maps of trained networks.

A candidate is a decoder with the fractions that it reads. It knows no diameter, so candidates of several sets of images
compare: a default has to suit nuclei of every size.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import NamedTuple

from nucplan.decoder_plan import DECODERS, DecoderPlan, needs_boundary

# The fields that each decoder reads; the others, such as the smallest nucleus, follow from the annotation.
_OUTLINE = ("foreground_threshold", "seed_spacing", "neck", "smoothing")
FIELDS: dict[str, tuple[str, ...]] = {
    "distance": _OUTLINE,
    "boundary": (*_OUTLINE, "seed_threshold"),
    "tempered": (*_OUTLINE, "boundary_threshold"),
    "interior": (*_OUTLINE, "boundary_threshold"),
}
# Lengths are fractions of the planned diameter, thresholds are probabilities; a step is about what makes a difference.
LADDERS: dict[str, tuple[float, ...]] = {
    "foreground_threshold": (0.3, 0.4, 0.5, 0.6, 0.7),
    "seed_spacing": (0.15, 0.2, 0.3, 0.4, 0.5, 0.6),
    "neck": (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.8, 0.87, 0.95),
    "smoothing": (0.0, 0.025, 0.05, 0.1, 0.15, 0.2),
    "seed_threshold": (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8),
    "boundary_threshold": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
}
# Where the search starts: the two fields that part nuclei, the others as the decoder has them by default.
_COARSE: dict[str, dict[str, tuple[float, ...]]] = {
    "distance": {"seed_spacing": (0.2, 0.3, 0.4, 0.5), "neck": (0.7, 0.8, 0.87, 0.95)},
    "boundary": {"seed_threshold": (0.1, 0.2, 0.35, 0.5), "neck": (0.6, 0.8, 0.95)},
    "tempered": {"seed_spacing": (0.2, 0.3, 0.4), "neck": (0.4, 0.6, 0.8, 0.95)},
    "interior": {"boundary_threshold": (0.3, 0.4, 0.5, 0.6), "neck": (0.4, 0.6, 0.8, 0.95)},
}


class Candidate(NamedTuple):
    """A decoder by name, and its fractions in the order of ``FIELDS[name]``."""

    name: str
    fractions: tuple[float, ...]

    @classmethod
    def of(cls, plan: DecoderPlan) -> Candidate:
        """What a plan says, less what it says of the annotation."""
        return cls(plan.name, tuple(getattr(plan, name) for name in FIELDS[plan.name]))

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(f'{field} {value:g}' for field, value in self.values.items())})"

    @property
    def values(self) -> dict[str, float]:
        """Field to fraction."""
        return dict(zip(FIELDS[self.name], self.fractions, strict=True))

    def plan(self, of_set: DecoderPlan) -> DecoderPlan:
        """The plan of this candidate for a set, whose own plan gives the diameter and the smallest nucleus."""
        return replace(of_set, name=self.name, **self.values)

    def steps_from(self, other: Candidate) -> tuple[bool, float]:
        """How far apart two candidates are, to be compared: another decoder first, then shares of the ladders."""
        mine, theirs = self.values, other.values
        shares = (abs(mine[f] - theirs[f]) / (LADDERS[f][-1] - LADDERS[f][0]) for f in mine if f in theirs)
        return self.name != other.name, sum(shares)


def candidates(plan: DecoderPlan, has_boundary: bool) -> list[Candidate]:
    """The plan itself, then of every decoder that the maps allow its default and its coarse grid; none occurs twice."""
    allowed = [name for name in DECODERS if has_boundary or not needs_boundary(name)]
    found = {Candidate.of(plan): None} if plan.name in allowed else {}
    for name in allowed:
        usual = Candidate.of(DecoderPlan.default(name, plan.diameter))
        choices = [_COARSE[name].get(field, (value,)) for field, value in usual.values.items()]
        found |= dict.fromkeys([usual, *(Candidate(name, fractions) for fractions in product(*choices))])
    return list(found)


def variations(candidate: Candidate, reach: int | None = None) -> dict[str, list[Candidate]]:
    """Field to the candidates that differ in it alone, over its ladder or by at most ``reach`` rungs; itself included.

    In ascending order of the field.
    """
    varied = {}
    for name, value in candidate.values.items():
        ladder = sorted({*LADDERS[name], value})
        at = ladder.index(value)
        rungs = [rung for i, rung in enumerate(ladder) if reach is None or abs(i - at) <= reach]
        varied[name] = [Candidate(candidate.name, tuple((candidate.values | {name: rung}).values())) for rung in rungs]
    return varied
