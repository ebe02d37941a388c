"""A ``concurrent.futures.Future`` that is cheap to have by the million.

The standard one makes a condition variable for each future: 1.4 kB and some microseconds, for something that almost no
future ever needs. Here one lock serves all futures, held for moments only, and an event is made for those that a
thread really waits for. ``concurrent.futures.wait`` and ``as_completed``, which reach into the future's private parts,
work as ever.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, PENDING, RUNNING
from typing import Any, TypeVar

from trellis.core.users_errors import is_interrupt

T = TypeVar("T")

logger = logging.getLogger(__name__)

# Of all futures. Only ``concurrent.futures.wait`` and its kind hold it for longer than a few instructions.
_condition = threading.Condition(threading.RLock())
_acquire, _release = _condition.acquire, _condition.release
# A forked child has one thread, which does not hold it.
os.register_at_fork(after_in_child=_condition._at_fork_reinit)  # type: ignore[attr-defined]

_waiting = threading.local()


def when_this_thread_waits(function: Callable[[], object]) -> None:
    """Have ``function()`` called before this thread waits for a future: somebody else may have to do its work."""
    _waiting.function = function


def this_thread_waits() -> None:
    """Called by who is about to wait for something that tasks bring about."""
    function = getattr(_waiting, "function", None)
    if function is not None:
        function()


_OVER = frozenset((CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED))


def exception_of(future: Future[Any]) -> BaseException | None:
    """The exception of a future that has ended and is not cancelled, without taking it for looked at by its user."""
    return future._exception if isinstance(future, LightFuture) else future.exception()


class LightFuture(Future[T]):
    """See above; it behaves as its base class says."""

    # Class attributes stand in for what most futures never have; instances get their own when they need them.
    _condition: Any = _condition
    _state = PENDING
    _result: Any = None
    _exception: BaseException | None = None
    _event: threading.Event | None = None
    _callbacks: tuple[Callable[[Any], object], ...] = ()
    _waiter_list: list[Any] | None = None
    # While nobody has looked at the exception: who is to be told when somebody does, and what it comes from.
    _unseen: tuple[Callable[[], object] | None, Sequence[Future[Any]]] | None = None

    def __init__(self) -> None:
        pass  # on purpose not the base class's, which makes all of the above

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override]
        """Asked for by ``concurrent.futures.wait``, which holds the lock, and is going to wait."""
        this_thread_waits()
        waiters = self._waiter_list
        if waiters is None:
            waiters = self._waiter_list = []
        return waiters

    # -- asking ------------------------------------------------------------------------------------------------

    # A single attribute is read: no lock is needed to see a state, which only ever goes forward.

    def done(self) -> bool:
        return self._state in _OVER

    def cancelled(self) -> bool:
        return self._state in (CANCELLED, CANCELLED_AND_NOTIFIED)

    def running(self) -> bool:
        return bool(self._state == RUNNING)

    def result(self, timeout: float | None = None) -> T:
        if self._state != FINISHED:
            self._wait(timeout)
        if self._exception is not None:
            self._note_seen()
            try:
                raise self._exception
            finally:
                self = None  # type: ignore[assignment]  # no cycle between the future and its exception's traceback
        value: T = self._result
        return value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        if self._state != FINISHED:
            self._wait(timeout)
        if self._exception is not None:
            self._note_seen()
        return self._exception

    def _note_seen(self) -> None:
        """Somebody looks at the exception, and so at those of the futures that it comes from."""
        todo: list[Future[Any]] = [self]
        while todo:
            # At once, or of two threads both might tell.
            tell, causes = vars(todo.pop()).pop("_unseen", None) or (None, ())
            if tell is not None:
                tell()
            todo.extend(causes)

    def _wait(self, timeout: float | None) -> None:
        """Return when finished; raise CancelledError or TimeoutError."""
        if self._state not in _OVER:
            if timeout is None or timeout > 0:
                this_thread_waits()
            with _condition:
                event = self._event
                if event is None:
                    event = self._event = threading.Event()
                over = self._state in _OVER
            if not over and not event.wait(timeout):
                raise TimeoutError()
        if self._state != FINISHED:
            raise CancelledError()

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        with _condition:
            if self._state not in _OVER:
                self._callbacks = (*self._callbacks, fn)
                return
        self.call(fn)

    # -- telling -----------------------------------------------------------------------------------------------

    def set_result(self, result: T) -> None:
        if self.end_with(result):
            self._call_all()

    def set_exception(self, exception: BaseException | None) -> None:
        if self.end_with_exception(exception):
            self._call_all()

    def end_with(self, result: T) -> bool:
        """Do as ``set_result``, but the callbacks are left to the caller; False: there are none."""
        _acquire()
        try:
            if self._state in _OVER:
                raise InvalidStateError(f"{self._state}: {self!r}")
            self._result = result
            self._state = FINISHED
            if self._waiter_list:
                for waiter in self._waiter_list:
                    waiter.add_result(self)
        finally:
            _release()
        return self._wake()

    def end_with_exception(self, exception: BaseException | None) -> bool:
        """Do as ``set_exception``, but the callbacks are left to the caller; False: there are none."""
        _acquire()
        try:
            if self._state in _OVER:
                raise InvalidStateError(f"{self._state}: {self!r}")
            self._exception = exception
            self._state = FINISHED
            for waiter in self._waiter_list or ():
                waiter.add_exception(self)
        finally:
            _release()
        return self._wake()

    def cancel(self) -> bool:
        with _condition:
            if self._state in (RUNNING, FINISHED):
                return False
            if self._state in (CANCELLED, CANCELLED_AND_NOTIFIED):
                return True
            self._state = CANCELLED
        if self._wake():
            self._call_all()
        return True

    def end_as_cancelled(self) -> bool:
        """Do as ``cancel``, but the callbacks are left to the caller; False: there are none, or it was done already."""
        with _condition:
            if self._state in _OVER or self._state == RUNNING:
                return False
            self._state = CANCELLED
        return self._wake()

    def set_running_or_notify_cancel(self) -> bool:
        with _condition:
            if self._state == CANCELLED:
                self._state = CANCELLED_AND_NOTIFIED
                for waiter in self._waiter_list or ():
                    waiter.add_cancelled(self)
                return False
            if self._state != PENDING:
                raise RuntimeError(f"future in unexpected state {self._state}")
            self._state = RUNNING
            return True

    def _wake(self) -> bool:
        # The state is set: no callback and no event can be added any more.
        if self._event is not None:
            self._event.set()
        return bool(self._callbacks)

    def _call_all(self) -> None:
        for callback in self._callbacks:
            self.call(callback)

    def call(self, callback: Callable[[Any], object]) -> None:
        """Call a callback; what it raises is logged."""
        try:
            callback(self)
        except BaseException as error:  # a callback that exits must not keep others from being called
            logger.exception("exception calling callback for %r", self)
            if is_interrupt(error):
                raise

    @property
    def callbacks(self) -> tuple[Callable[[Any], object], ...]:
        """To be called when it is done."""
        return self._callbacks

    @property
    def _done_callbacks(self) -> list[Callable[[Any], object]]:
        """Used by the base class's ``__repr__`` and debuggers."""
        return list(self._callbacks)
