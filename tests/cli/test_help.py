"""Help answers at once: it explains every option and imports nothing heavy."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
SCRIPTS = tomllib.loads(PROJECT.read_text())["project"]["scripts"]
HEAVY = {"torch", "numpy", "nnunetv2", "cv2", "skimage", "scipy", "timm", "pandas", "matplotlib", "tifffile"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_shows_usage_options_and_examples(script, capsys):
    module, function = SCRIPTS[script].split(":")
    with pytest.raises(SystemExit) as left:
        getattr(importlib.import_module(module), function)(["--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: {script} ")
    assert re.search(rf"^examples:\n  {script}\b", shown, re.MULTILINE)


def test_no_help_imports_anything_heavy():
    code = (
        "import importlib, sys\n"
        "for entry in sys.argv[1:]:\n"
        "    module, function = entry.split(':')\n"
        "    try: getattr(importlib.import_module(module), function)(['--help'])\n"
        "    except SystemExit: pass\n"
        f"    print('loaded', entry, *({HEAVY!r} & set(sys.modules)))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, *SCRIPTS.values()], capture_output=True, text=True, check=True)
    loaded = [line for line in ended.stdout.splitlines() if line.startswith("loaded ")]
    assert loaded == [f"loaded {entry}" for entry in SCRIPTS.values()]
