"""Pretrained encoder weights: every tensor of the file is used or listed, every parameter of the encoder is filled."""

from __future__ import annotations

from pathlib import Path

from nucplan.errors import NucplanError
from nucplan.networks.encoders.base import Encoder
from nucplan.networks.matching import Match, match, summarised
from nucplan.networks.weights_file import WeightsFile, read_weights_file, refuse_broken_numbers


def load_encoder_weights(encoder: Encoder, file: Path) -> str:
    """Fill ``encoder`` from a ``.pth``, ``.pt``, ``.bin`` or ``.safetensors`` file.

    Containers (``model``, ``teacher`` ...) and prefixes (``module.backbone.`` ...) are taken off, names of other code
    are translated (`nucplan.networks.encoders.dialects`), a position table of another grid is resampled (bicubic, as
    timm does). Of a whole CellViT the encoder is taken.

    Returns
    -------
    str
        What was loaded and which tensors of the file were not used.

    Raises
    ------
    NucplanError
        If the file is unreadable, nothing in it fits, a parameter stays empty, a shape differs, a number is not finite,
        or the file has a tensor that the encoder has no place for and that may not be left out. ``encoder`` is as it
        was then.
    """
    weights = read_weights_file(file)
    try:
        matched = match(encoder, weights.tensors)
    except NucplanError as error:
        raise NucplanError(f"{file}: {error}") from None
    if not matched.complete:
        raise NucplanError(refusal(matched, weights))
    refuse_broken_numbers(weights, matched.parts)
    encoder.body.load_state_dict(dict(matched.used))
    rest = summarised(matched.dispensable)
    rest = f"not used: {rest}" if rest else "every tensor of the file is used"
    return f"Loaded {len(matched.used)} tensors of {file.name} into the encoder; {rest}."


def refusal(matched: Match, weights: WeightsFile) -> str:
    """One sentence: why a file cannot fill an encoder, and what it looks like instead."""
    return f"{_reason(matched, weights)}; {_way_out(weights)}"


def _reason(matched: Match, weights: WeightsFile) -> str:
    file, count = weights.path, len(matched.used) + len(matched.misshapen) + len(matched.missing)
    if not matched.used and not matched.misshapen:
        return f"Nothing in {file} fits the encoder (its first tensors are {', '.join(sorted(weights.tensors)[:3])})"
    if matched.misshapen:
        name, (theirs, ours) = next(iter(matched.misshapen.items()))
        return f"{file}: '{name}' has the shape {theirs}, the encoder needs {ours}"
    renamed = matched.renamed()
    if renamed:
        # Where much is named otherwise, it is another model, and few pairs tell enough.
        pairs = ", ".join(f"'{theirs}' where '{ours}' is expected" for ours, theirs in renamed[:3])
        return f"{file} has {pairs}{' ...' if len(renamed) > 3 else ''}: renamed, or another model"
    if matched.left_over:
        return (
            f"{file} has tensors that the encoder has not ({summarised(matched.left_over)}), so its features would be "
            "others than those that were trained"
        )
    return f"{file} lacks {len(matched.missing)} of the encoder's {count} tensors ({summarised(matched.missing)})"


def _way_out(weights: WeightsFile) -> str:
    from nucplan.networks.encoders.identify import identify

    known = identify(weights)
    if known.cards:
        return f"it fits --encoder {' or '.join(card.name for card in known.cards)}."
    if known.nearest is not None:
        return f"it comes closest to the encoder {known.nearest.name}; check --encoder and the file."
    return f"it looks like {known.kind}; check --encoder."
