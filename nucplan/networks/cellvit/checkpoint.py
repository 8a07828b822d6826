"""Published CellViT checkpoints: what a file is, by its keys and shapes, and the model with every key used."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nucplan.errors import NucplanError
from nucplan.networks.cellvit.foreign import refuse_others
from nucplan.networks.cellvit.model import CellViT
from nucplan.networks.cellvit.shape import KINDS, PLAIN, SAM, CellViTShape, shape_of
from nucplan.networks.encoders.cards import CARDS, HALF, TRAINED_ON
from nucplan.networks.matching import Match
from nucplan.networks.weights_file import WeightsFile, read_weights_file, refuse_broken_numbers

PANNUKE = ("background", "neoplastic", "inflammatory", "connective", "dead", "epithelial")
# The encoder of each published class; that of SAM comes in three sizes.
ENCODERS = {
    "CellViT": "cellvit-256",
    "CellViT256": "cellvit-256",
    "CellViTUNI": "cellvit-uni",
    "CellViTVirchow": "cellvit-virchow",
    "CellViTVirchow2": "cellvit-virchow2",
}
SAM_SIZES = {CARDS[f"cellvit-sam-{size}"].embed_dim: size for size in "blh"}


@dataclass(frozen=True)
class CellViTInfo:
    """What a checkpoint tells of itself beside its weights.

    Attributes
    ----------
    arch : the class of the published code, for example ``CellViTSAM``
    title : the same for people, for example ``CellViT SAM-H``
    class_names : of the type map, background first
    mean, std : per RGB channel of images in [0, 1]
    mpp : microns per pixel that it was trained at; 0.25 where the file does not say otherwise
    licence : of the weights and of what they learned from
    mixed_precision : whether it was trained in 16 bits; None where the file does not say
    """

    arch: str
    title: str
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mpp: float
    licence: str
    mixed_precision: bool | None


def read_cellvit(path: Path) -> tuple[CellViT, CellViTInfo]:
    """The complete model of a checkpoint in evaluation mode on the CPU, and what is known of it.

    What the file is, is told by its keys, its shapes and its ``arch``, never by its name.

    Raises
    ------
    NucplanError
        If the file is unreadable, holds something else than a CellViT that can be run, or a tensor is missing, of
        another shape, one too many or not finite; the message names it.
    """
    file = read_weights_file(path)
    refuse_others(path, set(file.tensors), file.arch)
    shape = cellvit_shape(file)
    info = info_of(file, shape)
    model, matched = compared(file, shape, info)
    if not matched.complete:
        raise NucplanError(unfit(file, matched))
    refuse_broken_numbers(file, file.tensors)
    model.load_state_dict({name: _single(tensor) for name, tensor in file.tensors.items()}, assign=True)
    return model.to(memory_format=torch.channels_last).requires_grad_(False).eval(), info


def compared(file: WeightsFile, shape: CellViTShape, info: CellViTInfo) -> tuple[CellViT, Match]:
    """The model that a file should fill, on the meta device, and how the file fits it: it may leave nothing out."""
    with warnings.catch_warnings(), torch.device("meta"):
        # torch says that nothing is initialised, which is the point.
        warnings.simplefilter("ignore", UserWarning)
        model = CellViT(shape, info.mean, info.std)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    there = {name: tuple(tensor.shape) for name, tensor in file.tensors.items() if name in wanted}
    return model, Match(
        used={name: file.tensors[name] for name, found in there.items() if found == wanted[name]},
        parts=tuple(sorted(there)),
        misshapen={name: (found, wanted[name]) for name, found in there.items() if found != wanted[name]},
        missing=tuple(sorted(set(wanted) - set(there))),
        left_over=tuple(sorted(set(file.tensors) - set(there))),
        dispensable=(),
    )


def cellvit_shape(file: WeightsFile) -> CellViTShape:
    """Its sizes.

    Raises
    ------
    NucplanError
        If they cannot be told, or fit no CellViT.
    """
    try:
        return shape_of(file.tensors, file.arch, file.config)
    except KeyError as error:
        raise NucplanError(f"{file.path} lacks {error} of a CellViT; download it again.") from None
    except (ValueError, IndexError) as error:
        raise NucplanError(f"{file.path} is no CellViT that nucplan knows: {error}; download it again.") from None


def info_of(file: WeightsFile, shape: CellViTShape) -> CellViTInfo:
    """What the settings say, and the published defaults where they say nothing.

    Raises
    ------
    NucplanError
        As `colours`.
    """
    arch = file.arch if file.arch in KINDS else _arch_of(shape)
    names = _class_names(file.config, shape.classes)
    licence = CARDS[ENCODERS.get(arch) or f"cellvit-sam-{SAM_SIZES.get(shape.channels, 'b')}"].licence
    mean, std = colours(file)
    mixed = file.config.get("training.mixed_precision")
    return CellViTInfo(
        arch=arch,
        title=_title(arch, shape),
        class_names=names,
        mean=mean,
        std=std,
        mpp=0.5 if _is_20x(file.config) else 0.25,
        licence=licence if names == PANNUKE else licence.removesuffix(f", {TRAINED_ON}"),
        mixed_precision=None if mixed is None else bool(mixed),
    )


def colours(file: WeightsFile) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per RGB channel of images in [0, 1]; 0.5, as published, where the settings do not say.

    Raises
    ------
    NucplanError
        If they say something else than three numbers.
    """
    return _statistics(file, "mean", HALF[0]), _statistics(file, "std", HALF[1])


