"""The futures that apps give. They hold results; everything else about a task is in its record.

An ``AppFuture`` is a ``concurrent.futures.Future`` that can also be awaited, indexed and asked for attributes.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from trellis.core.light_future import LightFuture, exception_of, this_thread_waits
from trellis.core.no_value import NoValueYet
from trellis.core.whereabouts import in_forked_child
from trellis.errors import DataFlowException, MissingOutputs

if TYPE_CHECKING:
    from trellis.core.interfaces import KernelTask, RunInfo
    from trellis.core.unmade import Unmade
    from trellis.staging.files import File
    from trellis.watching.snapshot import Explanation

T = TypeVar("T")
F = TypeVar("F", bound=Future[Any])

# Who waits for longer looks whether a callback of another future holds everything up.
_LOOK_S = 6.0


def _cannot_be_pickled(future: Future[Any]) -> NoReturn:
    raise TypeError(
        f"{future!r} cannot be pickled: a future lives in the process that made it. Pass it as an argument of an app "
        "(Trellis then passes its result), and do not use it in an app's body as a global or hidden in an object"
    )


def _check_process(task: KernelTask) -> None:
    """Raises:
    DataFlowException: this is a forked child of the process whose task it is: nothing will ever be told here.
    """
    if getattr(task.dfk, "left_behind", False):
        raise DataFlowException(in_forked_child(f"the result of {task.describe()} does not come here"))


def _await(future: Future[T]) -> Generator[Any, None, T]:
    import asyncio  # takes longer to load than all of this package; who awaits has it already

    return asyncio.wrap_future(future).__await__()


class AppFuture(NoValueYet, LightFuture[T]):
    """The result of a call of an app that may still be going on. Apps make them, users do not.

    ``result()`` raises what the app raised, when its retries are used up.
    """

    _streams: tuple[Any, Any] = (None, None)
    _outputs: list[DataFuture] | None = None
    _unmade: tuple[int, ...] = ()  # the outputs that are not there
    _is_staging = False  # the task is a staging provider's

    def __init__(self, task_record: KernelTask) -> None:
        self.task_record = task_record

    @property
    def tid(self) -> int:
        """Number of the task at its kernel."""
        return self.task_record.id

    @property
    def stdout(self) -> Any:
        """What was given as ``stdout=``; a DataFuture for a File; the path for ``AUTO_LOGNAME``."""
        return self._streams[0]

    @property
    def stderr(self) -> Any:
        """What was given as ``stderr=``; see ``stdout``."""
        return self._streams[1]

    @property
    def outputs(self) -> list[DataFuture]:
        """The DataFutures, one for each File of ``outputs=``, done when the file is in its place."""
        if self._outputs is None:
            self._outputs = []
        return self._outputs

    @property
    def run_info(self) -> RunInfo | None:
        """Where and when the task ran; None before its end, and when the executor does not tell."""
        return self.task_record.run_info

    def task_status(self) -> str:
        """Name of the task's state, such as ``'launched'`` (see ``trellis.dataflow.states.States``)."""
        return str(self.task_record.status.name)

    def explain(self, timeout_s: float = 1.0) -> Explanation:
        """Why the task is where it is: what it waits for, or why its executor does not run it. ``print`` it.

        Args:
            timeout_s: what executors do not tell within this time is left out.
        """
        explanation: Explanation = self.task_record.dfk.explain(self.task_record, timeout_s)
        return explanation

    def cancel(self) -> bool:
        """Try to stop the task.

        A task that still waits never runs. For a running one it depends on its executor: HighThroughputExecutor kills
        the worker process and replaces it, threads cannot be stopped. The futures that a join app waits for go on.

        Returns:
            True when the future is cancelled now (or already was): a late result is thrown away.
            False when the task is done or cannot be stopped.
        """
        if self.cancelled():
            return True
        if self.done():
            return False
        return self.task_record.dfk.cancel_task(self.task_record)

    def _wait(self, timeout: float | None) -> None:
        _check_process(self.task_record)
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            wait_s = _LOOK_S if deadline is None else min(_LOOK_S, max(0.0, deadline - time.monotonic()))
            try:
                return super()._wait(wait_s)
            except TimeoutError:
                if deadline is not None and deadline <= time.monotonic():
                    raise
                self.task_record.dfk.look_after_callbacks()

    def _set_cancelled(self) -> bool:
        """What the kernel does when it has decided; the callbacks are called by it. False: there are none."""
        has_callbacks = self.end_as_cancelled()
        self.set_running_or_notify_cancel()  # wakes wait() and as_completed(), which stay asleep for mere cancel()
        return has_callbacks

    def _note_unmade(self, result: Unmade) -> Any:
        """The kernel says: some outputs are not there. Their futures fail when this one is done; gives its result."""
        if not self._is_staging:  # what brings files may bring them to places that are not seen from there
            self._unmade = result.missing
        return result.value

    def __await__(self) -> Generator[Any, None, T]:
        return _await(self)

    def __getitem__(self, key: Any) -> AppFuture[Any]:
        """A new task that takes ``[key]`` of the result; ``key`` may be a future."""
        lifted: AppFuture[Any] = self.task_record.dfk.lift_getitem(self, key)
        return lifted

    def __getattr__(self, name: str) -> AppFuture[Any]:
        """A new task that takes the attribute ``name`` of the result; names that begin with ``_`` are not lifted."""
        if name.startswith("_"):
            raise AttributeError(
                f"AppFuture has no attribute {name!r}; names that begin with _ are not taken from results"
            )
        lifted: AppFuture[Any] = self.task_record.dfk.lift_getattr(self, name)
        return lifted

    def __iter__(self) -> NoReturn:
        raise TypeError(
            "an AppFuture cannot be iterated, its length is not known yet: iterate over future.result(), "
            "or take the parts by future[0], future[1], ..."
        )

    def __reduce__(self) -> NoReturn:
        _cannot_be_pickled(self)

    def __repr__(self) -> str:
        task = self.task_record
        try:
            return f"<AppFuture of {task.describe()}: {task.status.name}, {task.dfk.tell(task)}>"
        except Exception:  # debuggers and logs ask at any time, also in a forked child
            return f"<AppFuture at {id(self):#x}: {self._state}>"


