"""Published CellViT checkpoints: what a file is, by its keys and shapes, and the model with every key used."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nucplan.errors import NucplanError
from nucplan.networks.cellvit.foreign import refuse_others
from nucplan.networks.cellvit.model import CellViT
from nucplan.networks.cellvit.shape import KINDS, PLAIN, SAM, CellViTShape, shape_of
from nucplan.networks.weights import CONTAINERS, read_content

PANNUKE = ("background", "neoplastic", "inflammatory", "connective", "dead", "epithelial")
SAM_SIZES = {768: "SAM-B", 1024: "SAM-L", 1280: "SAM-H"}
# Of the encoders that the weights are made from, as their authors publish them.
LICENCES = {
    "CellViT": "Apache-2.0 with Commons Clause (CellViT)",
    "CellViT256": "Apache-2.0 with Commons Clause (CellViT on HIPT's ViT-256)",
    "CellViTSAM": "Apache-2.0 (CellViT on SAM)",
    "CellViTUNI": "CC BY-NC-ND 4.0 (CellViT on UNI)",
    "CellViTVirchow": "Apache-2.0 (CellViT on Virchow)",
    "CellViTVirchow2": "CC BY-NC-ND 4.0 (CellViT on Virchow2)",
}


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
    mixed_precision : whether it was trained in 16 bits, and is to be run so
    """

    arch: str
    title: str
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mpp: float
    licence: str
    mixed_precision: bool


@dataclass(frozen=True)
class CellViTFile:
    """The parts of a checkpoint: its state dict, the class that it was saved from, its flat settings."""

    path: Path
    tensors: dict[str, Tensor]
    arch: str | None
    config: dict[str, Any]


def read_cellvit(path: Path) -> tuple[CellViT, CellViTInfo]:
    """The complete model of a checkpoint in evaluation mode on the CPU, and what is known of it.

    What the file is, is told by its keys, its shapes and its ``arch``, never by its name.

    Raises
    ------
    NucplanError
        If the file is unreadable, holds something else than a CellViT that can be run, or a tensor is missing, of
        another shape or one too many; the message names it.
    """
    file = open_cellvit(path)
    shape = cellvit_shape(file)
    info = info_of(file, shape)
    with warnings.catch_warnings(), torch.device("meta"):
        # torch says that nothing is initialised, which is the point.
        warnings.simplefilter("ignore", UserWarning)
        model = CellViT(shape, info.mean, info.std)
    _refuse_unfit(file, {name: tensor.shape for name, tensor in model.state_dict().items()})
    model.load_state_dict({name: _single(tensor) for name, tensor in file.tensors.items()}, assign=True)
    return model.to(memory_format=torch.channels_last).requires_grad_(False).eval(), info


def open_cellvit(path: Path) -> CellViTFile:
    """The parts of a file that may be a CellViT.

    Raises
    ------
    NucplanError
        If it is unreadable, or another kind of file.
    """
    file = _opened(path)
    refuse_others(path, set(file.tensors), file.arch)
    return file


def input_statistics(path: Path) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation per RGB channel that a CellViT was trained with; None for another kind of file.

    Published CellViTs were trained with 0.5 whatever their encoders were pretrained with.

    Raises
    ------
    NucplanError
        If the file is unreadable.
    """
    file = _opened(path)
    if not any(name.startswith("decoder0.") for name in file.tensors):
        return None
    return list(_statistics(file.config, "mean")), list(_statistics(file.config, "std"))


def _opened(path: Path) -> CellViTFile:
    content = read_content(path)
    content = content if isinstance(content, dict) else {}
    arch, config = content.get("arch"), content.get("config")
    state = next((content[key] for key in CONTAINERS if isinstance(content.get(key), dict)), content)
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    return CellViTFile(
        path, tensors, arch if isinstance(arch, str) else None, _flat(config) if isinstance(config, dict) else {}
    )


def cellvit_shape(file: CellViTFile) -> CellViTShape:
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


def info_of(file: CellViTFile, shape: CellViTShape) -> CellViTInfo:
    """What the settings say, and the published defaults where they say nothing."""
    arch = file.arch if file.arch in KINDS else _arch_of(shape)
    names = _class_names(file.config, shape.classes)
    licence = LICENCES[arch] + ("; trained on PanNuke, CC BY-NC-SA 4.0" if names == PANNUKE else "")
    return CellViTInfo(
        arch=arch,
        title=_title(arch, shape),
        class_names=names,
        mean=_statistics(file.config, "mean"),
        std=_statistics(file.config, "std"),
        mpp=0.5 if _is_20x(file.config) else 0.25,
        licence=licence,
        mixed_precision=bool(file.config.get("training.mixed_precision", False)),
    )


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted names, as most files have them already."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


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
        return f"CellViT {SAM_SIZES.get(shape.channels, 'SAM')}"
    return f"CellViT {arch.removeprefix('CellViT')}".strip()


def _class_names(config: Mapping[str, Any], classes: int) -> tuple[str, ...]:
    prefix = "dataset_config.nuclei_types."
    by_index = {value: key.removeprefix(prefix) for key, value in config.items() if key.startswith(prefix)}
    if set(by_index) == set(range(classes)):
        return tuple(by_index[index].lower() for index in range(classes))
    if classes == len(PANNUKE):
        return PANNUKE
    return ("background", *(f"class {index}" for index in range(1, classes)))


def _statistics(config: Mapping[str, Any], name: str) -> tuple[float, ...]:
    values = config.get(f"transformations.normalize.{name}")
    return tuple(float(value) for value in values) if values and len(values) == 3 else (0.5,) * 3


def _is_20x(config: Mapping[str, Any]) -> bool:
    """Whether the settings name half of the usual magnification; the weights cannot tell."""
    named = [str(value) for key, value in config.items() if key.endswith(("run_name", "log_comment", "run_path"))]
    magnifications = [value for key, value in config.items() if key.endswith("magnification")]
    return 20 in magnifications or any(re.search(r"(?<![0-9a-z])(20x|x20)(?![0-9a-z])", name, re.I) for name in named)


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _refuse_unfit(file: CellViTFile, wanted: Mapping[str, torch.Size]) -> None:
    missing, extra = sorted(set(wanted) - set(file.tensors)), sorted(set(file.tensors) - set(wanted))
    parts = [f"{verb} {_listed(names)}" for verb, names in (("lacks", missing), ("has", extra)) if names]
    if parts:
        tail = ", which it should not have" if extra else ""
        raise NucplanError(f"{file.path} is a CellViT that {' and '.join(parts)}{tail}; download it again.")
    for name, shape in wanted.items():
        if file.tensors[name].shape != shape:
            raise NucplanError(
                f"{file.path}: '{name}' has the shape {tuple(file.tensors[name].shape)} and not {tuple(shape)}; "
                "download it again."
            )


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
