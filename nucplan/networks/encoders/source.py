"""Where weights come from: a file, a folder with one, or the local Hugging Face cache. Nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

from nucplan.errors import NucplanError

HUB = "hf-hub:"
USUAL_NAMES = ("model.safetensors", "pytorch_model.bin")
SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt")


def resolve_weights(source: str | Path) -> Path:
    """The file that ``--weights`` means: a path, or ``hf-hub:owner/name`` for what the local cache has.

    Raises
    ------
    NucplanError
        If it is not there, or a folder holds no weights file, or several of which none has the usual name.
    """
    text = str(source)
    if text.startswith(HUB):
        return _weights_in(_snapshot(text.removeprefix(HUB)), text)
    path = Path(text).expanduser()
    if path.is_dir():
        return _weights_in(path, text)
    if not path.is_file():
        raise NucplanError(f"The weights file {path} does not exist; check --weights.")
    return path


def _snapshot(repository: str) -> Path:
    """The folder of the revision that ``main`` points to in the cache, else of the newest one there."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    if repository.count("/") != 1:
        raise NucplanError(f"'{HUB}{repository}' names no repository; give it like {HUB}MahmoodLab/UNI.")
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshots = sorted(folder.glob("snapshots/*"), key=lambda path: path.stat().st_mtime)
    if not snapshots:
        raise NucplanError(
            f"{HUB}{repository} is not in the local Hugging Face cache {cache}; run 'hf download {repository}' where "
            "there is a network, or give the file itself with --weights."
        )
    reference = folder / "refs" / "main"
    current = folder / "snapshots" / reference.read_text().strip() if reference.is_file() else None
    return current if current in snapshots else snapshots[-1]


def _weights_in(folder: Path, source: str) -> Path:
    for name in USUAL_NAMES:
        if (folder / name).is_file():
            return folder / name
    files = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    if len(files) != 1:
        found = f"several ({', '.join(path.name for path in files)})" if files else "none"
        raise NucplanError(
            f"{source} should hold one weights file and holds {found}; give the file itself with --weights."
        )
    return files[0]
