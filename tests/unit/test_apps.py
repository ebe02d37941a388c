from __future__ import annotations

import pickle
from concurrent.futures import Future
from typing import Any

import cloudpickle
import pytest

from trellis.app.bash_runner import BashRunner
from trellis.apps import BashApp, JoinApp, PythonApp, bash_app, join_app, python_app
from trellis.dataflow.spec import AppSpec
from trellis.errors import ConfigurationError, NoDataFlowKernelError, ParameterTypeError


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
