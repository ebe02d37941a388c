"""Apps behind the interface of ``concurrent.futures``. A thin shell around a kernel; it keeps no results."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor
from typing import TYPE_CHECKING, Any, Self, TypeVar

from trellis.apps import PythonApp
from trellis.core.kinds import Function, Instance, OrNone
from trellis.core.parameters import EXECUTORS, ITERABLES, KERNEL
from trellis.core.validation import check, knows_former_names
from trellis.core.values import MOST_COUNTED, Duration, Number
from trellis.dataflow.dflow import DataFlowKernelLoader
from trellis.dataflow.kernel import DataFlowKernel
from trellis.errors import ParameterValueError
from trellis.futures import AppFuture

if TYPE_CHECKING:
    from trellis.config import Config

__all__ = ["ParslPoolExecutor"]

T = TypeVar("T")

_SOME = Number(least=1, most=MOST_COUNTED, whole=True)


class ParslPoolExecutor(Executor):
    """A ``concurrent.futures.Executor`` that runs functions on the executors of a Config, or of a kernel.

    Arguments may be futures, as for apps.

    Args:
        config: start a run with it now, and end it with ``shutdown()`` or at the end of ``with``. It is the program's
            run, as if it had been loaded, unless that goes on with another one.
        dfk: use a kernel that exists; it goes on when this pool is shut down.
        executors: labels to choose from, or ``"all"``.

    Raises:
        ValueError: not exactly one of ``config`` and ``dfk`` is given.
    """

    @knows_former_names()
    def __init__(
        self,
        config: Config | None = None,
        dfk: DataFlowKernel | None = None,
        executors: str | Sequence[str] = "all",
    ) -> None:
        if (config is None) == (dfk is None):
            raise ParameterValueError("ParslPoolExecutor: give exactly one of config and dfk")
        owner = "ParslPoolExecutor"
        check(owner, "config", config, OrNone(Instance("a Config", methods=("executors", "make_memoizer"))))
        check(owner, "dfk", dfk, OrNone(KERNEL))
        self.executors = check(owner, "executors", executors, EXECUTORS)
        self._owns_kernel = config is not None
        self._dfk = DataFlowKernelLoader.load_or_start(config) if config is not None else dfk
        self._apps: dict[Callable[..., Any], PythonApp[..., Any]] = {}
        self._lock = threading.Lock()  # over the two below
        self._outstanding: set[AppFuture[Any]] = set()
        self._is_shut_down = False

    @property
    def dfk(self) -> DataFlowKernel:
        """The kernel that runs the functions."""
        assert self._dfk is not None
        return self._dfk

    @property
    def app_count(self) -> int:
        """The number of functions for which there are apps."""
        return len(self._apps)

    def get_app(self, fn: Callable[..., T]) -> PythonApp[..., T]:
        """The app for a function; one function has one app."""
        check("ParslPoolExecutor", "fn", fn, Function())
        try:
            app = self._apps.get(fn)
            if app is None:
                app = self._apps[fn] = PythonApp(fn, self._dfk, executors=self.executors)
        except TypeError:  # a callable that cannot be hashed
            app = PythonApp(fn, self._dfk, executors=self.executors)
        return app

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> AppFuture[T]:
        """Run ``fn(*args, **kwargs)``; see ``concurrent.futures.Executor.submit``.

        Raises:
            RuntimeError: the pool is shut down.
        """
        return self._submit(self.get_app(fn), args, kwargs)

    def _submit(self, app: PythonApp[..., T], args: Sequence[Any], kwargs: dict[str, Any]) -> AppFuture[T]:
        # Under the lock: shutdown() must not miss a task.
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("cannot submit to a ParslPoolExecutor that is shut down")
            future: AppFuture[T] = app(*args, **kwargs)
            self._outstanding.add(future)
        future.add_done_callback(self._outstanding.discard)
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Results of ``fn`` for the elements of iterables, in order; see ``concurrent.futures.Executor.map``.

        Args:
            timeout: in seconds from this call, for all results.
            chunksize: this many calls make one task.
            buffersize: at most this many tasks are submitted whose results have not been taken; None: all at once.

        Raises:
            TimeoutError: from the iterator, when a result is not there in time.
        """
        owner = "ParslPoolExecutor.map"
        check(owner, "fn", fn, Function())
        check(owner, "iterables", iterables, ITERABLES)
        timeout = check(owner, "timeout", timeout, OrNone(Duration(least=0)))
        chunksize = check(owner, "chunksize", chunksize, _SOME)
        buffersize = check(owner, "buffersize", buffersize, OrNone(_SOME))
        deadline = None if timeout is None else time.monotonic() + timeout
        calls = zip(*iterables, strict=False)
        futures: Iterator[AppFuture[Any]]
        if chunksize == 1:
            futures = (self.submit(fn, *call) for call in calls)
        else:
            app: PythonApp[..., list[T]] = PythonApp(_Chunk(fn), self._dfk, executors=self.executors)
            chunks = iter(lambda: tuple(itertools.islice(calls, chunksize)), ())
            futures = (self._submit(app, (chunk,), {}) for chunk in chunks)
        # Submitted now, not at the first next(): that is what the interface promises.
        ahead = deque(itertools.islice(futures, buffersize))
        results = _results(ahead, futures, deadline, timeout)
        return results if chunksize == 1 else itertools.chain.from_iterable(results)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; a kernel that was made from ``config`` is cleaned up when the calls have ended.

        Args:
            wait: return when they have; otherwise that goes on behind the scenes.
            cancel_futures: cancel the calls that have not begun, and running ones where the executor can.
        """
        with self._lock:
            was_shut_down, self._is_shut_down = self._is_shut_down, True
        if cancel_futures:
            for future in list(self._outstanding):
                future.cancel()
        if wait:
            self._end()
        elif not was_shut_down and self._owns_kernel:
            threading.Thread(target=self._end, name="trellis-pool-shutdown", daemon=True).start()

    def _end(self) -> None:
        for future in list(self._outstanding):
            with contextlib.suppress(CancelledError):
                future._wait(None)  # its exception is left for who asks for it
        if self._owns_kernel and self._dfk is not None:
            self._dfk.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: object, exc: object, traceback: object) -> None:
        if self._owns_kernel:
            self.shutdown(wait=True)


class _Chunk:
    """Many calls of a function in one. One object for all chunks: executors serialize it once."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn
        self.__name__ = getattr(fn, "__name__", type(fn).__name__)

    def __call__(self, calls: Sequence[Sequence[Any]], /) -> list[Any]:
        return list(itertools.starmap(self.fn, calls))


def _results(
    ahead: deque[AppFuture[Any]], futures: Iterator[AppFuture[Any]], deadline: float | None, timeout: float | None
) -> Iterator[Any]:
    try:
        while ahead:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                result = ahead[0].result(left)
            except TimeoutError:
                if ahead[0].done():  # the function itself raised it
                    raise
                raise TimeoutError(f"the results are not there after {timeout} s") from None
            ahead.popleft()
            ahead.extend(itertools.islice(futures, 1))
            yield result
    finally:
        for future in ahead:
            future.cancel()
