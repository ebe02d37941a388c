"""Failures that are told: whose errors nobody has looked at, the words in the log, and the notes of exceptions."""

from __future__ import annotations

import asyncio
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed, wait
from pathlib import Path
from typing import Any

import pytest

from trellis.apps import bash_app, join_app, python_app
from trellis.config import Config
from trellis.dataflow.kernel import DataFlowKernel
from trellis.errors import DependencyError
from trellis.executors.threads import ThreadPoolExecutor
from trellis.futures import AppFuture
from trellis.staging.files import File

TIMEOUT_S = 30


@pytest.fixture
def dfk(tmp_path: Path) -> Iterator[DataFlowKernel]:
    config = Config(executors=[ThreadPoolExecutor("pool")], run_dir=str(tmp_path / "runs"), report_failures=False)
    with DataFlowKernel(config) as kernel:
        yield kernel


def breaks(number: int) -> int:
    raise ValueError(f"no value for station {number}")


def passes(value: Any) -> Any:
    return value


def unseen(kernel: DataFlowKernel) -> int:
    return sum(group.unseen for group in (*kernel.failures.groups, *kernel.failures.abandoned))


def log_of(kernel: DataFlowKernel) -> str:
    return Path(kernel.run_dir, "trellis.log").read_text()


def failed(kernel: DataFlowKernel, count: int = 1) -> list[AppFuture[Any]]:
    futures = [kernel.submit(breaks, (number,)) for number in range(count)]
    wait(futures, TIMEOUT_S)
    return futures


# -- looking ---------------------------------------------------------------------------------------------------


def _ask_for_result(future: AppFuture[Any]) -> None:
    with pytest.raises(ValueError, match="no value"):
        future.result(TIMEOUT_S)


async def _await(future: AppFuture[Any]) -> None:
    with pytest.raises(ValueError, match="no value"):
        await future


@pytest.mark.parametrize(
    "look",
    [
        _ask_for_result,
        lambda future: future.exception(TIMEOUT_S),
        lambda future: asyncio.run(_await(future)),
        lambda future: future.add_done_callback(lambda done: done.exception()),
        lambda future: next(as_completed([future])).exception(),
    ],
)
def test_who_asks_for_a_result_has_looked_at_the_error(
    dfk: DataFlowKernel, look: Callable[[AppFuture[Any]], object]
) -> None:
    first, _ = failed(dfk, 2)
    assert unseen(dfk) == 2
    look(first)
    assert unseen(dfk) == 1
    look(first)
    assert unseen(dfk) == 1


def test_what_is_done_without_asking_for_an_error_is_no_look(dfk: DataFlowKernel, tmp_path: Path) -> None:
    future = failed(dfk)[0]
    assert (future.done(), future.cancelled(), future.task_status()) == (True, False, "failed")
    repr(future)
    wait([future])
    list(as_completed([future]))
    dfk.wait_for_current_tasks()
    fails = bash_app(lambda outputs=(): "exit 3", data_flow_kernel=dfk)
    wait(fails(outputs=[File(str(tmp_path / "x"))]).outputs, TIMEOUT_S)
    assert unseen(dfk) == 2


def test_who_looks_at_the_error_of_a_dependent_has_looked_at_its_cause(dfk: DataFlowKernel) -> None:
    future = failed(dfk)[0]
    for _ in range(2_000):
        future = dfk.submit(passes, (future,))
    wait([future], TIMEOUT_S)
    assert unseen(dfk) == 1  # what could not run is not counted
    assert isinstance(future.exception(), DependencyError)
    assert unseen(dfk) == 0


def test_who_looks_at_the_error_of_a_join_app_has_looked_at_its_cause(dfk: DataFlowKernel) -> None:
    future = join_app(lambda: [dfk.submit(passes, (1,)), dfk.submit(breaks, (2,))], data_flow_kernel=dfk)()
    wait([future], TIMEOUT_S)
    assert unseen(dfk) == 1
    assert future.exception() is not None
    assert unseen(dfk) == 0


def test_who_looks_at_the_error_of_a_file_has_looked_at_that_of_its_task(dfk: DataFlowKernel, tmp_path: Path) -> None:
    fails = bash_app(lambda outputs=(): "exit 3", data_flow_kernel=dfk)
    output = fails(outputs=[File(str(tmp_path / "x"))]).outputs[0]
    dependent = dfk.submit(passes, (output,))
    wait([dependent], TIMEOUT_S)
    assert unseen(dfk) == 1
    assert dependent.exception() is not None
    assert unseen(dfk) == 0


def test_a_dependent_of_a_future_that_is_no_task_is_a_failure_of_its_own(dfk: DataFlowKernel) -> None:
    from concurrent.futures import Future

    bad = Future[int]()
    bad.set_exception(ValueError("one"))
    future = dfk.submit(passes, (bad,))
    wait([future], TIMEOUT_S)
    assert unseen(dfk) == 1
    assert future.exception() is not None
    assert unseen(dfk) == 0


