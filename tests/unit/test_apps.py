from __future__ import annotations

import functools
import pickle
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import trellis
from trellis import AppFuture, Config, HighThroughputExecutor, ThreadPoolExecutor
from trellis.apps import BashApp, JoinApp, PythonApp, bash_app, join_app, python_app
from trellis.concurrent import ParslPoolExecutor
from trellis.dataflow.memoization import BasicMemoizer
from trellis.dataflow.spec import AppSpec
from trellis.errors import ConfigurationError, NoDataFlowKernelError, ParameterTypeError
from trellis.executors.taskvine import TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig
from trellis.launchers import SingleNodeLauncher, SrunLauncher, WrappedLauncher
from trellis.monitoring.hub import MonitoringHub
from trellis.providers import LocalProvider
from trellis.remote.bash_runner import BashRunner


class RecordingKernel:
    """Notes what apps submit; the futures are completed by the tests."""

    def __init__(self) -> None:
        self.calls: list[tuple[AppSpec, Any, Any]] = []
        self.futures: list[Future[Any]] = []

    def submit_app(self, spec: AppSpec, args: Any, kwargs: Any) -> Future[Any]:
        self.calls.append((spec, args, kwargs))
        self.futures.append(Future())
        return self.futures[-1]


@python_app
def at_the_top(x: int, inputs: Any = ()) -> int:
    """Doubles."""
    return 2 * x


def test_decorators_work_with_and_without_parentheses() -> None:
    def f() -> str:
        return ""

    for decorator, kind in ((python_app, PythonApp), (bash_app, BashApp), (join_app, JoinApp)):
        assert type(decorator(f)) is kind
        assert type(decorator()(f)) is kind
        assert type(decorator(cache=True)(f)) is kind


def test_an_app_looks_like_its_function() -> None:
    assert at_the_top.__name__ == "at_the_top"
    assert at_the_top.__doc__ == "Doubles."
    assert at_the_top.func(3) == 6
    assert at_the_top.kwargs == {"inputs": ()}
    assert (at_the_top.executors, at_the_top.cache, at_the_top.ignore_for_cache) == ("all", False, None)


def test_a_call_goes_to_the_kernel_of_the_app() -> None:
    kernel = RecordingKernel()
    app: Any = python_app(
        lambda x: x,
        data_flow_kernel=kernel,  # type: ignore[call-overload]
        cache=True,
        executors=["a"],
        ignore_for_cache=["x"],
    )
    assert app(1, x=2) is kernel.futures[0]
    ((spec, args, kwargs),) = kernel.calls
    assert (args, kwargs) == ((1,), {"x": 2})
    assert (spec.executors, spec.cache, spec.ignore_for_cache, spec.join) == (["a"], True, ("x",), False)


def test_all_calls_hand_over_the_same_function_object() -> None:
    kernel: Any = RecordingKernel()
    app = BashApp(lambda: "true", kernel)
    app()
    app()
    first, second = (spec for spec, _, _ in kernel.calls)
    assert first.func is second.func
    assert isinstance(first.func, BashRunner)


def test_join_apps_run_on_the_internal_threads() -> None:
    kernel: Any = RecordingKernel()
    JoinApp(list, kernel, cache=True)()
    ((spec, _, _),) = kernel.calls
    assert (spec.executors, spec.join, spec.cache) == (("_parsl_internal",), True, True)


@pytest.mark.parametrize("kind", [PythonApp, BashApp])
def test_parameters_without_names_have_parsls_order(kind: Any) -> None:
    app = kind(len, None, True, ["a"], ["x"])
    assert (app.data_flow_kernel, app.cache, app.executors, app.ignore_for_cache) == (None, True, ["a"], ["x"])


def give_future(x: int) -> AppFuture[int]:
    return PythonApp(abs)(x)


