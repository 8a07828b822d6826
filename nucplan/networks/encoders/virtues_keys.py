"""Weights files of VirTues: three dialects of names, brought to those of the release of 2026.

The preprint's code (``protein_encoder``, ``mae_decoder``) and its variant for H&E as well (``multiplex_patch_encoder``,
``he_*``) name some parts otherwise. Positions stand in no setting of the file: a block has them where it has their
tables. A loader that passes over what it does not know loses them in silence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from nucplan.errors import NucplanError
from nucplan.networks.encoders.marker_transformer import rotary_table

ANCHOR = "patch_summary_token"
DIALECTS = {"multiplex_patch_encoder.": "patch_encoder.", "protein_encoder.": "prior_embedding_encoder."}
TABLE = re.compile(r"encoder\.(\d+)\.encoder_layer\.multi_head_attention\.pos_emb\.rope1d\.(sin|cos)")
LAYER = r"(multi_head_attention\.W_[qkvo]|feedforward\.[03]|layernorm[12])\.(weight|bias)"
PART = re.compile(
    r"patch_summary_token|masked_token|(patch_encoder|prior_embedding_encoder|layer_norm)\.(weight|bias)"
    rf"|encoder\.\d+\.encoder_layer\.{LAYER}"
)
# What paints masked patches, and the tokens of H&E, which nothing was trained with in the released weights.
UNUSED = re.compile(r"(mae_)?decoder\..+|he_patch_encoder\.(weight|bias)|he_marker")
USUAL_HEADS = 8
# Tables of files in half precision are rounded so far, those of another base or order differ by about 1.
TABLE_TOLERANCE = 2e-3


def unused(name: str) -> bool:
    """Whether a tensor of a VirTues file is known and no part of the encoder of markers."""
    return UNUSED.fullmatch(name) is not None


def encoder_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file in any dialect, under the names that `MarkerTransformer` gives its parameters.

    Known ones beside the encoder keep their names (`unused`); tables of positions are checked and left out.

    Raises
    ------
    NucplanError
        If the file is none of VirTues, a name is unknown, a part is there in two dialects, or a table of positions is
        another one than `rotary_table`.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in _named(tensors).items():
        if TABLE.fullmatch(name):
            _check_table(name, tensor)
        elif PART.fullmatch(name) or unused(name):
            found[name] = tensor
        else:
            raise NucplanError(f"'{name}' is no tensor of a VirTues encoder; give the file as it was published.")
    return found


def rotary_blocks(tensors: Mapping[str, Tensor]) -> list[int]:
    """Indices of the blocks that have tables of positions.

    Raises
    ------
    NucplanError
        If a block has one of its two tables, or some but not all blocks that look along space, every second one, have
        them.
    """
    tables = [match.groups() for name in _named(tensors) if (match := TABLE.fullmatch(name))]
    blocks = {index: {kind for other, kind in tables if other == index} for index, _ in tables}
    for index, kinds in blocks.items():
        if len(kinds) == 1:
            raise NucplanError(f"Block {index} of the weights has one of two tables of positions; download them again.")
    found = {int(index) for index in blocks}
    spatial = set(range(0, _depth(tensors), 2))
    if found and not spatial <= found:
        raise NucplanError(
            f"Block {min(spatial - found)} of the weights has no tables of positions and others have; download them "
            "again."
        )
    return sorted(found)


def positions_said(tensors: Mapping[str, Tensor]) -> str:
    """The blocks with positions, in words."""
    found = ", ".join(map(str, rotary_blocks(tensors)))
    return f"blocks {found} of {_depth(tensors)}" if found else f"NONE of {_depth(tensors)} blocks"


def _depth(tensors: Mapping[str, Tensor]) -> int:
    names = (re.match(r"encoder\.(\d+)\.", name) for name in own_names(tensors))
    return 1 + max((int(block[1]) for block in names if block), default=-1)


def options_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `MarkerTransformer` for a file, from names and shapes.

    Blocks look within channels and along channels in turns, as in all that was released. Where there are no tables of
    positions, the number of heads is the released one.

    Raises
    ------
    NucplanError
        As `encoder_tensors`, and if a tensor that tells a size is missing.
    """
    parts, rope = encoder_tensors(tensors), rotary_blocks(tensors)
    shape = {name: tuple(tensor.shape) for name, tensor in parts.items() if not unused(name)}
    blocks = {int(name.split(".")[1]) for name in shape if name.startswith("encoder.")}
    # Blocks come in pairs.
    depth = 2 * math.ceil(_depth(tensors) / 2)
    if missing := sorted(set(range(depth)) - blocks):
        raise NucplanError(f"The weights have no block {missing[0]} of {depth}; download them again.")
    try:
        dim, pixels = shape["patch_encoder.weight"]
        marker_dim = shape["prior_embedding_encoder.weight"][1]
        feedforward = shape["encoder.0.encoder_layer.feedforward.0.weight"][0]
    except KeyError as error:
        raise NucplanError(f"The weights lack {error}; download them again.") from None
    tables = [tensor for name, tensor in _named(tensors).items() if TABLE.fullmatch(name)]
    return {
        "dim": dim,
        "feedforward": feedforward,
        "heads": dim // (2 * tables[0].shape[1]) if tables else USUAL_HEADS,
        "pattern": ("hv" * depth)[:depth],
        "rope": rope,
        "marker_dim": marker_dim,
        "patch": round(pixels**0.5),
        "final_norm": _ends_with_norm(tensors),
    }


