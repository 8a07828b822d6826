"""What every command promises when it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture
def assert_refused(capsys: pytest.CaptureFixture) -> Callable[..., None]:
    """Exit code 2 and one sentence on standard error, which has these parts."""

    def check(code: int, *parts: str) -> None:
        error = capsys.readouterr().err
        assert code == 2
        assert error.startswith("nucplan_")
        assert error.count("\n") == 1
        assert all(part in error for part in parts), error

    return check