class DataFuture(LightFuture["File"]):
    """The file that a task makes: done when the file is in its place, with the ``File`` as result.

    Args:
        fut: the future that makes the file; its failure becomes this one's.
        file_obj: the file.
        tid: number of the task that makes it.
    """

    def __init__(self, fut: Future[Any], file_obj: File, tid: int | None = None) -> None:
        super().__init__()
        self.parent = fut
        self.file_obj = file_obj
        self._tid = tid
        fut.add_done_callback(self._on_parent_done)

    def _on_parent_done(self, parent: Future[Any]) -> None:
        if parent.cancelled():
            super().cancel()
            self.set_running_or_notify_cancel()
            return
        exception = exception_of(parent)
        if exception is not None:
            self._unseen = (None, (parent,))
            self.set_exception(exception)
        elif isinstance(parent, AppFuture) and parent._unmade and parent.outputs.index(self) in parent._unmade:
            text = f"{parent.task_record.describe()} has ended, but has not made all of its outputs"
            self.set_exception(MissingOutputs(text, [self.file_obj]))
        else:
            self.set_result(self.file_obj)

    @property
    def tid(self) -> int | None:
        """Number of the task that makes the file."""
        return self._tid

    @property
    def filepath(self) -> str:
        """Path of the file, as ``File.filepath``."""
        return self.file_obj.filepath

    @property
    def filename(self) -> str:
        """The same as ``filepath``."""
        return self.filepath

    def _wait(self, timeout: float | None) -> None:
        if isinstance(self.parent, AppFuture):
            _check_process(self.parent.task_record)
        super()._wait(timeout)

    def cancel(self) -> bool:
        """Cancel the task that makes the file."""
        return self.parent.cancel()

    def running(self) -> bool:
        return self.parent.running()

    def __await__(self) -> Generator[Any, None, File]:
        return _await(self)

    def __reduce__(self) -> NoReturn:
        _cannot_be_pickled(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.file_obj!r} {'done' if self.done() else 'not done'}>"


def as_completed(futures: Iterable[F], timeout: float | None = None) -> Iterator[F]:
    """Yield futures in the order in which they finish.

    Works with any futures, and with an iterator that makes them as it goes (such as ``app.map``): it is read on while
    earlier ones are yielded, so it is never held in memory as a whole.

    Args:
        futures: a collection, in which each future counts once, or an iterator.
        timeout: in seconds from the first ``next()``, for all of them.

    Raises:
        TimeoutError: the time is over and some futures are not done.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    done: queue.SimpleQueue[F] = queue.SimpleQueue()
    outstanding = 0
    for future in futures if isinstance(futures, Iterator) else dict.fromkeys(futures):
        future.add_done_callback(done.put)  # type: ignore[arg-type]
        outstanding += 1
        while not done.empty():
            outstanding -= 1
            yield done.get()
    while outstanding:
        this_thread_waits()
        try:
            future = done.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise TimeoutError(f"{outstanding} futures are not done after {timeout} s") from None
        outstanding -= 1
        yield future
