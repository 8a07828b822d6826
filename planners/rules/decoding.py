"""From maps to nuclei: which decoder, its lengths, and how much of the labels survives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from nucplan.instances import DecoderPlan
from planners.fingerprint import Fingerprint
from planners.oracle import Ceiling
from planners.rules.decision import Decision
from planners.rules.geometry import FAITHFUL

# Without a boundary map the outline is all there is.
FOREGROUND_DECODER = "distance"
# By what each got out of the maps of trained networks, at its best for four sets together: ceilings do not tell
# (docs/boundary.md).
BY_EVIDENCE = ("tempered", "interior", "boundary")
# A smaller nucleus than half of the smallest ones is a speck.
SPECK = 0.5
# Ceilings on blurred maps that differ by less are taken for equal: it is a sample of the labels.
TIE = 0.015


def decoder_plan(statistics: Fingerprint, upsampling: int, name: str) -> DecoderPlan:
    """A decoder for nuclei of this size; its lengths are fractions of the planned median diameter.

    Where small and large nuclei are mixed, the smallest instance that is kept follows the small ones (d5).
    """
    diameter = statistics.diameter(50)
    usual = DecoderPlan.default(name, round(diameter * upsampling, 2))
    smallest = SPECK * (statistics.diameter(5) / diameter) ** 2
    return replace(usual, minimum_area=round(min(usual.minimum_area, smallest), 4))


def best_ceiling(ceilings: Mapping[str, Ceiling]) -> float:
    """The clean ceiling of the best decoder for networks with a boundary head."""
    return max(ceilings[name].clean for name in BY_EVIDENCE)


def decoder(statistics: Fingerprint, upsampling: int, ceilings: Mapping[str, Ceiling]) -> Decision:
    """The decoder for networks with a boundary head: of those that give the labels back, the best on blurred maps.

    A ceiling is a condition and not a choice: decoders under 0.97 are ruled out (unless all are), the blurred
    ceilings break ties, and near-equal ones are ranked by what they did on network output. The final choice falls on
    out-of-fold predictions.
    """
    rivals = {name: ceilings[name] for name in BY_EVIDENCE}
    faithful = {name: c for name, c in rivals.items() if c.clean >= FAITHFUL}
    best = max((faithful or rivals).values(), key=lambda c: c.blurred).blurred
    name = next(n for n, c in (faithful or rivals).items() if c.blurred >= best - TIE)
    out = [n for n in rivals if n not in faithful]
    clean, blurred = rivals[name]
    because = (
        f"'{name}' gives the labels back with PQ {clean:.3f} ({blurred:.3f} from blurred maps)"
        f"{f'; under {FAITHFUL} and ruled out: ' + ', '.join(out) if out and faithful else ''}, "
        "and its lengths are fractions of the median diameter."
    )
    return Decision(
        decoder_plan(statistics, upsampling, name).to_dict(),
        because,
        {"d50_px": statistics.diameter(50), "scale": upsampling, "ceilings": _as_json(rivals)},
        None if faithful else f"no decoder reaches {FAITHFUL}",
    )


def foreground_decoder(statistics: Fingerprint, upsampling: int, ceilings: Mapping[str, Ceiling]) -> Decision:
    """The decoder for networks without a boundary head."""
    ceiling = ceilings[FOREGROUND_DECODER]
    because = (
        "Without a boundary map nuclei are parted by the shape of the foreground, which gives the labels back with PQ "
        f"{ceiling.clean:.3f}."
    )
    limit = None if ceiling.clean >= FAITHFUL else "touching nuclei without a waist cannot be told apart"
    plan = decoder_plan(statistics, upsampling, FOREGROUND_DECODER)
    return Decision(plan.to_dict(), because, {"d50_px": statistics.diameter(50), "scale": upsampling}, limit)


def oracle_ceiling(name: str, ceilings: Mapping[str, Ceiling], others: Mapping[str, Ceiling], images: int) -> Decision:
    """PQ of the labels after the round trip to targets and back, on the original grid: what no network can exceed.

    ``others`` are round trips for comparison: "fixed_40x", with constants made for nuclei of 20 px, and "core_border",
    nnU-Net's usual representation of instances.
    """
    clean = ceilings[name].clean
    because = (
        f"Targets made of the labels of {images} image(s) and decoded by '{name}' give PQ {clean:.3f}; constants made "
        f"for 40x give {others['fixed_40x'].clean:.3f}, core and border {others['core_border'].clean:.3f}."
    )
    inputs = {"ceilings": _as_json(ceilings), **_as_json(others), "images": images}
    limit = None if clean >= FAITHFUL else f"under {FAITHFUL}, the labels cannot be represented"
    return Decision(round(clean, 4), because, inputs, limit)


def _as_json(ceilings: Mapping[str, Ceiling]) -> dict[str, dict[str, float]]:
    return {name: {"clean": round(c.clean, 4), "blurred": round(c.blurred, 4)} for name, c in ceilings.items()}