def _ends_with_norm(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a last norm belongs to the weights: always in the release, in the preprint's code where it is there."""
    released = any("prior_embedding_encoder." in name for name in tensors)
    return released or any(name.startswith("layer_norm.") for name in own_names(tensors))


def encoder_prefix(tensors: Mapping[str, Tensor]) -> str:
    """What stands before the encoder's names in a file: ``encoder.``, ``module.encoder.`` ...

    Raises
    ------
    NucplanError
        If the file is none of VirTues.
    """
    anchor = next((name for name in tensors if name.endswith(ANCHOR)), None)
    if anchor is None:
        some = ", ".join(sorted(tensors)[:3])
        raise NucplanError(f"The weights have no {ANCHOR} (they begin with {some}), so they are none of VirTues.")
    return anchor.removesuffix(ANCHOR)


def own_names(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Names without what they are wrapped in, and in one dialect -> the names in the file.

    Raises
    ------
    NucplanError
        As `encoder_prefix`, and if a part is there in two dialects.
    """
    prefix = encoder_prefix(tensors)
    outer = prefix.removesuffix("encoder.")
    own: dict[str, str] = {}
    for name in tensors:
        short = name.removeprefix(prefix) if name.startswith(prefix) else name.removeprefix(outer)
        for theirs, ours in DIALECTS.items():
            short = ours + short.removeprefix(theirs) if short.startswith(theirs) else short
        if short in own:
            raise NucplanError(f"The weights have '{short}' under two names; give the file as it was published.")
        own[short] = name
    return own


def sources(tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The names under which a file has each of ``names``, or would have it in its dialect."""
    own, prefix = own_names(tensors), encoder_prefix(tensors)
    spoken = {ours: theirs for theirs, ours in DIALECTS.items() if any(theirs in name for name in tensors)}
    found = {}
    for name in names:
        part = next((ours for ours in spoken if name.startswith(ours)), "")
        expected = prefix + spoken.get(part, "") + name.removeprefix(part)
        found[name] = (own.get(name, expected),)
    return found


def _named(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensors[own] for name, own in own_names(tensors).items()}


def _check_table(name: str, table: Tensor) -> None:
    if table.is_meta:
        return
    angles = rotary_table(*table.shape, table.device) if table.ndim == 2 else None
    wanted = None if angles is None else angles.sin() if name.endswith("sin") else angles.cos()
    if wanted is None or not torch.allclose(table.float(), wanted, atol=TABLE_TOLERANCE):
        raise NucplanError(
            f"The table of positions '{name}' is another one than VirTues' (base 10000, two equal halves), so the "
            "encoder would see other positions than it was trained with; give weights of the released kind."
        )
