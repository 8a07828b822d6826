from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from nucplan.errors import NucplanError
from nucplan.files import atomic_files, atomic_path, free_bytes, read_json, refuse_unwritable, write_json


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


def test_files_of_a_writer_that_picks_their_names_appear_together_or_not_at_all(tmp_path):
    (tmp_path / "plans.json").write_text("old")
    (tmp_path / "other").write_text("kept")
    with pytest.raises(OSError, match="full"), atomic_files(tmp_path) as temporary:
        (temporary / "plans.json").write_text("ha")
        raise OSError("disk full")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"plans.json": "old", "other": "kept"}
    with atomic_files(tmp_path) as temporary:
        (temporary / "plans.json").write_text("new")
        assert (tmp_path / "plans.json").read_text() == "old"
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"plans.json": "new", "other": "kept"}


def test_a_folder_that_is_not_there_yet_is_judged_by_the_closest_one_above_it(tmp_path, monkeypatch):
    refuse_unwritable(tmp_path / "a" / "b")
    assert free_bytes(tmp_path / "a" / "b") == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    refuse_unwritable(tmp_path.parent)
    with pytest.raises(NucplanError, match=f"{tmp_path} cannot be written; make it writable"):
        refuse_unwritable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder_that_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NucplanError, match="file cannot be written"):
        refuse_unwritable(tmp_path / "file" / "below")


def test_files_of_an_unfinished_folder_are_written_in_place_and_go_with_it(tmp_path):
    with pytest.raises(OSError, match="full"), atomic_path(tmp_path / "folder") as staging:
        with atomic_path(staging / "a" / "b.json") as inner:
            assert inner == staging / "a" / "b.json"
            inner.write_text("{}")
        with pytest.raises(ValueError), atomic_path(staging / "c.json") as half:
            half.write_text("half")
            raise ValueError
        assert not (staging / "c.json").exists()
        raise OSError("disk full")
    assert list(tmp_path.iterdir()) == []
    with atomic_path(tmp_path / "folder.json") as temporary:
        assert temporary != tmp_path / "folder.json"
        temporary.write_text("{}")