def test_an_app_that_joins(tmp_path: Path) -> None:
    app: PythonApp[..., int] = PythonApp(give_future, executors=["_parsl_internal"], join=True)
    with trellis.load(trellis.Config(run_dir=str(tmp_path), initialize_logging=False)):
        assert app(-3).result() == 3
    assert pickle.loads(cloudpickle.dumps(app)).join
    assert isinstance(pickle.loads(cloudpickle.dumps(JoinApp(len))), JoinApp)
    assert (app.join, JoinApp(len).join, PythonApp(len).join) == (True, True, False)
    with pytest.raises(ParameterTypeError, match="PythonApp: join must be True or False"):
        PythonApp(len, join=1)  # type: ignore[arg-type]


def test_calling_without_a_kernel_says_what_to_do() -> None:
    with pytest.raises(NoDataFlowKernelError, match=r"trellis\.load\(\)"):
        at_the_top(1)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"func": 3}, "func must be a callable"),
        ({"executors": 3}, "executors must be a text that is not empty, or a list of labels"),
        ({"cache": "yes"}, "cache must be True or False"),
        ({"ignore_for_cache": "x"}, "ignore_for_cache must be a list of names or None"),
        ({"data_flow_kernel": 3}, "data_flow_kernel must be a DataFlowKernel"),
    ],
)
def test_wrong_parameters_are_named_at_once(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterTypeError, match=message):
        PythonApp(**{"func": len, **kwargs})


def test_an_app_of_a_module_is_pickled_by_name() -> None:
    assert pickle.loads(pickle.dumps(at_the_top)) is at_the_top


def test_any_other_app_is_pickled_without_its_kernel() -> None:
    kernel: Any = RecordingKernel()
    app = PythonApp(lambda x: x + 1, kernel, executors=["a"], cache=True)
    copy = pickle.loads(cloudpickle.dumps(app))
    assert copy.func(1) == 2
    assert (copy.data_flow_kernel, copy.executors, copy.cache) == (None, ["a"], True)


class TestMap:
    def test_it_calls_the_app_with_the_elements_in_order(self) -> None:
        kernel: Any = RecordingKernel()
        futures = list(PythonApp(pow, kernel).map([1, 2, 3], [4, 5]))
        assert [args for _, args, _ in kernel.calls] == [(1, 4), (2, 5)]
        assert futures == kernel.futures

    def test_it_submits_nothing_before_it_is_asked(self) -> None:
        kernel: Any = RecordingKernel()
        PythonApp(abs, kernel).map([1])
        assert kernel.calls == []

    def test_an_endless_iterable_is_read_only_as_far_as_tasks_may_be_outstanding(self) -> None:
        kernel: Any = RecordingKernel()
        futures = PythonApp(abs, kernel).map(iter(int, 1), max_outstanding=3)
        next(futures)
        assert len(kernel.calls) == 3
        next(futures)
        next(futures)
        assert len(kernel.calls) == 3  # none has ended
        kernel.futures[0].set_result(None)
        kernel.futures[1].set_result(None)
        next(futures)
        assert len(kernel.calls) == 5

    def test_what_has_ended_but_was_not_taken_counts_too(self) -> None:
        class Instant(RecordingKernel):
            def submit_app(self, spec: AppSpec, args: Any, kwargs: Any) -> Future[Any]:
                future = super().submit_app(spec, args, kwargs)
                future.set_result(None)
                return future

        kernel: Any = Instant()
        next(PythonApp(abs, kernel).map(iter(int, 1), max_outstanding=4))
        assert len(kernel.calls) == 4

    def test_its_parameters_are_checked_at_once(self) -> None:
        with pytest.raises(TypeError, match="at least one iterable"):
            at_the_top.map()
        with pytest.raises(ConfigurationError, match="at least 1"):
            at_the_top.map([], max_outstanding=0)


