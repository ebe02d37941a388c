"""The decorators ``python_app``, ``bash_app`` and ``join_app``. What runs a call is the kernel; nothing runs here.

An app is worked out once, when it is made. Type checkers see a call of ``def f(x: int) -> int`` as ``AppFuture[int]``,
with the function's own parameters, and also accept futures and the special keyword arguments in their places.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from trellis.core.interfaces import INTERNAL_EXECUTOR
from trellis.core.kinds import Flag, OrNone
from trellis.core.light_future import this_thread_waits
from trellis.core.parameters import EXECUTORS, ITERABLES, KERNEL, NAMES, PlainFunction
from trellis.core.validation import check, knows_former_names
from trellis.core.values import MOST_COUNTED, Number
from trellis.dataflow.spec import AppSpec, special_keywords
from trellis.errors import NoDataFlowKernelError, ParameterTypeError
from trellis.remote.bash_runner import BashRunner

if TYPE_CHECKING:
    from trellis.core.interfaces import Kernel
    from trellis.futures import AppFuture
    from trellis.watching.progress import MapBar

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

__all__ = ["AppBase", "BashApp", "JoinApp", "PythonApp", "bash_app", "join_app", "python_app"]


# Of Parsl's releases before this one.
_FORMER_NAMES = {
    "walltime": "give it to each call, or as a default of the function's parameter walltime",
    "sites": "it is executors",
    "app_type": "use python_app, bash_app or join_app",
}


class AppBase(Generic[P, R]):
    """An app: a function whose calls are tasks and give futures.

    Args:
        func: the user's function.
        data_flow_kernel: where the tasks run; None means the kernel that is loaded when the app is called.
        executors: labels to choose from, one label, or ``"all"``.
        cache: look for an earlier call with the same arguments and take its result.
        ignore_for_cache: names of keyword arguments that make no difference to the result.

    Raises:
        ParameterTypeError: a parameter has the wrong type.
    """

    _is_method = False

    @knows_former_names(**_FORMER_NAMES)
    def __init__(
        self,
        func: Callable[..., Any],
        data_flow_kernel: Kernel | None = None,
        executors: str | Sequence[str] = "all",
        cache: bool = False,
        ignore_for_cache: Sequence[str] | None = None,
    ) -> None:
        owner = type(self).__name__
        self.func = check(owner, "func", func, PlainFunction())
        self.data_flow_kernel: Kernel | None = check(owner, "data_flow_kernel", data_flow_kernel, OrNone(KERNEL))
        self.executors: str | Sequence[str] = check(owner, "executors", executors, EXECUTORS)
        self.cache: bool = check(owner, "cache", cache, Flag())
        self.ignore_for_cache: Sequence[str] | None = check(owner, "ignore_for_cache", ignore_for_cache, NAMES)
        self._spec = self._make_spec()
        self.kwargs = self._spec.defaults
        functools.update_wrapper(self, func)

    def _make_spec(self) -> AppSpec:
        return AppSpec(
            self.func,
            executors=self.executors,
            cache=self.cache,
            ignore_for_cache=self.ignore_for_cache or (),
        )

    def __set_name__(self, owner: type, name: str) -> None:
        # A function of this class's body with `self`, and none that was put there: those are called as they are.
        defined_here = getattr(self.func, "__qualname__", "") == f"{owner.__qualname__}.{name}"
        self._is_method = defined_here and self._spec.positional[:1] == ["self"]

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """An app that is a method: called on an object, it has that as its first argument."""
        return self if instance is None or not self._is_method else _BoundApp(self, instance)

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> AppFuture[R]: ...
    # Any argument may be a future, and the special keyword arguments need not be declared.
    @overload
    def __call__(self, /, *args: Any, **kwargs: Any) -> AppFuture[R]: ...
    def __call__(self, /, *args: Any, **kwargs: Any) -> AppFuture[R]:
        """Make a task of this call, and give its future.

        Raises:
            NoDataFlowKernelError: no configuration is loaded.
            DataFlowException: the kernel was cleaned up.
        """
        try:
            kernel: Kernel = self.data_flow_kernel or _loader().dfk()
        except NoDataFlowKernelError as error:
            raise NoDataFlowKernelError(f"app {self.__name__} cannot be called: {error}") from None
        future: AppFuture[R] = kernel.submit_app(self._spec, args, kwargs)
        return future

    def map(
        self, *iterables: Iterable[Any], max_outstanding: int = 10_000, progress: bool = False
    ) -> Iterator[AppFuture[R]]:
        """Call the app with the elements of iterables, as ``map`` does, and yield the futures in this order.

        Tasks are submitted ahead of what has been taken from the iterator, but never so many that more than
        ``max_outstanding`` are unfinished, or finished but not taken: a million elements, or an endless supply of them,
        need memory for a few thousand only. Nothing is submitted before the first ``next()``. With ``progress`` a bar
        shows, on a terminal or in a notebook, how many of them are done.

        ::

            for future in app.map(range(1_000_000)): use(future.result())
            for future in trellis.as_completed(app.map(paths)): ...
        """
        owner = f"{self.__name__}.map"
        most = Number(least=1, most=MOST_COUNTED, whole=True)
        max_outstanding = check(owner, "max_outstanding", max_outstanding, most)
        if not iterables:
            raise ParameterTypeError(f"{owner}: iterables must be at least one iterable, not none")
        check(owner, "iterables", iterables, ITERABLES)
        check(owner, "progress", progress, Flag())
        return self._map_with_bar(iterables, max_outstanding) if progress else self._map(iterables, max_outstanding)

    def _map_with_bar(self, iterables: Sequence[Iterable[Any]], max_outstanding: int) -> Iterator[AppFuture[R]]:
        from trellis.watching.progress import map_bar  # not before it is needed: workers load this module too

        bar = map_bar(self.__name__, iterables)
        try:
            yield from self._map(iterables, max_outstanding, bar)
        finally:
            bar.no_more()

    def _map(
        self, iterables: Sequence[Iterable[Any]], max_outstanding: int, bar: MapBar | None = None
    ) -> Iterator[AppFuture[R]]:
        free = threading.Semaphore(max_outstanding)
        ahead: deque[AppFuture[R]] = deque()
        for arguments in zip(*iterables, strict=False):
            # What can be submitted without waiting goes ahead; otherwise the oldest is handed out, and only when
            # there is none, this waits for a task to end.
            if not ahead:
                this_thread_waits()
            while len(ahead) >= max_outstanding or not free.acquire(blocking=not ahead):
                yield ahead.popleft()
            future = self(*arguments)
            future.add_done_callback(lambda _: free.release())
            if bar is not None:
                bar.submitted()
                future.add_done_callback(bar.ended)
            ahead.append(future)
        yield from ahead

    def __reduce__(self) -> tuple[Any, ...]:
        # An app that its module knows by name is found there again; so it is with functions. The kernel stays here.
        module, name = getattr(self, "__module__", None), getattr(self, "__qualname__", "")
        if module and module != "__main__" and _find(module, name) is self:
            return (_find, (module, name))
        return (functools.partial(type(self), **self._parameters()), (self.func,))

    def _parameters(self) -> dict[str, Any]:
        """What the constructor was given, but for function and kernel."""
        return {"executors": self.executors, "cache": self.cache, "ignore_for_cache": self.ignore_for_cache}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.__name__}>"

    if TYPE_CHECKING:
        __name__: str
        __qualname__: str


class _BoundApp:
    """An app that was defined as a method, of one object."""

    def __init__(self, app: AppBase[Any, Any], instance: Any) -> None:
        self.__func__ = app
        self.__self__ = instance
        functools.update_wrapper(self, app.func)

    def __call__(self, *args: Any, **kwargs: Any) -> AppFuture[Any]:
        return self.__func__(self.__self__, *args, **kwargs)

    def map(
        self, *iterables: Iterable[Any], max_outstanding: int = 10_000, progress: bool = False
    ) -> Iterator[AppFuture[Any]]:
        """See ``AppBase.map``."""
        owner = itertools.repeat(self.__self__)
        return self.__func__.map(owner, *iterables, max_outstanding=max_outstanding, progress=progress)

    def __repr__(self) -> str:
        return f"<{self.__func__!r} of {self.__self__!r}>"


class PythonApp(AppBase[P, R]):
    """An app that runs its function on an executor; see ``AppBase`` for the parameters, which have another order here.

    Args:
        join: the function gives a future or a list of futures, whose results count; see ``join_app``.
    """

    @knows_former_names(**_FORMER_NAMES)
    def __init__(
        self,
        func: Callable[..., Any],
        data_flow_kernel: Kernel | None = None,
        cache: bool = False,
        executors: str | Sequence[str] = "all",
        ignore_for_cache: Sequence[str] | None = None,
        join: bool = False,
    ) -> None:
        self.join: bool = check(type(self).__name__, "join", join, Flag())
        super().__init__(func, data_flow_kernel, executors, cache, ignore_for_cache)

    def _make_spec(self) -> AppSpec:
        return AppSpec(
            self.func,
            executors=self.executors,
            cache=self.cache,
            ignore_for_cache=self.ignore_for_cache or (),
            join=self.join,
        )

    def _parameters(self) -> dict[str, Any]:
        return {**super()._parameters(), "join": self.join}


class BashApp(AppBase[P, int]):
    """An app that runs, on an executor, the command line that its function gives; see ``AppBase``."""

    @knows_former_names(**_FORMER_NAMES)
    def __init__(
        self,
        func: Callable[..., Any],
        data_flow_kernel: Kernel | None = None,
        cache: bool = False,
        executors: str | Sequence[str] = "all",
        ignore_for_cache: Sequence[str] | None = None,
    ) -> None:
        super().__init__(func, data_flow_kernel, executors, cache, ignore_for_cache)

    def _make_spec(self) -> AppSpec:
        _, undeclared, _ = special_keywords(self.func)
        return AppSpec(
            BashRunner(self.func, undeclared),
            function=self.func,
            executors=self.executors,
            cache=self.cache,
            ignore_for_cache=self.ignore_for_cache or (),
            is_bash=True,
        )


class JoinApp(PythonApp[P, R]):
    """An app whose function runs in this process and gives futures; the app's result is theirs. See ``AppBase``."""

    def __init__(
        self,
        func: Callable[..., Any],
        data_flow_kernel: Kernel | None = None,
        executors: str | Sequence[str] = (INTERNAL_EXECUTOR,),
        cache: bool = False,
        ignore_for_cache: Sequence[str] | None = None,
    ) -> None:
        super().__init__(func, data_flow_kernel, cache, executors, ignore_for_cache, join=True)

    def _parameters(self) -> dict[str, Any]:
        return {name: value for name, value in super()._parameters().items() if name != "join"}


