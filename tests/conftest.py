"""Fixtures that several parts share: real data where present, one root per session, a tiny planned dataset."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

# Set before torch is imported: spinning threads stall each other where tests run side by side.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real images are not here")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def _no_variables_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "NUCPLAN_ROOT", "nnUNet_extTrainer"):
        # Set first: what a test sets itself is then taken back as well.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


TINY = {"patch_size": 64, "batch_size": 2, "encoder": {"depth": 2}, "network_width": [4, 8, 8, 8, 8]}


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with dataset 1, twelve synthetic images, planned with a tiny network and preprocessed; read only."""
    import json

    from nucplan.cli import convert, plan_and_preprocess
    from nucplan.datasets.synthetic import write_synthetic

    folder = tmp_path_factory.mktemp("tiny")
    write_synthetic(folder / "source", images=12, size=96, seed=1, images_per_slide=2)
    root = ["--root", str(folder / "root")]
    overrides = [part for name, value in TINY.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    with pytest.MonkeyPatch.context() as patch:
        # The commands set nnU-Net's variables for the rest of the process.
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            patch.setenv(name, "")
        assert convert.main(["folder", str(folder / "source"), "1", "Tiny", "--test-split", "0.17", *root]) == 0
        assert plan_and_preprocess.main(["1", "--device", "cpu", *overrides, *root]) == 0
    return folder / "root"


@pytest.fixture(scope="session")
def trained_root(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tiny_root`` with folds 0 and 1 trained for two iterations; read only."""
    import shutil

    from nucplan.cli import train

    copy = tmp_path_factory.mktemp("trained") / "root"
    shutil.copytree(tiny_root, copy)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            patch.setenv(name, "")
        for fold in ("0", "1"):
            assert train.main(["1", fold, "--iterations", "2", "--device", "cpu", "--root", str(copy)]) == 0
    return copy


@pytest.fixture
def root(tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of ``tiny_root`` that a test may change; nnU-Net's variables point to it."""
    import shutil

    copy = tmp_path / "root"
    shutil.copytree(tiny_root, copy)
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(copy / name))
        (copy / name).mkdir(exist_ok=True)
    return copy


@pytest.fixture
def mounted() -> Iterator[Callable[[Path, str], Path]]:
    """Mounts an empty file system in memory over a folder, with the options given; skips where that is not allowed.

    The superuser can write whatever the modes of a folder say, but neither a full nor a read-only file system.
    """
    folders: list[Path] = []

    def mount(folder: Path, options: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("mounting a file system needs the superuser")
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def cellvit_files() -> ModuleType:
    """What writes checkpoints as CellViT's authors publish them, see `tests/nucplan/networks/cellvit/templates.py`."""
    from importlib.util import module_from_spec, spec_from_file_location

    path = Path(__file__).parent / "nucplan" / "networks" / "cellvit" / "templates.py"
    spec = spec_from_file_location("cellvit_templates", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
