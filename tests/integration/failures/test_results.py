"""A result that the submit side cannot make into an object again."""

from __future__ import annotations

import os
import time

from tests.integration.failures.conftest import WAIT_S, Detected
from tests.integration.htex.conftest import StartExecutor
from trellis.errors import DeserializationError


class OnlyThere:
    """Can be pickled on a worker, and loaded nowhere."""

    def __reduce__(self) -> tuple[object, ...]:
        return _load, (time.time(),)


_at: list[float] = []


def _load(dumped_at: float) -> None:
    if "PARSL_WORKER_RANK" in os.environ:
        return
    _at.append(dumped_at)
    raise RuntimeError("this cannot be loaded here")


def make_one() -> OnlyThere:
    return OnlyThere()


def test_a_result_that_cannot_be_deserialized(start_htex: StartExecutor, detected: Detected) -> None:
    executor = start_htex(max_workers_per_node=1)
    bad, good = executor.submit(make_one, {}), executor.submit(len, {}, "abc")
    exception = bad.exception(WAIT_S)
    detected("bad-result", time.time() - _at.pop())
    assert isinstance(exception, DeserializationError)
    assert "this cannot be loaded here" in str(exception)
    assert good.result(WAIT_S) == 3