class Model:
    factor = 3

    @python_app
    def scaled(self, x: int) -> int:
        return self.factor * x

    @staticmethod
    @python_app
    def alone(x: int) -> int:
        return x

    @python_app
    def without_self(x: int) -> int:
        return x

    put_there = python_app(len)


class TestMethods:
    def calls_of(self, app: Any, *args: Any, **kwargs: Any) -> Any:
        kernel: Any = RecordingKernel()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(getattr(app, "__func__", app), "data_flow_kernel", kernel)
            app(*args, **kwargs)
        ((_, given, named),) = kernel.calls
        return given, named

    def test_the_object_is_the_first_argument(self) -> None:
        model = Model()
        assert self.calls_of(model.scaled, 2, y=1) == ((model, 2), {"y": 1})
        assert self.calls_of(Model.scaled, model, 2) == ((model, 2), {})

    def test_so_it_is_with_map(self) -> None:
        model, kernel = Model(), RecordingKernel()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Model.scaled, "data_flow_kernel", kernel)
            list(model.scaled.map([1, 2]))
        assert [given for _, given, _ in kernel.calls] == [(model, 1), (model, 2)]

    def test_other_apps_of_a_class_are_called_as_they_are(self) -> None:
        model = Model()
        for app in (model.alone, model.without_self, model.put_there):
            assert self.calls_of(app, 2) == ((2,), {})


@pytest.mark.parametrize("make", [python_app, bash_app, join_app, PythonApp])
def test_async_functions_are_refused(make: Any) -> None:
    async def app(x: int) -> int:
        return x

    async def generator() -> Any:
        yield 1

    class Callable:
        async def __call__(self) -> int:
            return 1

    for function in (app, generator, Callable(), functools.partial(app, 1)):
        with pytest.raises(ParameterTypeError, match="an async function cannot be an app"):
            make(function)


@pytest.mark.parametrize(
    ("make", "arguments", "words"),
    [
        (python_app, {"walltime": 3}, "python_app has no parameter walltime any more: give it to each call"),
        (HighThroughputExecutor, {"max_workers": 4}, "it is max_workers_per_node"),
        (HighThroughputExecutor, {"enable_mpi_mode": True}, "use MPIExecutor"),
        (ThreadPoolExecutor, {"max_workers": 4}, "it is max_threads"),
        (TaskVineExecutor, {"project_name": "x"}, "it is a field of manager_config=TaskVineManagerConfig"),
        (Config, {"checkpoint_dirs": []}, "it is checkpoint_files"),
        (Config, {"retry": 1}, "Config has no parameter retry: did you mean retries.$"),
        (Config, {"xyzzy": 1}, "Config has no parameter xyzzy; there are executors, app_cache, "),
        (LocalProvider, {"tasks_per_node": 2}, "max_workers_per_node"),
        (TaskVineManagerConfig, {"prt": 1}, "TaskVineManagerConfig has no parameter prt: did you mean port.$"),
        (
            TaskVineFactoryConfig,
            {"min_worker": 1},
            "no parameter min_worker: did you mean min_workers.$",
        ),
        (MonitoringHub, {"hub_adress": "x"}, "MonitoringHub has no parameter hub_adress: did you mean hub_address.$"),
        (ParslPoolExecutor, {"confg": 1}, "ParslPoolExecutor has no parameter confg: did you mean config.$"),
        (BasicMemoizer, {"memoise": True}, "BasicMemoizer has no parameter memoise: did you mean memoize.$"),
        (SrunLauncher, {"override": ""}, "SrunLauncher has no parameter override: did you mean overrides.$"),
        (
            SingleNodeLauncher,
            {"on_any": True},
            "no parameter on_any: did you mean fail_on_any.$",
        ),
        (
            WrappedLauncher,
            {"prepend": "x", "postpend": ""},
            "no parameter postpend: did you mean prepend",
        ),
    ],
)
def test_former_names_of_parameters_are_told_today_s(make: Any, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterTypeError, match=words):
        make(**arguments)
