"""What a plan says of decoding: which decoder, and its lengths as fractions of the planned nuclear diameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from nucplan.errors import NucplanError

# In the order in which they are offered; `nucplan.landscapes` says what each does.
DECODERS = ("distance", "boundary", "tempered", "interior")
# Found on out-of-fold maps of four sets (docs/boundary.md). Where the boundary does the parting, a pass lies deep and a
# neck of the outline alone is no reason for a cut.
_DEFAULTS: dict[str, dict[str, float]] = {
    "distance": {},
    "boundary": {"seed_spacing": 0.3, "smoothing": 0.1, "seed_threshold": 0.8},
    "tempered": {"neck": 0.7},
    "interior": {"neck": 0.6, "boundary_threshold": 0.4},
}


@dataclass(frozen=True)
class DecoderPlan:
    """How probability maps become instances; every length is a fraction of the planned nuclear diameter.

    Attributes
    ----------
    diameter : float
        Planned (median equivalent) nuclear diameter in pixels of the map.
    name : str
        One of ``DECODERS``.
    seed_spacing : float
        A seed is the highest point this far around, as a fraction of the diameter.
    neck : float
        Touching nuclei are parted where the landscape at their pass is below this fraction of the lower peak.
    smoothing : float
        Standard deviation of the Gaussian on distance maps, as a fraction of the diameter.
    minimum_area : float
        Smaller instances are dropped; a fraction of the area of a disc of the planned diameter.
    maximum_hole : float
        Holes up to this area are filled; a fraction of the same disc.
    foreground_threshold : float
        A pixel is nuclear where the probability of not being background exceeds this.
    minimum_seed : float
        Smaller regions that the boundary cuts off are no seeds ("boundary", "interior"); a fraction of the same disc.
    seed_threshold : float
        A seed of "boundary" is where the foreground exceeds the boundary probability by more than this.
    boundary_threshold : float
        The inside of a nucleus, for "interior", is where the boundary probability is below this.
    """

    diameter: float
    name: str = "distance"
    seed_spacing: float = 0.4
    neck: float = 0.87
    smoothing: float = 0.05
    minimum_area: float = 0.06
    maximum_hole: float = 0.1
    foreground_threshold: float = 0.6
    minimum_seed: float = 0.01
    seed_threshold: float = 0.5
    boundary_threshold: float = 0.3

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not self.diameter > 0:
            raise NucplanError(f"The decoder needs a nuclear diameter above 0 pixels, not {self.diameter}; plan again.")
        if not 0 < self.foreground_threshold < 1:
            raise NucplanError(f"The foreground threshold must lie between 0 and 1, not {self.foreground_threshold}.")

    @classmethod
    def default(cls, name: str, diameter: float) -> DecoderPlan:
        """The plan of one decoder with the fractions that suit it.

        Raises
        ------
        NucplanError
            If there is no decoder of this name.
        """
        _check_name(name)
        return cls(diameter, name, **_DEFAULTS[name])

    @property
    def disc_area(self) -> float:
        """Area in pixels of a disc of the planned diameter."""
        return float(np.pi * self.diameter**2 / 4)

    @property
    def minimum_pixels(self) -> float:
        """The minimum area in pixels."""
        return self.minimum_area * self.disc_area

    def to_dict(self) -> dict[str, float | str]:
        """The plan as plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DecoderPlan:
        """Read what ``to_dict`` wrote; a plan without a name is one of "distance".

        Raises
        ------
        NucplanError
            If a key is unknown, the diameter is missing, or a value is not a number.
        """
        names = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(names))
        if unknown or "diameter" not in values:
            problem = f"does not know '{unknown[0]}'" if unknown else "misses 'diameter'"
            raise NucplanError(f"The decoder section of the plan {problem}; its keys are {', '.join(names)}.")
        numbers = {key: value for key, value in values.items() if key != "name"}
        for key, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise NucplanError(f"The decoder section of the plan holds '{value}' for {key}, which is no number.")
        return cls(name=values.get("name", "distance"), **{key: float(value) for key, value in numbers.items()})


def needs_boundary(name: str) -> bool:
    """Whether a decoder reads the boundary map.

    Raises
    ------
    NucplanError
        If there is no decoder of this name.
    """
    _check_name(name)
    return name != "distance"


def _check_name(name: Any) -> None:
    if name not in DECODERS:
        raise NucplanError(f"There is no instance decoder '{name}'; choose one of {', '.join(DECODERS)}.")
