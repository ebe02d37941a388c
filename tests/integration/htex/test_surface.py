"""What programs ask of an executor beside running their functions."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import time
from pathlib import Path

import pytest

from tests.integration.htex.conftest import StartExecutor
from tests.integration.htex.test_parameters import wait_until
from trellis.core.interfaces import ExecutorContext
from trellis.core.jobs import JobState
from trellis.errors import SerializationError
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.providers import LocalProvider
from trellis.serialize import deserialize, pack_apply_message, serialize

WAIT_S = 30


def join(buffer: bytes, separator: str, *, end: str = "") -> str:
    return separator.join(deserialize(buffer)) + end


def test_parameters_hold_from_the_start_to_the_end(start_htex: StartExecutor) -> None:
    executor = start_htex(provider=LocalProvider(init_blocks=0))
    executor.prefetch_capacity = 7
    assert "--prefetch_capacity 0 " in executor.launch_command("1")
    executor.shutdown()
    assert "--prefetch_capacity 7 " in executor.launch_command("1")


def test_calls_that_are_bytes_already(start_htex: StartExecutor) -> None:
    executor = start_htex(max_workers_per_node=1)
    assert executor.submit_payload({}, pack_apply_message(divmod, (7, 3), {})).result(WAIT_S) == (2, 1)
    join_with_dashes = {"f": f"{__name__}.join", "a": ("-",), "k": {"end": "!"}}
    context = {"task_executor": join_with_dashes, "resource_spec": {"priority": 1}}
    assert executor.submit_payload(context, serialize(["a", "b"])).result(WAIT_S) == "a-b!"
    failed = executor.submit_payload({}, pack_apply_message(divmod, (7, 0), {}))
    assert isinstance(failed.exception(WAIT_S), ZeroDivisionError)


def test_packages_of_the_managers(start_htex: StartExecutor) -> None:
    executor = start_htex(max_workers_per_node=1)
    executor.submit(len, {}, "").result(WAIT_S)
    (manager,) = executor.connected_managers()
    packages = executor.connected_managers_packages()
    assert list(packages) == [manager["manager"]]
    assert packages[manager["manager"]]["msgspec"] == importlib.metadata.version("msgspec")


def test_tasks_that_have_no_result_yet(start_htex: StartExecutor) -> None:
    executor = start_htex(max_workers_per_node=1)
    assert executor.tasks == {}
    future = executor.submit(time.sleep, {}, 60)
    assert list(executor.tasks.values()) == [future]  # at once
    assert executor.outstanding == 1
    executor.submit(lambda: 1, {})  # the function of which is sent, too
    assert executor.outstanding == len(executor.tasks) == 2
    future.cancel()
    wait_until(lambda: executor.tasks == {}, "the tasks are gone")
    assert executor.outstanding == 0


def test_a_manager_that_cannot_be_named_is_refused_at_the_call(start_htex: StartExecutor) -> None:
    executor = start_htex(max_workers_per_node=1)
    for name in (object(), "\ud800"):
        with pytest.raises(SerializationError):
            executor.hold_worker(name)  # type: ignore[arg-type]
    assert executor.submit(len, {}, "abc").result(WAIT_S) == 3


class SeldomAsked(LocalProvider):
    status_polling_interval = 3_600


def test_a_block_whose_manager_is_there_runs(start_htex: StartExecutor) -> None:
    executor = start_htex(max_workers_per_node=1, provider=SeldomAsked(init_blocks=1, max_blocks=1))
    executor.submit(len, {}, "").result(WAIT_S)
    assert {block: status.state for block, status in executor.status().items()} == {"0": JobState.RUNNING}


def test_a_job_that_ended_without_its_managers_is_missing(start_htex: StartExecutor) -> None:
    executor = start_htex(launch_cmd="true", block_error_handler=False)
    wait_until(lambda: executor.status().get("0") and executor.status()["0"].terminal, "the block's job has ended")
    assert executor.status()["0"].state is JobState.MISSING
    assert "before any of its managers had connected" in str(executor.status()["0"])


def test_the_user_is_told_when_the_interchange_was_restarted(tmp_path: Path) -> None:
    told: list[str] = []
    executor = HighThroughputExecutor(label="told", max_workers_per_node=1)
    executor.start(ExecutorContext(run_dir=str(tmp_path), notify=told.append))
    try:
        assert executor.submit(abs, {}, -1).result(WAIT_S) == 1
        os.kill(executor._client._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
        assert executor.submit(abs, {}, -2).result(WAIT_S) == 2
        assert "the interchange of executor told died" in told[0]
    finally:
        executor.shutdown()
