"""Files that are taken for CellViT checkpoints and are something else, each with its way out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from nucplan.errors import NucplanError


class Other(NamedTuple):
    """A kind of files: what it is, how a sentence goes on to the way out, the test of its names and ``arch``."""

    title: str
    way_out: str
    is_it: Callable[[set[str], str], bool]


def refuse_others(file: Path, names: set[str], arch: str | None) -> None:
    """Do nothing if these are names of a CellViT's tensors.

    Parameters
    ----------
    file
        For the message.
    names
        Of the tensors.
    arch
        The class that the file says it was saved from.

    Raises
    ------
    NucplanError
        If they are those of something else; the message names it.
    """
    for other in (*NETWORKS, *REST):
        if other.is_it(names, arch or ""):
            raise NucplanError(f"{file} is {other.title}{other.way_out}.")


def other_network(names: set[str], arch: str | None) -> str | None:
    """What the tensors are of, if of one of `NETWORKS`."""
    return next((other.title for other in NETWORKS if other.is_it(names, arch or "")), None)


def _is_adapter(names: set[str], arch: str) -> bool:
    parts = r"(^|\.)(interactions\.\d+\.(injector|extractor)|spm)\."
    return "Adapter" in arch or any(re.search(parts, name) for name in names)


def _is_linear(names: set[str], arch: str) -> bool:
    return arch == "LinearClassifier" or names == {f"fc{n}.{kind}" for n in (1, 2) for kind in ("weight", "bias")}


def _is_shared(names: set[str], arch: str) -> bool:
    decoder, encoder = (any(name.startswith(part) for name in names) for part in ("decoder.", "encoder."))
    return arch.endswith("Shared") or (decoder and encoder)


def _is_star(names: set[str], arch: str) -> bool:
    pattern = r"star_?dist|cpp|dist_(map_)?decoder"
    return any(re.search(pattern, name, re.IGNORECASE) for name in (arch, *(n.split(".")[0] for n in names)))


def _is_encoder(names: set[str], _arch: str) -> bool:
    blocks = any(re.search(r"(^|\.)(blocks|layers?)\.\d+\.", name) for name in names)
    return blocks and not any(name.startswith(("decoder0.", "nuclei_")) for name in names)


def _has_adapters(names: set[str], _arch: str) -> bool:
    return any(".Adapter." in name for name in names)


def _is_unrelated(names: set[str], _arch: str) -> bool:
    return not any(name.startswith(("encoder.", "decoder0.", "nuclei_", "hv_map")) for name in names)


# Whole networks, or parts that are of use with one alone.
NETWORKS = (
    Other(
        "a CellVTA",
        ", whose published weights nucplan does not run; train one with nucplan_train --config cellvta",
        _is_adapter,
    ),
    Other(
        "a linear classifier of CellViT++",
        ", which needs the cells' tokens and has no segmentation; give the CellViT checkpoint that it belongs to",
        _is_linear,
    ),
    Other(
        "a CellViT with StarDist or CPP-Net heads",
        ", which nucplan does not run; give a CellViT with HV maps",
        _is_star,
    ),
    Other(
        "a CellViT of the first version with one shared decoder",
        ", which nucplan does not run; give one with three branches",
        _is_shared,
    ),
    Other(
        "a CellViT on SAM-Med2D's encoder",
        ", whose adapters nucplan's CellViT has not; give one on SAM itself",
        lambda names, arch: _has_adapters(names, arch) and not _is_encoder(names, arch),
    ),
)
REST = (
    Other(
        "SAM-Med2D's encoder and no CellViT",
        "; start a training from it with nucplan_train --encoder sam-med2d --weights",
        _has_adapters,
    ),
    Other(
        "an encoder without CellViT's decoder",
        "; start a training from it with nucplan_train --encoder NAME --weights",
        _is_encoder,
    ),
    Other(
        "no CellViT checkpoint",
        ": nothing in it is a CellViT's; give one of those that its authors publish",
        _is_unrelated,
    ),
)
