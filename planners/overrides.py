"""Decisions that a user sets instead of the rules: checked, completed, and marked in the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nucplan.decoder_plan import DECODERS, DecoderPlan, needs_boundary
from nucplan.errors import NucplanError
from planners import forms
from planners.forms import Form, part_of, refuse
from planners.rules import NORMALIZATIONS, PATCH_MULTIPLE, STRIDES, Decision

LARGEST_SET_PATCH = 4096  # px; rules stay far below it, a user may know better
MEASURED = {
    "oracle_ceiling": "set scale, boundary_kernel or decoder, on which it depends",
    "feature_cache": "train with --cache-features or --no-cache-features",
    "marker_normalization": "set normalization, whose schemes then take its place",
}
PANELS = ("fixed", "varying")


def check_names(names: Iterable[str]) -> None:
    """Refuse what no user can set, before anything is measured.

    Raises
    ------
    NucplanError
        If a name is of no decision (the message lists those that are like it), or its decision is measured.
    """
    for name in names:
        if name in MEASURED:
            raise NucplanError(f"The decision '{name}' is measured and cannot be set; {MEASURED[name]}.")
        if name not in FORMS:
            raise NucplanError(f"The plan has no decision '{name}'; {forms.nearest(name, FORMS, 'decisions')}")


def check_beside_weights(overrides: Mapping[str, Any], of_markers: bool) -> None:
    """Refuse what pretrained weights decide.

    Raises
    ------
    NucplanError
        If name or depth of the encoder is set, or the normalisation beside an encoder of colours. Beside one of markers
        it breaks the contract, which says so itself.
    """
    encoder = overrides.get("encoder")
    set_parts = {"name", "depth"} & set(encoder) if isinstance(encoder, Mapping) else set()
    if set_parts or ("normalization" in overrides and not of_markers):
        what = f"the encoder's {' and '.join(sorted(set_parts))}" if set_parts else "normalization"
        raise NucplanError(
            f"The weights decide {what}, which --set would change; leave it out, or plan without --weights."
        )


def apply_override(name: str, decision: Decision, value: Any, context: Mapping[str, Any]) -> Decision:
    """Replace the value of a decision by a user's.

    Parameters
    ----------
    name
        Of the decision.
    decision
        As the rule took it; it gives what the user leaves open, and the type.
    value
        Plain JSON. Of decisions with named parts, some are enough.
    context
        The values of earlier decisions by name, which this one must fit.

    Raises
    ------
    NucplanError
        If there is no such decision, or the value has the wrong type or range; the message says what is possible.
    """
    check_names([name])
    place = f"The decision '{name}'"
    settled = FORMS[name](place, value, decision.value)
    if name in FITS:
        settled = FITS[name](place, value, settled, decision.value, context)
    because = f"You set it; planned was {forms.as_json(decision.value)}: {decision.because}"
    return Decision(settled, because, decision.inputs, overridden=True)


def _square(place: str, given: Any, planned: Any) -> list[int]:
    sides = list(given) if isinstance(given, list | tuple) else [given, given]
    fits = all(type(side) is int and PATCH_MULTIPLE <= side <= LARGEST_SET_PATCH for side in sides)
    if len(sides) != 2 or not fits or sides[0] != sides[1] or sides[0] % PATCH_MULTIPLE:
        words = (
            f"the side of a square, a multiple of {PATCH_MULTIPLE} from {PATCH_MULTIPLE} to {LARGEST_SET_PATCH} pixels"
        )
        refuse(place, words, given, planned)
    return sides


def _schemes(place: str, given: Any, planned: Any) -> list[str]:
    # One scheme is meant for all channels.
    schemes = [given] * len(planned) if isinstance(given, str) else given
    return forms.several(forms.one_of(NORMALIZATIONS))(place, schemes, planned)


def _interactions(place: str, given: Any, planned: Any) -> list[int]:
    right = isinstance(given, list | tuple) and all(type(k) is int and 1 <= k <= 4 for k in given)
    if not right or len(set(given)) < len(given):
        refuse(place, "a list of different numbers from 1 to 4", given, planned)
    return sorted(given)


def _panel(place: str, given: Any, planned: Any) -> Any:
    if planned is None:
        raise NucplanError(f"{place} is for multiplex images, but these are grey or RGB; leave it out.")
    share = forms.number(0, 0.9)
    return forms.parts({"panel": forms.one_of(PANELS), "dropout": forms.several(share, count=2)})(place, given, planned)


def _stride_weights(place: str, given: Any, planned: Any) -> dict[str, float]:
    if not isinstance(given, Mapping) or not 1 <= len(given) <= 3 or not {*map(str, given)} <= {*map(str, STRIDES)}:
        words = f'one to three strides of {", ".join(map(str, STRIDES))} with their weights, such as {{"2": 1.0}}'
        refuse(place, words, given, planned)
    weight = forms.number(0, 10, above=True)
    return {
        str(stride): weight(part_of(place, f"Stride {stride}"), value, planned)
        for stride, value in sorted(given.items(), key=lambda item: int(item[0]))
    }


def _fitting_overlap(place: str, given: Any, overlap: int, planned: int, context: Mapping[str, Any]) -> int:
    return forms.whole(1, min(context["patch_size"]) // 2)(place, overlap, planned)


def _fitting_gate(
    place: str, given: Any, gate: dict[str, float], planned: Mapping[str, float], context: Mapping[str, Any]
) -> dict[str, float]:
    if gate["full"] < gate["start"]:
        refuse(place, "a 'full' that is not before its 'start'", given, planned)
    return gate


def _fitting_panel(
    place: str, given: Any, panel: dict[str, Any], planned: Mapping[str, Any], context: Mapping[str, Any]
) -> dict[str, Any]:
    if panel["dropout"][0] > panel["dropout"][1]:
        refuse(place, "a 'dropout' from its lowest to its highest probability", given, planned)
    if panel["panel"] == "fixed" and planned["panel"] == "varying":
        refuse(place, "the panel 'varying', as images of this dataset lack markers", given, planned)
    return panel


def _fitting_encoder(
    place: str,
    given: Mapping[str, Any],
    encoder: dict[str, Any],
    planned: Mapping[str, Any],
    context: Mapping[str, Any],
) -> dict[str, Any]:
    """Taps follow the depth unless they are given as well; a name that no encoder has is refused."""
    import torch

    from nucplan.networks.encoders.registry import build_encoder

    taps = encoder["taps"]
    last = encoder["depth"] - 1
    if {"name", "depth"} & set(given):
        # On this device a network costs neither memory nor time.
        with torch.device("meta"):
            usual = build_encoder(encoder["name"], 3, encoder["depth"]).taps
        taps, last = taps if "taps" in given else list(usual), usual[-1]
    if taps != sorted(taps) or taps[-1] > last:
        place = part_of(place, "The part 'taps'")
        refuse(place, f"four blocks from 0 to {last}, in their order", taps, planned["taps"])
    return {**encoder, "taps": taps}


def _fitting_decoder(
    place: str,
    given: Mapping[str, Any],
    decoder: dict[str, Any],
    planned: Mapping[str, Any],
    context: Mapping[str, Any],
) -> dict[str, Any]:
    """Another decoder comes with the fractions that suit it; what is known of the sizes of the nuclei stays."""
    if decoder["name"] != planned["name"]:
        usual = DecoderPlan.default(decoder["name"], decoder["diameter"]).to_dict()
        decoder = {**usual, "minimum_area": planned["minimum_area"]} | {part: decoder[part] for part in given}
    return DecoderPlan.from_dict(decoder).to_dict()


DECODER_NUMBERS = {
    "diameter": forms.number(0, 1000, above=True),
    "seed_spacing": forms.number(0, 2, above=True),
    "neck": forms.number(0, 1),
    "smoothing": forms.number(0, 1),
    "minimum_area": forms.number(0, 1),
    "maximum_hole": forms.number(0, 10),
    "foreground_threshold": forms.number(0.01, 0.99),
    "minimum_seed": forms.number(0, 1),
    "seed_threshold": forms.number(-1, 1),
    "boundary_threshold": forms.number(0, 1),
}
FORMS: dict[str, Form] = {
    "scale": forms.whole(1, 2),
    "patch_size": _square,
    "batch_size": forms.whole(1),
    "network_width": forms.several(forms.whole(1), count=len(STRIDES)),
    "encoder": forms.parts(
        {
            "name": forms.text,
            "depth": forms.whole(1, 64),
            "frozen": forms.yes_or_no,
            "taps": forms.several(forms.whole(0), count=4),
        }
    ),
    "adapter": forms.parts({"injection_blocks": _interactions}),
    "normalization": _schemes,
    "channels": _panel,
    "tile_overlap": forms.whole(1),
    "boundary_kernel": forms.whole(3, 9, odd=True),
    "weight_kernel": forms.whole(1, 15, odd=True),
    # The rule stays within [0, 2]; the specification's 2 to 4 and more may be tried.
    "boundary_beta": forms.number(0, 10),
    "boundary_scales": _stride_weights,
    "boundary_pos_weight": forms.number(0, 100, above=True),
    "boundary_loss_weight": forms.number(0, 1),
    "boundary_weight_normalised": forms.yes_or_no,
    "gate": forms.parts({"alpha": forms.number(0, 4), "start": forms.number(0, 1), "full": forms.number(0, 1)}),
    "oversampling": forms.number(0, 1),
    "decoder": forms.parts({"name": forms.one_of(DECODERS), **DECODER_NUMBERS}),
    "foreground_decoder": forms.parts(
        {"name": forms.one_of([n for n in DECODERS if not needs_boundary(n)]), **DECODER_NUMBERS}
    ),
    "iterations": forms.parts({"quick": forms.whole(1), "standard": forms.whole(1), "full": forms.whole(1)}),
    "queries": forms.whole(1, 1000),
}
# What a value must be beside its form: (place, given, value in form, planned, earlier decisions) -> value.
FITS: dict[str, Callable[[str, Any, Any, Any, Mapping[str, Any]], Any]] = {
    "tile_overlap": _fitting_overlap,
    "gate": _fitting_gate,
    "channels": _fitting_panel,
    "encoder": _fitting_encoder,
    "decoder": _fitting_decoder,
    "foreground_decoder": _fitting_decoder,
}
