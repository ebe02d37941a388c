"""Children of a process, one for each piece of work, that have what it has loaded. Decides nothing."""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import resource
import select
import signal
import sys
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from trellis.core.system_calls import open_pidfd
from trellis.executors.common.lifeline import Lifeline, open_lifeline, take_lifeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Where the system does not tell of ends, it is looked so often.
_LOOK_MS = 10


class Order(Protocol):
    """A message that says what a child is to do."""

    @property
    def id(self) -> int: ...


M = TypeVar("M", bound=Order)
M_co = TypeVar("M_co", bound=Order, covariant=True)


class Source(Protocol[M_co]):
    """Where messages come from."""

    def fileno(self) -> int: ...

    def receive(self) -> M_co | None:
        """None: the worker is gone."""


class Ended(NamedTuple):
    """A child and all that it had started are gone."""

    message: Any  # that it was made for
    pid: int
    status: int  # of the wait for it
    usage: resource.struct_rusage
    answered: bool  # it did all that it was made for


class _Slot(NamedTuple):
    """What a child is given, and the next one after it: one at a time."""

    number: int
    lifeline: int


class _Child(NamedTuple):
    message: Any
    pid: int
    sentinel: int  # pidfd; negative: there is none, so it is looked at
    slot: _Slot


class Forks(Generic[M]):
    """Owned by the one thread of its process.

    Args:
        source: watched together with the children.
        work: done in a child, which ends with it.
        most: children at a time.
    """

    def __init__(self, source: Source[M], work: Callable[[M], None], most: int) -> None:
        # What is there now is the same in all children: the collector shall not touch, and so copy, it.
        gc.collect()
        gc.freeze()
        self._source = source
        self._work = work
        # Children end with this process, and so with the worker. Each takes over a lifeline that is open already: to
        # open one takes a tenth of all that a child costs.
        self._lifeline = Lifeline()
        self._free: list[_Slot] = []
        self._slots = 0
        self._most = most
        self._answered = mmap.mmap(-1, most)  # shared with the children
        self._poll = select.poll()
        self._poll.register(source.fileno(), select.POLLIN)
        self._children: dict[int, _Child] = {}  # by sentinel

    @property
    def full(self) -> bool:
        """Whether there are as many as there may be."""
        return len(self._children) >= self._most

    def start(self, message: M) -> int:
        """Make a child that does the work for ``message``: its process id. It leads a process group of its own."""
        slot = self._free.pop() if self._free else self._new_slot()
        self._answered[slot.number] = 0
        pid = os.fork()
        if not pid:
            self._be_child(message, slot)
        with contextlib.suppress(OSError):  # both sides do it: nobody has to wait for the other
            os.setpgid(pid, pid)
        try:
            sentinel = open_pidfd(pid)
            self._poll.register(sentinel, select.POLLIN)
        except OSError:
            sentinel = -pid
        self._children[sentinel] = _Child(message, pid, sentinel, slot)
        return pid

    def _new_slot(self) -> _Slot:
        self._slots += 1
        return _Slot(self._slots - 1, open_lifeline(self._lifeline.worker_end))

    def _be_child(self, message: M, slot: _Slot) -> None:
        status = 1
        try:
            os.setpgid(0, 0)
            self._lifeline.let_go()
            take_lifeline(slot.lifeline)
            self._work(message)
            self._answered[slot.number] = 1
            status = 0
        except BaseException as error:
            print(f"the result could not be told: {error!r}", file=sys.stderr)
        finally:
            flush_output()
            os._exit(status)  # nothing of the other process's is to be cleaned up here

    def wait(self) -> Iterator[M | Ended | None]:
        """What has happened, once something has or may have. None: the worker is gone."""
        looked_at = [child for child in self._children.values() if child.sentinel < 0]
        for fd, _ in self._poll.poll(_LOOK_MS if looked_at else None):
            if fd in self._children:
                yield self._reap(self._children.pop(fd))
            else:
                yield self._source.receive()
        for child in looked_at:
            if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                yield self._reap(self._children.pop(child.sentinel))

    def _reap(self, child: _Child) -> Ended:
        if child.sentinel >= 0:
            self._poll.unregister(child.sentinel)
            os.close(child.sentinel)
        _kill(child.pid)  # its children; it is a zombie, so its number cannot belong to anybody else
        _, status, usage = os.wait4(child.pid, 0)
        self._free.append(child.slot)
        return Ended(child.message, child.pid, status, usage, bool(self._answered[child.slot.number]))

    def pids(self) -> dict[int, int]:
        """The children, by the ids of the messages that they were made for."""
        return {child.message.id: child.pid for child in self._children.values()}

    def kill(self, id_: int) -> None:
        """The child that was made for the message with this id, with all that it has started; none is no error."""
        for child in self._children.values():
            if child.message.id == id_:
                _kill(child.pid)

    def kill_all(self) -> None:
        for child in self._children.values():
            _kill(child.pid)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def flush_output() -> None:
    """What was printed must not be lost at an end without cleaning up."""
    for output in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # a call may have closed or replaced it
            output.flush()
