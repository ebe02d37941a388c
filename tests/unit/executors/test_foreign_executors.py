"""What users have written on Parsl's base classes, and on ours, is called."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

import trellis
from trellis import Config
from trellis.core.interfaces import Attempt, ExecutorContext
from trellis.core.reports import Begun, ExecutorReport
from trellis.dataflow.kernel import DataFlowKernel
from trellis.executors.adapter import ForeignExecutor, adapt, bypassed, start
from trellis.executors.base import ParslExecutor, TrellisExecutor, inner_attempt
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.executors.taskvine.executor import TaskVineExecutor
from trellis.executors.threads import ThreadPoolExecutor

Load = Callable[[Any], DataFlowKernel]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    kernels: list[DataFlowKernel] = []

    def load(executor: Any) -> DataFlowKernel:
        kernels.append(DataFlowKernel(Config(executors=[executor], run_dir=str(tmp_path))))
        return kernels[-1]

    yield load
    for kernel in kernels:
        kernel.cleanup()


class Here(ParslExecutor):
    label = "here"

    def start(self) -> None:
        self.started_in = self.run_dir

    def submit(self, func: Any, resource_specification: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result((resource_specification, func(*args, **kwargs)))
        return future

    def shutdown(self) -> None:
        self.ended = True


def test_three_methods_on_parsls_base_class_make_an_executor(load: Load) -> None:
    here = Here()
    kernel = load(here)
    assert kernel.submit(abs, (-1,)).result(10) == ({}, 1)
    assert here.started_in == kernel.run_dir
    assert kernel.executors["here"] is here
    kernel.cleanup()
    assert here.ended


def test_parsls_base_class_needs_three_methods() -> None:
    with pytest.raises(TypeError, match="shutdown"):
        type("Less", (ParslExecutor,), {"start": print, "submit": print})()


@pytest.mark.parametrize("executor", [ThreadPoolExecutor, HighThroughputExecutor, TaskVineExecutor])
def test_our_executors_are_parsls(executor: type) -> None:
    assert issubclass(executor, ParslExecutor)
    assert issubclass(executor, TrellisExecutor)


class Asked(ThreadPoolExecutor):
    def submit(self, func: Any, resource_specification: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        if func is len:
            raise PermissionError("refused by policy")
        return super().submit(func, resource_specification, *args, **kwargs)


def test_who_overrides_submit_is_asked_for_each_task(load: Load) -> None:
    asked = Asked(label="asked")
    kernel = load(asked)
    assert kernel.submit(abs, (-1,)).result(10) == 1
    assert isinstance(kernel.submit(len, ("",)).exception(10), PermissionError)
    assert kernel.executors["asked"] is asked


def test_a_submit_that_was_put_on_the_object_is_asked() -> None:
    pool = ThreadPoolExecutor()
    pool.submit = lambda *args, **kwargs: Future()  # type: ignore[method-assign]
    assert isinstance(adapt(pool), ForeignExecutor)


def test_who_overrides_launch_too_knows_our_seam() -> None:
    class Launches(Asked):
        def launch(self, attempt: Any) -> None:
            super().launch(attempt)

    it = Launches()
    assert adapt(it) is it


def test_a_walltime_holds_for_who_overrides_submit(load: Load) -> None:
    load(Asked(label="asked"))

    def forever() -> None:
        while True:
            pass

    app = trellis.python_app(forever, data_flow_kernel=load(Asked(label="asked")))
    assert isinstance(app(walltime=0.1).exception(20), trellis.app.errors.AppTimeout)


class Plain(ThreadPoolExecutor):
    started: ExecutorContext | None = None

    def start(self) -> None:  # type: ignore[override]
        self.started = self.context
        super().start()


def test_a_start_without_arguments_is_called_and_ours_knows_what_it_would_have_been_told() -> None:
    plain, context = Plain(), ExecutorContext(run_dir="/r", run_id="id", log_config="a way of logging")
    start(plain, context)
    assert (plain.started, plain.run_dir, plain.run_id, plain.context) == (context, "/r", "id", None)
    assert plain.log_config == "a way of logging"
    plain.shutdown()


def test_htex_goes_by_the_context_that_it_was_not_given(tmp_path: Path) -> None:
    class Mine(HighThroughputExecutor):
        def start(self) -> None:  # type: ignore[override]
            super().start()

    told: list[str] = []
    mine = Mine(max_workers_per_node=1)
    start(mine, ExecutorContext(run_dir=str(tmp_path), notify=told.append))
    try:
        assert mine._notify == told.append
        assert mine.submit(abs, {}, -1).result(60) == 1
    finally:
        mine.shutdown()


@pytest.mark.parametrize("base", [HighThroughputExecutor, TaskVineExecutor])
def test_the_launch_command_can_be_changed(base: Any) -> None:
    class Marked(base):  # type: ignore[misc]
        def _get_launch_command(self, block_id: str) -> str:
            return f"mark {block_id}"

    assert Marked().launch_command("7") == "mark 7"


def test_overrides_that_nothing_calls_are_told_of() -> None:
    class Inside(HighThroughputExecutor):
        def _make_status_dict(self, *args: Any) -> dict[str, Any]:
            return {}

        def _result_queue_worker(self) -> None:
            pass

        def scale_in(self, *args: Any, **kwargs: Any) -> list[str]:
            return []

    assert "executor HighThroughputExecutor: Inside overrides _make_status_dict, _result_queue_worker, which" in (
        bypassed(Inside())
    )
    assert bypassed(Asked()) == bypassed(HighThroughputExecutor()) == bypassed(Here()) == ""


def test_they_are_told_of_when_the_configuration_is_loaded(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    class Inside(ThreadPoolExecutor):
        def _result_queue_worker(self) -> None:
            pass

    load(Inside(label="inside"))
    assert "executor inside: Inside overrides _result_queue_worker" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["hub_address", "hub_zmq_port"])
def test_where_a_hub_listens_is_kept_and_has_no_effect(name: str) -> None:
    here = Here()
    assert getattr(here, name) is None
    with pytest.warns(UserWarning, match=f"executor here: {name} has no effect: nothing listens"):
        setattr(here, name, "x")
    setattr(here, name, "x")  # once
    setattr(here, name, None)
    assert getattr(here, name) is None


def test_parsls_base_class_takes_its_parameters(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="hub_zmq_port"):
        here = Here(hub_zmq_port=7, run_dir=str(tmp_path / ".." / "x"), run_id="id")
    assert (here.hub_zmq_port, here.run_dir, here.run_id) == (7, str(tmp_path.parent / "x"), "id")
    assert (here.radio_mode, here.get_usage_information()) == ("udp", {})


class Launching(Here):
    label = "launching"

    def launch(self) -> None:
        """A method of its own, which happens to have the name of one of ours."""


def test_a_method_of_an_executor_on_parsls_base_class_is_not_taken_for_ours(load: Load) -> None:
    assert load(Launching()).submit(abs, (-1,)).result(10) == ({}, 1)


def test_a_submit_that_gives_no_future_fails_the_task_with_the_executors_name(load: Load) -> None:
    class Forgetful(Here):
        label = "forgetful"

        def submit(self, *args: Any, **kwargs: Any) -> Any:
            return None

    error = load(Forgetful()).submit(abs, (-1,)).exception(10)
    assert "forgetful: its submit gave None, which is no future" in str(error)


# -- what they tell when people ask --------------------------------------------------------------------------------


class Slow(Here):
    """Its futures end when the test says."""

    label = "slow"
    connected_workers = 3

    def __init__(self) -> None:
        super().__init__()
        self.futures: list[Future[Any]] = []

    def submit(self, func: Any, resource_specification: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        self.futures.append(Future())
        return self.futures[-1]

    @property
    def outstanding(self) -> int:
        return len(self.futures)


class NoSink:
    def __init__(self) -> None:
        self.runs: list[Any] = []

    def deliver(self, outcomes: object) -> None: ...

    def begun(self, attempts: Any) -> None:
        self.runs += attempts


def test_an_executor_of_parsls_kind_tells_what_it_and_its_futures_say() -> None:
    slow = Slow()
    adapted = adapt(slow)
    attempt = Attempt(abs, (-1,), {}, sink=NoSink())
    assert adapted.standing(attempt).text == "executor slow (Slow) is being asked to take it"
    adapted.launch(attempt)
    assert adapted.report() == ExecutorReport(
        "slow", "Slow", 3, notes=["1 task is outstanding; which of them run is not told"]
    )
    assert adapted.standing(attempt).stage == "unknown"
    slow.futures[0].set_running_or_notify_cancel()
    assert adapted.standing(attempt).stage == "running"
    slow.futures[0].set_result(1)
    assert adapted.standing(attempt).text == "executor slow (Slow) has just ended it"


def test_attributes_that_fail_are_passed_over() -> None:
    class Broken(Here):
        @property
        def outstanding(self) -> int:
            raise RuntimeError("not started")

        def connected_workers(self) -> int:
            raise RuntimeError("not started")

    report = adapt(Broken()).report()
    assert (report.workers, report.notes, report.error) == (0, [], "")


def test_a_subclass_of_ours_that_is_asked_for_each_task_tells_what_ours_knows() -> None:
    asked, go_on, sink = Asked(label="asked", max_threads=1), threading.Event(), NoSink()
    adapted = adapt(asked)
    adapted.start()
    try:
        attempts = [Attempt(go_on.wait, (30,), {}, sink=sink) for _ in range(2)]
        for attempt in attempts:
            adapted.launch(attempt)
        waits = adapted.standing(attempts[1])
        assert (waits.stage, waits.position) == ("queued", 0)
        assert (adapted.report().label, adapted.report().queued) == ("asked", 1)
        inner = inner_attempt(attempts[0].executor_id)
        assert inner is not None
        begun = Begun("here", "", "thread", 0, 5.0)
        inner.sink.begun([(inner, begun)])
        assert sink.runs == [(attempts[0], begun)]
    finally:
        go_on.set()
        asked.shutdown()
