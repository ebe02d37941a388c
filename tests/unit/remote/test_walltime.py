"""A function with a time limit ends as it would without, or with ``AppTimeout``."""

from __future__ import annotations

import threading
import time

import pytest

from trellis.errors import AppTimeout
from trellis.remote.walltime import timeout

LONG_S = 60.0


def test_a_result_and_an_error_come_out_as_they_are() -> None:
    assert timeout(divmod, LONG_S)(7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        timeout(divmod, LONG_S)(7, 0)


def test_what_takes_longer_is_interrupted() -> None:
    def forever() -> None:
        while True:
            time.sleep(0.001)

    with pytest.raises(AppTimeout, match=r"forever ran for longer than its walltime of 0\.01 s"):
        timeout(forever, 0.01)()


def test_the_time_counts_from_when_the_function_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the thread that watches takes longer to start than a short limit."""
    start = threading.Thread.start

    def slowly(thread: threading.Thread) -> None:
        start(thread)
        time.sleep(0.5)

    monkeypatch.setattr(threading.Thread, "start", slowly)
    assert timeout(divmod, 0.25)(7, 2) == (3, 1)
