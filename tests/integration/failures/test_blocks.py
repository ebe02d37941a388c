"""Blocks that cannot work, that say nothing, and a batch system that does not answer."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integration.failures.conftest import REPORT_VARIABLE, WAIT_S, Detected, wait_until
from tests.integration.htex.conftest import StartExecutor
from trellis.blocks import pool
from trellis.core.interfaces import ExecutorContext
from trellis.core.jobs import JobState
from trellis.errors import BadStateException, SubmitException
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.providers import LocalProvider


def test_no_block_can_work(start_htex: StartExecutor, detected: Detected) -> None:
    executor = start_htex(launch_cmd="echo this environment is broken >&2; exit 3; {block_id}")
    started_at = time.monotonic()
    exception = executor.submit(len, {}, "abc").exception(WAIT_S)
    detected("blocks-fail", time.monotonic() - started_at)
    assert isinstance(exception, BadStateException)
    assert "this environment is broken" in str(exception)
    assert "exit code 3" in str(exception)


def test_workers_never_come_up(tmp_path: Path, detected: Detected, monkeypatch: pytest.MonkeyPatch) -> None:
    if REPORT_VARIABLE not in os.environ:  # the real time is for those who measure
        monkeypatch.setattr(pool, "SILENT_S", 0.5)
    said: list[tuple[float, str]] = []
    executor = HighThroughputExecutor(
        launch_cmd="echo waiting for the licence server >&2; sleep 600; {block_id}", max_workers_per_node=1
    )
    executor.start(ExecutorContext(run_dir=str(tmp_path), notify=lambda text: said.append((time.monotonic(), text))))
    started_at = time.monotonic()
    try:
        future = executor.submit(len, {}, "abc")
        wait_until(lambda: said, "the user is told")
        detected("blocks-silent", said[0][0] - started_at)
        assert "waiting for the licence server" in said[0][1]
        assert not future.done()
    finally:
        executor.shutdown()


class Deaf(LocalProvider):
    """Its batch system can be made not to answer."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.answers = True
        self.submitted = 0

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self.submitted += 1
        return super().submit(*args, **kwargs)

    def status(self, job_ids: Sequence[Any]) -> Any:
        if not self.answers:
            raise SubmitException("deaf", "the batch system does not answer")
        return super().status(job_ids)


def test_the_batch_system_does_not_answer(
    start_htex: StartExecutor, detected: Detected, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Deaf(min_blocks=1)
    executor = start_htex(provider=provider, max_workers_per_node=1)
    assert executor.submit(len, {}, "abc").result(WAIT_S) == 3
    wait_until(lambda: _states(executor) == [JobState.RUNNING], "the block is known to run")
    provider.answers = False
    deaf_at = time.monotonic()
    wait_until(lambda: "cannot ask" in caplog.text, "it is noticed")
    detected("batch-silent", time.monotonic() - deaf_at)
    time.sleep(2 * provider.status_polling_interval)
    # What was last known stays; nobody is started for it, and nobody ended.
    assert _states(executor) == [JobState.RUNNING]
    assert executor.submit(len, {}, "abcd").result(WAIT_S) == 4
    assert provider.submitted == 1


def _states(executor: HighThroughputExecutor) -> list[JobState]:
    return [status.state for status in executor.status().values()]
