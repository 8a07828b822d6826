"""The contract of a pretrained encoder of markers: the images that its features mean something on.

A frozen encoder gives features of any input without complaint. Published pipelines fed VirTues with single patches of
8 px, pixels of another size and counts normalised otherwise, and nothing failed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nucplan.errors import NucplanError
from planners.fingerprint import Fingerprint
from planners.pretrained import PretrainedEncoder
from planners.rules.decision import Decision

# Sides of the tiles that VirTues was trained on, and by which its authors' tiles overlap at prediction.
CONTEXT_UM, OVERLAP_UM = 128.0, 32.0


@dataclass(frozen=True)
class Deviation:
    """What is other than the encoder's training; a grave one stops the planning."""

    sentence: str
    grave: bool = False


def pixel_size(statistics: Fingerprint, upsampling: int, encoder: PretrainedEncoder) -> float:
    """Microns per pixel as the network sees images; the encoder's own where the dataset does not tell."""
    return (statistics.mpp or encoder.mpp) / upsampling


def least_patch(statistics: Fingerprint, upsampling: int, encoder: PretrainedEncoder | None) -> int:
    """Side in px below which a patch shows the encoder too little, 0 without an encoder of markers.

    Images that are smaller need no larger patch than themselves: the encoder continues them by reflection.
    """
    if encoder is None or encoder.mpp is None:
        return 0
    context = math.ceil(CONTEXT_UM / pixel_size(statistics, upsampling, encoder))
    return min(context, min(statistics.image_size["median"]) * upsampling)


def least_overlap(statistics: Fingerprint, upsampling: int, encoder: PretrainedEncoder | None) -> int:
    """Overlap of tiles in px that the encoder wants, 0 without an encoder of markers."""
    if encoder is None or encoder.mpp is None:
        return 0
    return math.ceil(OVERLAP_UM / pixel_size(statistics, upsampling, encoder))


def checked(
    encoder: PretrainedEncoder | None, statistics: Fingerprint, decisions: Mapping[str, Decision]
) -> list[Deviation]:
    """How the plan deviates from the contract.

    Raises
    ------
    NucplanError
        If it does gravely, and the user has not asked for it.
    """
    if encoder is None or encoder.mpp is None:
        return []
    found = list(_deviations(encoder, statistics, decisions))
    grave = [deviation.sentence for deviation in found if deviation.grave]
    if grave and not encoder.request.break_contract:
        raise NucplanError(
            f"The encoder '{encoder.request.name}' would not see images like those that it was trained on: "
            f"{' '.join(grave)} Change that, or give --break-contract to plan all the same."
        )
    return found


def _deviations(
    encoder: PretrainedEncoder, statistics: Fingerprint, decisions: Mapping[str, Decision]
) -> Iterator[Deviation]:
    upsampling, side = decisions["scale"].value, min(decisions["patch_size"].value)
    mpp = pixel_size(statistics, upsampling, encoder)
    if statistics.mpp is None:
        yield Deviation(
            f"The dataset does not tell its microns per pixel, and {encoder.mpp:g} would be taken for it; give it when "
            "converting (--mpp).",
            grave=True,
        )
    if side < least_patch(statistics, upsampling, encoder):
        yield Deviation(
            f"A patch of {side} px shows {side * mpp:.0f} um, fewer than the {CONTEXT_UM:.0f} um of its training.", True
        )
    elif side * mpp < CONTEXT_UM:
        yield Deviation(
            f"The images show {side * mpp:.0f} um, fewer than the {CONTEXT_UM:.0f} um that the encoder was trained on; "
            "it sees them continued by reflection."
        )
    if (overlap := decisions["tile_overlap"].value) < min(least_overlap(statistics, upsampling, encoder), side // 2):
        yield Deviation(f"Tiles overlap by {overlap * mpp:.0f} um, less than the {OVERLAP_UM:.0f} um advised.")
    if decisions["marker_normalization"].value is None:
        yield Deviation("Its images were clipped, taken to the logarithm and standardised; yours would not be.", True)
    if not encoder.options.get("rope"):
        yield Deviation(
            "Its weights have no tables of positions, so that it would not know where in the image a token lies.", True
        )
    yield from _channel_deviations(encoder)
    yield from _erased_markers(statistics, decisions)


def _channel_deviations(encoder: PretrainedEncoder) -> Iterator[Deviation]:
    yield from map(Deviation, encoder.markers.notes)
    if not encoder.markers.nuclear:
        yield Deviation(
            "The encoder sees no stain of nuclei; a channel of DNA or histone H3 is one, with the embedding of P68431."
        )


def _erased_markers(statistics: Fingerprint, decisions: Mapping[str, Decision]) -> Iterator[Deviation]:
    if decisions["marker_normalization"].value is None:
        return
    # A fingerprint of an older nucplan does not tell.
    counted = {name: found.get("image_q99_zero", 0) for name, found in (statistics.markers or {}).items()}
    erased = [f"{name} (in {number} images)" for name, number in counted.items() if number]
    if erased:
        yield Deviation(
            "Fewer than 1 % of the pixels show these markers, so that clipping at the 99th percentile of an image, as "
            f"in its training, leaves nothing of them: {', '.join(erased)}."
        )


def to_json(encoder: PretrainedEncoder, deviations: Sequence[Deviation]) -> dict:
    """What the plan records."""
    grave = [deviation.sentence for deviation in deviations if deviation.grave]
    return {"mpp": encoder.mpp, "deviations": [deviation.sentence for deviation in deviations], "broken": grave}
