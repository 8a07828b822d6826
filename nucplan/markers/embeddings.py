"""Embeddings of proteins by UniProt accession: a folder of ``<accession>.pt``, or one ``.npz`` with an array of each.

VirTues was trained with ESM-2 (``esm2_t30_150M_UR50D``, layer 30, mean over the residues): 640 numbers per protein.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nucplan.errors import NucplanError


def available(path: Path) -> set[str]:
    """The accessions that there is an embedding of.

    Raises
    ------
    NucplanError
        If ``path`` is neither a folder nor an ``.npz``, or holds none.
    """
    if path.is_dir():
        found = {file.stem for file in path.glob("*.pt")}
    elif path.suffix == ".npz" and path.is_file():
        found = set(_arrays(path))
    else:
        raise NucplanError(
            f"{path} holds no marker embeddings; give a folder of <UniProt accession>.pt files, or an .npz of them."
        )
    if not found:
        raise NucplanError(f"{path} holds no marker embedding; put <UniProt accession>.pt files there.")
    return found


def read_embeddings(path: Path, accessions: Collection[str]) -> dict[str, Tensor]:
    """The embeddings (E,) float32 of these accessions, all of one length; no code of a file is run.

    Raises
    ------
    NucplanError
        If one is missing, unreadable, no vector of finite numbers, or longer or shorter than another.
    """
    arrays = {} if path.is_dir() else _arrays(path)
    found: dict[str, Tensor] = {}
    for accession in sorted(set(accessions)):
        if not path.is_dir() and accession not in arrays:
            raise NucplanError(f"{path} has no embedding of {accession}; add it.")
        vector = _vector(path / f"{accession}.pt") if path.is_dir() else torch.from_numpy(arrays[accession]).float()
        if vector.ndim != 1 or not vector.isfinite().all():
            raise NucplanError(f"{path} has no vector of numbers for {accession}; make its embedding anew.")
        found[accession] = vector
    if len({len(vector) for vector in found.values()}) > 1:
        raise NucplanError(f"{path} has embeddings of different lengths; take all from one protein model.")
    return found


def write_embeddings(path: Path, embeddings: dict[str, Tensor]) -> None:
    """Store embeddings as one ``.npz`` that `read_embeddings` reads."""
    with open(path, "wb") as file:
        np.savez(file, **{accession: vector.numpy() for accession, vector in embeddings.items()})


def _vector(file: Path) -> Tensor:
    if not file.is_file():
        raise NucplanError(f"{file} does not exist; add the embedding.")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch's unpickler meets damaged files with whatever its own look-ups raise.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NucplanError(f"{file} is no readable embedding ({reason}); make it anew.") from None
    if not isinstance(content, Tensor):
        raise NucplanError(f"{file} holds no tensor; make the embedding anew.")
    return content.float()


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise NucplanError(f"{path} is no readable .npz of numbers ({error}); make it anew.") from None