def _arch_of(shape: CellViTShape) -> str:
    if shape.kind == SAM:
        return "CellViTSAM"
    if shape.kind == PLAIN:
        return "CellViT256"
    if shape.gated:
        return "CellViTVirchow2" if shape.registers else "CellViTVirchow"
    return "CellViTUNI"


def _title(arch: str, shape: CellViTShape) -> str:
    if shape.kind == SAM:
        return f"CellViT SAM-{SAM_SIZES.get(shape.channels, '').upper()}".rstrip("-")
    return f"CellViT {arch.removeprefix('CellViT')}".strip()


def _class_names(config: Mapping[str, Any], classes: int) -> tuple[str, ...]:
    prefix = "dataset_config.nuclei_types."
    by_index = {value: key.removeprefix(prefix) for key, value in config.items() if key.startswith(prefix)}
    if set(by_index) == set(range(classes)):
        return tuple(by_index[index].lower() for index in range(classes))
    if classes == len(PANNUKE):
        return PANNUKE
    return ("background", *(f"class {index}" for index in range(1, classes)))


def _statistics(file: WeightsFile, name: str, usual: tuple[float, ...]) -> tuple[float, ...]:
    setting = f"transformations.normalize.{name}"
    given = file.config.get(setting)
    if given is None:
        return usual
    try:
        values = () if isinstance(given, str) else tuple(float(value) for value in given)
    except (TypeError, ValueError, RuntimeError):
        values = ()
    if len(values) != 3 or not all(math.isfinite(value) for value in values) or (name == "std" and min(values) <= 0):
        raise NucplanError(f"{file.path}: its setting '{setting}' is no list of three numbers; correct it in the file.")
    return values


def _is_20x(config: Mapping[str, Any]) -> bool:
    """Whether the settings name half of the usual magnification; the weights cannot tell."""
    names = "run_name", "log_comment", "run_path", "logdir"
    named = [str(value) for key, value in config.items() if key.endswith(names)]
    magnifications = [str(value) for key, value in config.items() if key.endswith("magnification")]
    return not {"20", "20.0"}.isdisjoint(magnifications) or any(
        re.search(r"(?<![0-9a-z])(20x|x20)(?![0-9a-z])", name, re.I) for name in named
    )


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def unfit(file: WeightsFile, matched: Match) -> str:
    """One sentence: why a file is no complete CellViT."""
    found = (("lacks", matched.missing), ("has", matched.left_over))
    parts = [f"{verb} {_listed(names)}" for verb, names in found if names]
    if parts:
        tail = ", which it should not have" if matched.left_over else ""
        return f"{file.path} is a CellViT that {' and '.join(parts)}{tail}; download it again."
    name, (theirs, ours) = next(iter(matched.misshapen.items()))
    return f"{file.path}: '{name}' has the shape {theirs} and not {ours}; download it again."


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
