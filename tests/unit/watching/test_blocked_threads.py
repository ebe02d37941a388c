"""Which futures threads wait for, as their frames tell."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from trellis import futures
from trellis.core.light_future import LightFuture
from trellis.watching.blocked_threads import futures_waited_for

TIMEOUT_S = 30


@pytest.mark.parametrize(
    "wait",
    [
        lambda open_one, done: open_one.result(),
        lambda open_one, done: open_one.exception(TIMEOUT_S),
        lambda open_one, done: concurrent.futures.wait([done, open_one]),
        lambda open_one, done: list(concurrent.futures.as_completed({open_one})),
        lambda open_one, done: list(futures.as_completed([done, open_one])),
    ],
    ids=["result", "exception", "wait", "as_completed", "trellis.as_completed"],
)
@pytest.mark.parametrize("kind", [Future, LightFuture])
def test_a_thread_that_waits(kind: type[Future[Any]], wait: Callable[[Any, Any], object]) -> None:
    open_one, done = kind(), kind()
    done.set_result(1)
    thread = threading.Thread(target=wait, args=(open_one, done), name="waits")
    thread.start()
    try:
        end = time.monotonic() + TIMEOUT_S
        while "waits" not in (found := futures_waited_for()) and time.monotonic() < end:
            time.sleep(0.001)
        assert found["waits"] == [open_one]
    finally:
        open_one.set_result(2)
        thread.join()


def test_a_thread_that_waits_for_something_else() -> None:
    event, began = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        event.wait()

    thread = threading.Thread(target=work, name="waits")
    thread.start()
    began.wait()
    found = futures_waited_for()
    event.set()
    thread.join()
    assert "waits" not in found
