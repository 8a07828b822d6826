"""Embeddings of markers from either form, and which channels have one."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from nucplan.errors import NucplanError
from nucplan.markers.channels import identify
from nucplan.markers.embeddings import available, read_embeddings, write_embeddings
from nucplan.markers.known import known_markers

VECTORS = {"P68431": torch.arange(4.0), "P08575": torch.ones(4), "P08575-8": torch.zeros(4)}


@pytest.fixture(params=["folder", "npz"])
def stored(request, tmp_path: Path) -> Path:
    if request.param == "npz":
        write_embeddings(tmp_path / "all.npz", VECTORS)
        return tmp_path / "all.npz"
    for accession, vector in VECTORS.items():
        torch.save(vector, tmp_path / f"{accession}.pt")
    return tmp_path


def test_both_forms_hold_the_same(stored):
    assert available(stored) == set(VECTORS)
    found = read_embeddings(stored, VECTORS)
    assert all(torch.equal(found[accession], VECTORS[accession]) for accession in VECTORS)


def test_one_that_is_missing_is_named(stored):
    with pytest.raises(NucplanError, match="P01730"):
        read_embeddings(stored, ["P68431", "P01730"])


def test_what_is_stored_does_not_change_between_runs(tmp_path: Path):
    for name in ("a", "b"):
        write_embeddings(tmp_path / f"{name}.npz", VECTORS)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (torch.ones(2, 2), "no vector of numbers"), (torch.tensor([1.0, np.nan]), "no vector of numbers"),
        (torch.ones(5), "different lengths"), ({"a": 1}, "holds no tensor"),
    ],
)  # fmt: skip
def test_what_is_no_embedding_is_refused(tmp_path: Path, vector, message):
    torch.save(torch.ones(4), tmp_path / "P68431.pt")
    torch.save(vector, tmp_path / "P01730.pt")
    with pytest.raises(NucplanError, match=message):
        read_embeddings(tmp_path, ["P68431", "P01730"])


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("ending", ["pt", "npz"])
def test_a_pickle_does_not_run(tmp_path: Path, monkeypatch, ending):
    monkeypatch.chdir(tmp_path)
    if ending == "pt":
        (tmp_path / "P68431.pt").write_bytes(pickle.dumps(Bomb()))
        path = tmp_path
    else:
        np.savez(tmp_path / "all.npz", P68431=np.array([Bomb()], dtype=object))
        path = tmp_path / "all.npz"
    with pytest.raises(NucplanError):
        read_embeddings(path, ["P68431"])
    assert not (tmp_path / "exploded").exists()


def test_a_path_without_embeddings_is_refused(tmp_path: Path):
    for path in (tmp_path, tmp_path / "none", tmp_path / "none.npz"):
        with pytest.raises(NucplanError, match="embedding"):
            available(path)


def test_channels_are_identified_and_what_is_left_out_is_listed():
    channels = ("DAPI", "CD45RA", "CD45RO", "CD4", "blank", "vimentine", "Qwrtz")
    found = identify(channels, known_markers(), set(VECTORS))
    assert found.accessions == ("P68431", "P08575-8", "P08575", None, None, None, None)
    assert found.nuclear
    isoform, missing, blank, misspelt, unknown = found.notes
    assert "CD45RO" in isoform
    assert "P08575-4" in isoform
    assert "no embedding of P01730" in missing
    assert "stands for no protein" in blank
    assert "like it: vimentin" in misspelt
    assert "Qwrtz" in unknown


def test_a_nucleus_that_the_encoder_does_not_see_does_not_count():
    assert not identify(("DAPI", "CD45"), known_markers(), {"P08575"}).nuclear
    assert not identify(("Ki67", "CD45"), known_markers(), {"P46013", "P08575"}).nuclear
