"""CellViT's published decoder as a start for training: one branch of three, and its last layer where classes agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from nucplan.errors import NucplanError
from nucplan.networks.cellvit.checkpoint import CellViTInfo, read_cellvit
from nucplan.networks.heads import LogitHead
from nucplan.networks.nucleus_net import NucleusNet

FIRST = "decoder0.0.block.0.weight"
BRANCH = "nuclei_type_maps_decoder."
LAST = f"{BRANCH}decoder0_header.2."


def load_cellvit_decoder(network: NucleusNet, file: Path, class_names: Sequence[str]) -> str:
    """Fill the decoder of ``network``, and its semantic head where the file's classes are the dataset's.

    Parameters
    ----------
    network
        Built with ``decoder="cellvit"``. Its encoder is left alone.
    file
        A whole CellViT checkpoint.
    class_names
        Of the dataset, without background. Their order may differ from the file's.

    Returns
    -------
    str
        What was loaded, and what of the file was left out.

    Raises
    ------
    NucplanError
        If the file is no complete CellViT, or its decoder is for maps of other channels than the encoder's.
    """
    model, info = read_cellvit(file)
    found, wanted = model.state_dict(), network.decoder.state_dict()
    if wanted[FIRST].shape[1] == 1:
        # A grey image stands for three equal channels.
        found[FIRST] = found[FIRST].sum(1, keepdim=True)
    _refuse_other_sizes(file, found, wanted)
    network.decoder.load_state_dict({name: found[name] for name in wanted})
    rows = _matching_rows(info, class_names)
    last = {name for name in found if name.startswith(LAST)}
    if rows is not None:
        _fill_head(network.semantic_head, model.nuclei_type_maps_decoder.decoder0_header[2], rows)
    used = set(wanted) if rows is None else set(wanted) | last
    head = "a new last layer" if rows is None else "its last layer"
    # The encoder's loader accounts for the encoder.
    left = sorted(name for name in found if name not in used and not name.startswith("encoder."))
    return f"Loaded {len(used)} tensors of {file.name} into the decoder, with {head}; left out: {_grouped(left)}."


def _refuse_other_sizes(file: Path, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape:
            raise NucplanError(
                f"{file}: '{name}' of its decoder has the shape {tuple(found[name].shape)}, this network needs "
                f"{tuple(tensor.shape)}; give the --encoder of the file, and RGB or grey images, or leave "
                "--with-decoder out."
            )


def _matching_rows(info: CellViTInfo, class_names: Sequence[str]) -> list[int] | None:
    """The row of the file's last layer for each class of the dataset; None if the two have other classes."""
    names = ["background", *(name.lower() for name in class_names)]
    if sorted(names) != sorted(info.class_names):
        return None
    return [info.class_names.index(name) for name in names]


def _fill_head(head: LogitHead, last: nn.Conv2d, rows: list[int]) -> None:
    with torch.no_grad():
        head.weight.copy_(last.weight[rows] / head.gain)
        head.bias.copy_(last.bias[rows] / head.gain)


def _grouped(names: Sequence[str]) -> str:
    """The modules that the tensors are of, each with their number; those of the branch that is used by name."""
    counts = Counter(name if name.startswith(BRANCH) else name.partition(".")[0] for name in names)
    return ", ".join(f"{name} ({count})" if count > 1 else name for name, count in counts.items())
