"""Multiplex images: which panel the network takes, and how each marker is normalised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from nucplan.marker_normalization import IMAGE_Q99
from planners.fingerprint import Fingerprint
from planners.rules.decision import Decision

SPARSE = 0.5  # zero fraction above which a marker is taken to the logarithm
WIDE = 100.0  # and clip in counts above which it is
MOST_FIXED_WITHOUT_DROPOUT = 3
FIXED_DROPOUT, VARYING_DROPOUT = [0.1, 0.1], [0.0, 0.25]
NOT_MULTIPLEX = "The images are grey or RGB."


def channels(statistics: Fingerprint) -> Decision:
    """How the channels enter the network: a fixed panel as they are, varying panels through a channel-invariant stem.

    A channel that is 0 everywhere in the network's input is absent. ``dropout`` is the range from which the
    probability is drawn, anew for each patch, with which a channel is set to 0.
    """
    if statistics.markers is None:
        return Decision(None, NOT_MULTIPLEX)
    cases = {marker: found["cases"] for marker, found in statistics.markers.items()}
    partial = [marker for marker, number in cases.items() if number < len(statistics.cases)]
    inputs = {"markers": len(cases), "markers_that_images_lack": partial}
    if partial:
        because = (
            f"{len(partial)} of the {len(cases)} markers are not in all images, so every channel goes through one "
            "shared stem, which takes any panel; channels are dropped so that the network sees more panels than these."
        )
        return Decision({"panel": "varying", "dropout": VARYING_DROPOUT}, because, inputs)
    because = f"All images have the same {len(cases)} markers, which the network takes as its channels."
    dropout = FIXED_DROPOUT if len(cases) > MOST_FIXED_WITHOUT_DROPOUT else [0.0, 0.0]
    return Decision({"panel": "fixed", "dropout": dropout}, because, inputs)


def marker_normalization(statistics: Fingerprint, scheme: Literal["planned", "virtues"] = "planned") -> Decision:
    """One rule per channel for `nucplan.marker_normalization.normalize_markers`; None for grey and RGB.

    Parameters
    ----------
    statistics
        Of the dataset.
    scheme
        ``planned``: clip at the 99.9th percentile of the positive pixels of the cohort, not below three counts, which
        a marker of few positive pixels would make a binary map; log1p where most pixels are 0 or the range is wide.
        ``virtues``: what VirTues was trained with (arXiv 2501.06039): clip at the 99th percentile of the image, log1p.
        Both end with mean 0 and deviation 1 over the cohort.
    """
    if statistics.markers is None:
        return Decision(None, NOT_MULTIPLEX)
    if scheme == "virtues":
        found = statistics.markers.items()
        rules = [_rule(name, marker, IMAGE_Q99, True, "image_q99_log") for name, marker in found]
        return Decision(rules, "The encoder was trained on images that are normalised so.")
    rules = [_planned(name, marker) for name, marker in statistics.markers.items()]
    logs = sum(rule["log"] for rule in rules)
    because = (
        f"Counts are clipped at the 99.9th percentile of the positive pixels, {logs} of {len(rules)} markers "
        "(mostly 0, or of wide range) go to the logarithm, and each gets mean 0 and deviation 1 over the cohort."
    )
    inputs = {name: round(marker["zero_fraction"], 4) for name, marker in statistics.markers.items()}
    return Decision(rules, because, {"zero_fraction": inputs})


def _planned(name: str, marker: Mapping[str, Any]) -> dict[str, Any]:
    log = marker["zero_fraction"] > SPARSE or marker["clip"] / marker["unit"] > WIDE
    return _rule(name, marker, marker["clip"], log, "log" if log else "linear")


def _rule(name: str, marker: Mapping[str, Any], clip: float | str, log: bool, moments: str) -> dict[str, Any]:
    return {"marker": name, "clip": clip, "unit": marker["unit"], "log": log, **marker[moments]}