def _find(module: str, qualified_name: str) -> Any:
    """What ``module`` knows by a dotted name, None if nothing."""
    found: Any = import_module(module)
    for part in qualified_name.split("."):
        found = getattr(found, part, None)
    return found


@functools.cache
def _loader() -> Any:
    from trellis.dataflow.dflow import DataFlowKernelLoader  # not before it is needed: workers load this module too

    return DataFlowKernelLoader


class _JoinDecorator(Protocol):
    @overload
    def __call__(self, function: Callable[P, Future[T]], /) -> JoinApp[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, Sequence[Future[T]]], /) -> JoinApp[P, list[T]]: ...
    @overload
    def __call__(self, function: Callable[P, Any], /) -> JoinApp[P, Any]: ...


class _PythonDecorator(Protocol):
    def __call__(self, function: Callable[P, R], /) -> PythonApp[P, R]: ...


class _BashDecorator(Protocol):
    def __call__(self, function: Callable[P, str], /) -> BashApp[P]: ...


@overload
def python_app(
    function: Callable[P, R],
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    executors: str | Sequence[str] = "all",
    ignore_for_cache: Sequence[str] | None = None,
) -> PythonApp[P, R]: ...
@overload
def python_app(
    function: None = None,
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    executors: str | Sequence[str] = "all",
    ignore_for_cache: Sequence[str] | None = None,
) -> _PythonDecorator: ...
@knows_former_names(**_FORMER_NAMES)
def python_app(
    function: Callable[..., Any] | None = None,
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    executors: str | Sequence[str] = "all",
    ignore_for_cache: Sequence[str] | None = None,
) -> Any:
    """Make an app of a Python function; with or without parentheses. See ``AppBase`` for the parameters."""

    def decorate(func: Callable[..., Any]) -> PythonApp[Any, Any]:
        return PythonApp(func, data_flow_kernel, cache, executors, ignore_for_cache)

    return decorate if function is None else decorate(check("an app", "function", function, PlainFunction()))


