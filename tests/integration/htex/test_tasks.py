"""Tasks on real workers: values, exceptions, and what cannot travel."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import psutil
import pytest

from tests.integration.htex.conftest import StartExecutor
from trellis.core.interfaces import Attempt
from trellis.errors import (
    AppTimeout,
    DeserializationError,
    ExecutorError,
    InvalidResourceSpecification,
    RemoteTraceback,
    SerializationError,
    TaskExited,
)


def double(x: int) -> int:
    return 2 * x


class NeedsTwoArguments(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


class BreaksOnLoading:
    def __reduce__(self) -> tuple[object, ...]:
        return (_break, ())


def _break() -> None:
    raise ValueError("cannot be made again")


def test_values_come_back_in_any_number(start_htex: StartExecutor) -> None:
    executor = start_htex()
    futures = [executor.submit(double, {}, n) for n in range(2_000)]
    assert [future.result(60) for future in futures] == [2 * n for n in range(2_000)]


def test_without_encryption_too(start_htex: StartExecutor) -> None:
    executor = start_htex(encrypted=False)
    assert executor.submit(double, {}, 21).result(30) == 42
    assert not os.path.exists(os.path.join(executor.logdir, "certificates"))


def test_lambdas_and_keyword_arguments(start_htex: StartExecutor) -> None:
    offset = 5
    assert start_htex().submit(lambda x, y=0: x - y + offset, {}, 10, y=3).result(30) == 12


def test_an_exception_comes_back_as_itself_with_the_remote_traceback(start_htex: StartExecutor) -> None:
    def fail_here() -> None:
        raise KeyError("nothing of that name")

    exception = start_htex().submit(fail_here, {}).exception(30)
    assert isinstance(exception, KeyError)
    assert exception.args == ("nothing of that name",)
    assert isinstance(exception.__cause__, RemoteTraceback)
    assert "fail_here" in str(exception.__cause__)
    assert "worker.py" not in str(exception.__cause__)


def test_sys_exit_ends_the_task_and_not_the_worker(start_htex: StartExecutor) -> None:
    executor = start_htex(max_workers_per_node=1)
    pid = executor.submit(os.getpid, {}).result(30)
    error = executor.submit(sys.exit, {}, 3).exception(30)
    assert isinstance(error, TaskExited)
    assert isinstance(error.__cause__, SystemExit)
    assert executor.submit(os.getpid, {}).result(30) == pid


def test_what_cannot_travel_fails_alone(start_htex: StartExecutor) -> None:
    executor = start_htex()
    bad_argument = executor.submit(double, {}, threading.Lock())  # type: ignore[arg-type]
    bad_result = executor.submit(threading.Lock, {})
    bad_arrival = executor.submit(BreaksOnLoading, {})
    bad_loading = executor.submit(double, {}, BreaksOnLoading())
    good = executor.submit(double, {}, 1)
    assert isinstance(bad_argument.exception(30), SerializationError)
    assert "argument 0 of double (a lock)" in str(bad_argument.exception())
    assert isinstance(bad_result.exception(30), SerializationError)
    assert isinstance(bad_arrival.exception(30), DeserializationError)
    assert isinstance(bad_loading.exception(30), DeserializationError)
    assert good.result(30) == 2


def test_an_exception_with_a_constructor_of_its_own_arrives(start_htex: StartExecutor) -> None:
    def fail() -> None:
        raise NeedsTwoArguments(1, 2)

    exception = start_htex().submit(fail, {}).exception(30)
    assert isinstance(exception, NeedsTwoArguments)
    assert str(exception) == "1 2"


def test_large_arrays_go_and_come(start_htex: StartExecutor) -> None:
    def scale_in_place(array: np.ndarray) -> np.ndarray:
        array *= 2  # arguments may be written to
        return array

    array = np.arange(3_000_000, dtype=np.float64)
    result = start_htex().submit(scale_in_place, {}, array).result(60)
    assert np.array_equal(result, 2 * array)


def test_large_bytes_go_and_come(start_htex: StartExecutor) -> None:
    executor = start_htex()
    data = os.urandom(5_000_000)
    futures = [executor.submit(bytes, {}, data) for _ in range(4)]
    assert all(future.result(60) == data for future in futures)


def test_lower_priority_numbers_run_sooner(start_htex: StartExecutor, tmp_path: object) -> None:
    executor = start_htex(max_workers_per_node=1)
    log = f"{tmp_path}/order"

    def note(name: str) -> None:
        with open(log, "a") as file:
            file.write(name)

    blocker = executor.submit(time.sleep, {}, 0.5)
    futures = [executor.submit(note, {"priority": p}, n) for n, p in (("c", 7), ("b", 0.5), ("a", -1))]
    futures.append(executor.submit(note, {}, "0"))  # without one: 0
    for future in (blocker, *futures):
        future.result(30)
    with open(log) as file:
        assert file.read() == "a0bc"


def test_resource_specifications_are_checked(start_htex: StartExecutor) -> None:
    executor = start_htex()
    with pytest.raises(InvalidResourceSpecification, match="'core'"):
        executor.submit(double, {"core": 2}, 1)
    with pytest.raises(InvalidResourceSpecification, match="number"):
        executor.submit(double, {"priority": "high"}, 1)


def test_cancel_in_the_queue_and_while_running(start_htex: StartExecutor, tmp_path: object) -> None:
    executor = start_htex(max_workers_per_node=1)
    started = f"{tmp_path}/started"

    def touch_and_sleep(path: str) -> None:
        open(path, "w").close()
        time.sleep(60)

    running = executor.submit(touch_and_sleep, {}, started)
    queued = executor.submit(touch_and_sleep, {}, f"{tmp_path}/never")
    while not os.path.exists(started):
        time.sleep(0.01)
    assert queued.cancel()
    assert running.cancel()
    assert running.cancelled()
    with pytest.raises(CancelledError):
        running.result(0)
    # The one worker is free again long before the tasks would have ended.
    assert executor.submit(double, {}, 4).result(30) == 8
    assert not os.path.exists(f"{tmp_path}/never")


def test_a_walltime_is_enforced_even_against_c_code(start_htex: StartExecutor) -> None:
    executor = start_htex(max_workers_per_node=1)

    def never_returns_to_the_interpreter() -> int:
        return sum(range(10**13))

    class Sink:
        def __init__(self) -> None:
            self.done = threading.Event()

        def deliver(self, outcomes: object) -> None:
            self.outcomes = list(outcomes)  # type: ignore[call-overload]
            self.done.set()

        def begun(self, attempts: object) -> None:
            """Not looked at."""

    sink = Sink()
    attempt = Attempt(never_returns_to_the_interpreter, (), {}, sink=sink, walltime_s=0.3)
    executor.launch(attempt)
    assert sink.done.wait(30)
    ((told, outcome),) = sink.outcomes
    assert told is attempt
    assert isinstance(outcome.exception, AppTimeout)
    assert "0.3 s" in str(outcome.exception)
    assert executor.submit(double, {}, 4).result(30) == 8


def test_workers_know_who_they_are(start_htex: StartExecutor) -> None:
    def identity() -> dict[str, str]:
        names = ("PARSL_WORKER_RANK", "PARSL_WORKER_COUNT", "PARSL_WORKER_POOL_ID", "PARSL_WORKER_BLOCK_ID")
        return {name: os.environ[name] for name in names}

    executor = start_htex(max_workers_per_node=1)
    (manager,) = [executor.submit(identity, {}).result(30)]
    assert manager == {
        "PARSL_WORKER_RANK": "0",
        "PARSL_WORKER_COUNT": "1",
        "PARSL_WORKER_POOL_ID": executor.connected_managers()[0]["manager"],
        "PARSL_WORKER_BLOCK_ID": "0",
    }


def test_processes_are_named_for_their_role(start_htex: StartExecutor) -> None:
    executor = start_htex(max_workers_per_node=1)
    pid = executor.submit(os.getpid, {}).result(30)
    worker = psutil.Process(pid)
    assert worker.cmdline()[0].startswith("trellis: worker")
    assert worker.parent().cmdline()[0].startswith("trellis: manager")  # type: ignore[union-attr]
    children = psutil.Process().children()
    assert any(child.cmdline()[0].startswith("trellis: interchange") for child in children)


def test_a_function_is_pickled_once_and_a_changed_global_is_seen(start_htex: StartExecutor) -> None:
    executor = start_htex()
    namespace: dict[str, object] = {"__name__": "__main__", "N": 1}
    exec("def f(): return N", namespace)
    f = namespace["f"]
    assert executor.submit(f, {}).result(30) == 1  # type: ignore[arg-type]
    namespace["N"] = 2
    assert executor.submit(f, {}).result(30) == 2  # type: ignore[arg-type]


def test_modules_beside_the_users_script_can_be_imported(
    start_htex: StartExecutor, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(f"{tmp_path}/my_helpers.py", "w") as file:
        file.write("def triple(x): return 3 * x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_helpers  # type: ignore[import-not-found]

    assert pickle.dumps(my_helpers.triple).find(b"my_helpers") > 0
    assert start_htex().submit(my_helpers.triple, {}, 5).result(30) == 15


def test_it_can_be_started_again_after_its_end(start_htex: StartExecutor) -> None:
    executor = start_htex()
    assert executor.submit(double, {}, 1).result(30) == 2
    executor.shutdown()
    executor.shutdown()
    refused = executor.submit(double, {}, 1).exception(5)
    assert isinstance(refused, ExecutorError)
    assert "not running" in str(refused)
    executor.start()
    assert executor.submit(double, {}, 3).result(30) == 6


def test_shutdown_fails_what_is_outstanding(start_htex: StartExecutor) -> None:
    executor = start_htex(max_workers_per_node=1)
    futures = [executor.submit(time.sleep, {}, 60) for _ in range(3)]
    executor.shutdown()
    for future in futures:
        assert "shut down before" in str(future.exception(5))


def test_introspection(start_htex: StartExecutor) -> None:
    executor = start_htex(max_workers_per_node=2)
    executor.submit(double, {}, 1).result(30)
    assert executor.connected_workers == 2
    assert executor.connected_blocks() == ["0"]
    assert executor.outstanding == 0
    assert executor.workers_per_node == 2
    (manager,) = executor.connected_managers()
    assert (manager["block_id"], manager["worker_count"], manager["tasks"], manager["active"]) == ("0", 2, 0, True)
    executor.hold_worker(manager["manager"])
    assert not executor.connected_managers()[0]["active"]
    waiting = executor.submit(double, {}, 1)
    with pytest.raises(TimeoutError):
        waiting.result(0.2)
    assert executor.outstanding == 1
