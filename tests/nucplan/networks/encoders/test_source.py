"""Weights from a path, a folder or the local Hugging Face cache."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nucplan.errors import NucplanError
from nucplan.networks.encoders.source import resolve_weights


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def snapshot(cache: Path, revision: str, *files: str, age: int = 0, main: bool = False) -> Path:
    folder = cache / "models--owner--name" / "snapshots" / revision
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_bytes(b"")
    os.utime(folder, (1e9 - age, 1e9 - age))
    if main:
        (folder.parents[1] / "refs").mkdir()
        (folder.parents[1] / "refs" / "main").write_text(f"{revision}\n")
    return folder


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        (("model.safetensors", "pytorch_model.bin", "config.json"), "model.safetensors"),
        (("pytorch_model.bin", "training.pt"), "pytorch_model.bin"),
        (("hibou-b.pth", "config.json"), "hibou-b.pth"),
    ],
)
def test_the_usual_file_of_a_repository_is_taken(cache, files, taken):
    folder = snapshot(cache, "abc", *files)
    assert resolve_weights("hf-hub:owner/name") == folder / taken


def test_the_newest_snapshot_is_taken_unless_main_is_another(cache):
    old = snapshot(cache, "old", "model.safetensors", age=1000)
    new = snapshot(cache, "new", "model.safetensors")
    assert resolve_weights("hf-hub:owner/name").parent == new
    (old.parents[1] / "refs").mkdir()
    (old.parents[1] / "refs" / "main").write_text("old")
    assert resolve_weights("hf-hub:owner/name").parent == old


def test_what_is_not_in_the_cache_is_refused_with_the_way_out(cache):
    with pytest.raises(NucplanError, match=r"not in the local Hugging Face cache .*hf download owner/name"):
        resolve_weights("hf-hub:owner/name")


def test_a_repository_with_several_files_lists_them(cache):
    snapshot(cache, "abc", "a.pth", "b.pth")
    with pytest.raises(NucplanError, match=r"holds several \(a.pth, b.pth\); give the file itself"):
        resolve_weights("hf-hub:owner/name")


def test_a_name_without_owner_is_refused(cache):
    with pytest.raises(NucplanError, match="names no repository"):
        resolve_weights("hf-hub:name")


def test_paths_of_files_and_folders(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"")
    assert resolve_weights(tmp_path / "w.pth") == resolve_weights(str(tmp_path)) == tmp_path / "w.pth"
    with pytest.raises(NucplanError, match="does not exist"):
        resolve_weights(tmp_path / "none.pth")
