"""Scale, patch and overlap: how large nuclei are in the eyes of the network, and how many of them it sees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from planners.cost import StepCost
from planners.fingerprint import Fingerprint
from planners.rules.decision import Decision, Limits
from planners.rules.resources import SMALLEST_BATCH, affordable_samples

PATCH_MULTIPLE = 32  # the coarsest decoder stride times two; also a multiple of a ViT stride of 8 or 16
SMALLEST_PATCH, LARGEST_PATCH = 96, 512
SMALLEST_NUCLEUS = 9  # px; below it the targets of neighbours run into each other
FAITHFUL = 0.97  # round trip PQ that labels must reach as targets
WORTH_FOUR_TIMES = 0.02  # gain of that PQ for which images are enlarged even where it stays under


def scale(statistics: Fingerprint) -> Decision:
    """Upsampling factor, 1 or 2: 2 where the small nuclei (lower quartile) are under 9 px wide.

    Round trips of ground truth through watershed decoders keep PQ at 0.985 for a quartile of 10.5 px and lose 6
    points at 6.5 px; training 20x data at 40x is also what CellViT does (Hörst et al. 2024). Images are never made
    smaller: nuclei would come back at half their resolution.
    """
    d25 = statistics.diameter(25)
    value = 2 if d25 < SMALLEST_NUCLEUS else 1
    reason = (
        f"a quarter of the nuclei are under {d25:.1f} px wide, less than the {SMALLEST_NUCLEUS} px below which "
        "neighbours merge"
        if value == 2
        else f"three quarters of the nuclei are at least {d25:.1f} px wide, enough ({SMALLEST_NUCLEUS} px) to tell "
        "neighbours apart"
    )
    because = f"Images are {'enlarged twofold' if value == 2 else 'kept at their scale'}: {reason}."
    limit = "twofold, more would only blur" if 2 * d25 < SMALLEST_NUCLEUS else None
    return Decision(value, because, {"d25_px": d25}, limit)


def enlarging_pays(ceiling: float, enlarged: float) -> bool:
    """Whether labels that are not faithful at their own scale are so, or far more so, in twofold size."""
    return enlarged >= FAITHFUL > ceiling or enlarged - ceiling >= WORTH_FOUR_TIMES


def scale_for_labels(statistics: Fingerprint, ceilings: Mapping[int, float]) -> Decision:
    """The scale where the labels, not the size of the nuclei, decide: round-trip PQ by scale, see `planners.oracle`."""
    because = (
        "Images are enlarged twofold, to four times the pixels: the labels survive the round trip to targets and back "
        f"with PQ {ceilings[2]:.3f} then, and with {ceilings[1]:.3f} at their own scale."
    )
    inputs = {"d25_px": statistics.diameter(25), "ceilings": {str(u): round(c, 4) for u, c in ceilings.items()}}
    return Decision(2, because, inputs)


def useful_patch(statistics: Fingerprint, upsampling: int) -> int:
    """The side in px that a patch should have if cost were no matter; see `patch_size`."""
    return min(_useful_sides(statistics, upsampling).values())


def patch_size(statistics: Fingerprint, limits: Limits, upsampling: int, cost: StepCost, least: int = 0) -> Decision:
    """Side of the square training patch, wanted at 13 median diameters or more.

    A patch of side P cuts a share ``1 - (1 - d/P)**2`` of the nuclei that it meets; 13 diameters keep it under 15 %.
    No larger than the images (more would be padding), and than two patches per step that the device affords; at least
    ``least`` px, which a pretrained encoder needs to see.
    """
    diameter, caps = statistics.diameter(50) * upsampling, _useful_sides(statistics, upsampling)
    wanted = caps.pop("13 diameters")
    for name, samples in affordable_samples(cost, limits).items():
        # Cost grows with the pixels, hardly faster; the batch rule counts again at the chosen side.
        caps[name] = max(SMALLEST_PATCH, _down_to_multiple(cost.patch * math.sqrt(samples / SMALLEST_BATCH)))
    tightest = min(caps, key=caps.get)
    side = min(wanted, caps[tightest])
    cut = 1 - max(0.0, 1 - diameter / side) ** 2
    limit = tightest if side < wanted else None
    if side < least:
        side, limit = _up_to_multiple(least), "context that the encoder needs"
        cut = 1 - max(0.0, 1 - diameter / side) ** 2
    because = (
        f"13 median diameters of {diameter:.1f} px ask for {wanted} px; a side of {side} px"
        f"{f', bounded by the {limit},' if limit else ''} cuts {cut:.0%} of the nuclei that a patch meets."
    )
    inputs = {"planned_d50_px": diameter, "wanted_px": wanted, "caps_px": caps}
    return Decision([side, side], because, inputs, limit)


def tile_overlap(statistics: Fingerprint, upsampling: int, patch: Sequence[int], least: int = 0) -> Decision:
    """Overlap of neighbouring tiles at prediction, in planned pixels: the largest nuclei, within [P/4, P/2].

    At least ``least`` px, as far as half of the patch allows: what a pretrained encoder was used with.
    """
    diameter = statistics.diameter(95) * upsampling
    side = min(patch)
    value = min(max(math.ceil(diameter), side // 4, least), side // 2)
    limit = (
        "half of the patch"
        if value < diameter
        else "a quarter of the patch"
        if value == side // 4 and value > diameter + 1
        else None
    )
    because = (
        f"Tiles of {side} px overlap by {value} px (between a quarter and a half), so that a nucleus of "
        f"{diameter:.1f} px, larger than 95 % of all, is {'nearly ' if value < diameter else ''}whole in one of them."
    )
    return Decision(value, because, {"planned_d95_px": diameter, "patch_px": side}, limit)


def _useful_sides(statistics: Fingerprint, upsampling: int) -> dict[str, int]:
    sides = {
        "13 diameters": 13 * statistics.diameter(50) * upsampling,
        "largest patch": LARGEST_PATCH,
        "size of the images": min(statistics.image_size["median"]) * upsampling,
    }
    return {name: max(SMALLEST_PATCH, _up_to_multiple(side)) for name, side in sides.items()}


def _up_to_multiple(length: float) -> int:
    return PATCH_MULTIPLE * math.ceil(length / PATCH_MULTIPLE)


def _down_to_multiple(length: float) -> int:
    return PATCH_MULTIPLE * math.floor(length / PATCH_MULTIPLE)
