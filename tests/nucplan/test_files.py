from __future__ import annotations

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


@pytest.mark.parametrize(("content", "message"), [(None, "is missing"), ("{", "is not valid JSON")])
def test_a_bad_json_file_is_named(tmp_path, content, message):
    path = tmp_path / "dataset.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(NucplanError, match=f"dataset.json {message}"):
        read_json(path)