def test_abandoned_tasks_are_told_until_somebody_looks(dfk: DataFlowKernel) -> None:
    from concurrent.futures import Future

    never = Future[int]()
    futures = [python_app(passes, data_flow_kernel=dfk)(never) for _ in range(3)]
    dfk.cleanup()
    assert [(group.kind.app, group.kind.pattern, group.count) for group in dfk.failures.abandoned] == [
        ("passes", "pending", 3)
    ]
    what = "app passes: 3 tasks were abandoned, pending when the run ended"
    assert f"{what}; the first is task 0 (app passes)" in log_of(dfk)
    assert unseen(dfk) == 3
    assert futures[0].exception() is not None
    assert unseen(dfk) == 2


def test_a_cancelled_task_is_no_failure(dfk: DataFlowKernel) -> None:
    from concurrent.futures import Future

    assert dfk.submit(passes, (Future[int](),)).cancel()
    dfk.cleanup()
    assert unseen(dfk) == 0


# -- the log ---------------------------------------------------------------------------------------------------


def test_the_log_begins_with_what_a_reader_asks_first(dfk: DataFlowKernel) -> None:
    log = log_of(dfk)
    assert "[INFO] Trellis 0.1.0, Python 3." in log
    assert "[INFO] host " in log
    assert "[INFO] configuration: Config(run_dir=" in log
    assert "report_failures=False)" in log
    assert "[INFO] executor pool: ThreadPoolExecutor(label='pool', thread_name_prefix='trellis-pool')" in log


def test_the_log_tells_each_failure_and_sums_them_up_by_cause(dfk: DataFlowKernel) -> None:
    failed(dfk, 2)
    with_files = bash_app(lambda stdout=None, stderr=None: "exit 3", data_flow_kernel=dfk)
    wait([with_files(stderr=dfk.run_dir + "/why", stdout=(dfk.run_dir + "/out", "w"))], TIMEOUT_S)
    dfk.cleanup()
    log = log_of(dfk)
    assert "task 0 (app breaks) failed: ValueError: no value for station 0 (attempt 1, on host " in log
    assert "task 1 (app breaks) failed: ValueError: no value for station 1 (attempt 1, on host " in log
    assert log.count("in breaks\n") == 1  # the traceback of the first
    assert f"stdout: {dfk.run_dir}/out; stderr: {dfk.run_dir}/why)" in log
    assert "tasks: 3 failed" in log
    kind = dfk.failures.groups[0].kind
    what = "app breaks failed 2 times with ValueError: no value for station # in test_failure_log.py, breaks"
    assert f"{what} [{kind.fingerprint}]" in log


def test_the_log_has_the_place_where_a_task_has_ended_itself(dfk: DataFlowKernel) -> None:
    assert dfk.submit(sys.exit, (3,)).exception(TIMEOUT_S) is not None
    assert "sys.exit(3)" in log_of(dfk)
    assert 'threads.py", line ' in log_of(dfk)


def test_kinds_without_end_are_put_together(dfk: DataFlowKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis.dataflow.failure_log._MOST_KINDS", 2)

    def words(number: int) -> None:
        raise ValueError("abcdef"[number])

    wait([dfk.submit(words, (number,)) for number in range(6)], TIMEOUT_S)
    assert sorted(group.count for group in dfk.failures.groups) == [1, 1, 4]


# -- notes -----------------------------------------------------------------------------------------------------


def test_an_exception_says_which_task_raised_it_and_where_below_its_traceback(dfk: DataFlowKernel) -> None:
    error = failed(dfk)[0].exception()
    assert error is not None
    assert (type(error), error.args, str(error)) == (ValueError, ("no value for station 0",), "no value for station 0")
    note = traceback.format_exception(error)[-1]
    assert note.startswith("Trellis: task 0 (app breaks), attempt 1, on host ")
    assert note.endswith(", executor pool, trellis-pool-0\n")
    assert pickle.loads(pickle.dumps(error)).args == error.args


def test_a_missing_module_says_which_interpreter_lacks_it_also_in_the_log(dfk: DataFlowKernel) -> None:
    def imports() -> None:
        import onlyhere  # type: ignore[import-not-found]  # noqa: F401

    error = dfk.submit(imports, ()).exception(TIMEOUT_S)
    assert error is not None
    assert f", {sys.executable}, on host " in error.__notes__[0]
    assert error.__notes__[0] in log_of(dfk)


def test_what_was_not_launched_says_so(dfk: DataFlowKernel) -> None:
    error = dfk.submit(passes, (1,), executors="gpu").exception(TIMEOUT_S)
    assert error is not None
    assert error.__notes__ == ["Trellis: task 0 (app passes), it was not launched"]


def test_one_object_that_many_tasks_raise_does_not_grow_without_end(dfk: DataFlowKernel) -> None:
    shared = ValueError("one")

    def raises() -> None:
        raise shared

    wait([dfk.submit(raises, ()) for _ in range(10)], TIMEOUT_S)
    assert len(shared.__notes__) == 3


class Closed(Exception):
    __notes__ = ()  # type: ignore[assignment]

    def __setattr__(self, name: str, value: object) -> None:
        raise KeyboardInterrupt


def test_an_exception_that_takes_no_notes_comes_as_it_is(dfk: DataFlowKernel) -> None:
    def raises() -> None:
        raise Closed("x")

    assert isinstance(dfk.submit(raises, ()).exception(TIMEOUT_S), Closed)
