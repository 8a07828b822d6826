"""What all commands share: what the system refuses is one sentence too."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from nucplan.cli import common


def run(command) -> int:
    return common.run(lambda _: command(), common.parser("nucplan_test", "", ""), [])


def raising(error: OSError):
    def command() -> None:
        raise error

    return command


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path, assert_refused):
    (tmp_path / "file").touch()
    assert_refused(run((tmp_path / "file").mkdir), f"{tmp_path / 'file'} cannot be read or written", "File exists")
    assert_refused(run((tmp_path / "file" / "below").mkdir), f"{tmp_path / 'file' / 'below'}", "Not a directory")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/locked"), ("/locked", "Permission denied")),
        (OSError(errno.ENOSPC, "No space left on device"), ("No space left on device",)),
        (OSError("a library\nspeaks"), ("a library speaks",)),
        (OSError(), ("OSError",)),
    ],
)
def test_what_the_system_refuses_is_told_in_one_sentence(error, told, assert_refused):
    assert_refused(run(raising(error)), *told)


@pytest.mark.parametrize("root", [True, False])
def test_the_root_is_an_option_where_it_has_a_meaning(root):
    assert ("--root" in common.parser("nucplan_test", "", "", root=root).format_help()) == root


@pytest.mark.parametrize("lines", [1, 100_000], ids=["less than a buffer", "more"])
def test_a_reader_that_has_seen_enough_is_no_error(lines):
    code = (
        "import sys; from nucplan.cli import common; sys.stdin.read()\n"
        f"sys.exit(common.run(lambda _: print('line\\n' * {lines}), common.parser('nucplan_test', '', ''), []))"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    started.stdout.close()
    started.stdin.close()
    assert started.stderr.read() == b""
    assert started.wait() == common.EXIT_PIPE
