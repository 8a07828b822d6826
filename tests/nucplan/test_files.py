from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from nucplan.errors import NucplanError
from nucplan.files import atomic_path, read_json, write_json


def test_a_write_that_fails_leaves_the_old_file_and_no_rubbish(tmp_path):
    target = tmp_path / "plan.json"
    write_json(target, {"old": 1})
    with pytest.raises(OSError, match="full"), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")
    assert read_json(target) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_an_interrupted_folder_does_not_appear(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "file").write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def dead_process() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_what_a_killed_process_left_is_removed_and_what_may_still_be_written_is_kept(tmp_path):
    host, dead = socket.gethostname(), dead_process()
    (tmp_path / f".plan.{host}.{dead}.partial.json").write_text("half")
    (tmp_path / f".folder.{host}.{dead}.partial").mkdir()
    (tmp_path / f".folder.{host}.{dead}.partial" / "file").write_text("half")
    kept = [f".other.{host}.{os.getppid()}.partial.json", f".plan.{host}-b.{dead}.partial.json", ".plan.json"]
    for name in kept:
        (tmp_path / name).write_text("in use")
    write_json(tmp_path / "plan.json", {})
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*kept, "plan.json"])


def test_a_folder_starts_empty_even_if_the_killed_process_had_the_same_number(tmp_path):
    with pytest.raises(SystemError), atomic_path(tmp_path / "folder") as first:
        raise SystemError
    first.mkdir()
    (first / "old").write_text("half")
    with atomic_path(tmp_path / "folder") as temporary:
        temporary.mkdir()
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize(("content", "message"), [(None, "is missing"), ("{", "is not valid JSON")])
def test_a_bad_json_file_is_named(tmp_path, content, message):
    path = tmp_path / "dataset.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(NucplanError, match=f"dataset.json {message}"):
        read_json(path)