@overload
def bash_app(
    function: Callable[P, str],
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    executors: str | Sequence[str] = "all",
    ignore_for_cache: Sequence[str] | None = None,
) -> BashApp[P]: ...
@overload
def bash_app(
    function: None = None,
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    executors: str | Sequence[str] = "all",
    ignore_for_cache: Sequence[str] | None = None,
) -> _BashDecorator: ...
@knows_former_names(**_FORMER_NAMES)
def bash_app(
    function: Callable[..., Any] | None = None,
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    executors: str | Sequence[str] = "all",
    ignore_for_cache: Sequence[str] | None = None,
) -> Any:
    """Make an app of a function that gives a command line for ``/bin/bash``; the app's result is the exit code 0.

    See ``AppBase`` for the parameters, and ``trellis.remote.bash_runner`` for what a call can raise.
    """

    def decorate(func: Callable[..., Any]) -> BashApp[Any]:
        return BashApp(func, data_flow_kernel, cache, executors, ignore_for_cache)

    return decorate if function is None else decorate(check("an app", "function", function, PlainFunction()))


@overload
def join_app(
    function: Callable[P, Future[T]],
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    ignore_for_cache: Sequence[str] | None = None,
) -> JoinApp[P, T]: ...
@overload
def join_app(
    function: Callable[P, Sequence[Future[T]]],
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    ignore_for_cache: Sequence[str] | None = None,
) -> JoinApp[P, list[T]]: ...
@overload
def join_app(
    function: Callable[P, Any],
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    ignore_for_cache: Sequence[str] | None = None,
) -> JoinApp[P, Any]: ...
@overload
def join_app(
    function: None = None,
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    ignore_for_cache: Sequence[str] | None = None,
) -> _JoinDecorator: ...
@knows_former_names(**_FORMER_NAMES)
def join_app(
    function: Callable[..., Any] | None = None,
    data_flow_kernel: Kernel | None = None,
    cache: bool = False,
    ignore_for_cache: Sequence[str] | None = None,
) -> Any:
    """Make an app of a function that calls other apps and gives their future, or a list of futures.

    The function runs in a thread of this process. The app's result is the future's result, or the list of results.
    See ``AppBase`` for the parameters.
    """

    def decorate(func: Callable[..., Any]) -> JoinApp[Any, Any]:
        return cast(
            "JoinApp[Any, Any]", JoinApp(func, data_flow_kernel, cache=cache, ignore_for_cache=ignore_for_cache)
        )

    return decorate if function is None else decorate(check("an app", "function", function, PlainFunction()))
