"""The seam for what watches a run: tells observers what becomes of tasks, in batches, without knowing what they do.

What is told are plain values, in the order in which it happened: no change of a task's state is left out, every
attempt that was launched ends once, before its task changes its state again, and nothing of a task comes after its
final state. An observer that is added while tasks run gets what happens from then on, so it may be told the end of an
attempt whose start it has not seen.

The threads that run tasks only put things down here. A thread of the observers', which exists while there are any,
tells them a moment later; ``add``, ``remove`` and ``close`` tell at once what is left, on the thread that calls them.
So ``observe`` may read and write files, and is never called by two threads at a time; while it takes long, batches
get longer, and no task waits for it. What it raises is told to the user, once for each observer, and harms nobody.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from trellis.core.interfaces import RunInfo
from trellis.core.reports import Begun
from trellis.core.users_errors import is_interrupt
from trellis.dataflow.arguments import tasks_behind
from trellis.dataflow.states import States
from trellis.dataflow.taskrecord import TaskRecord

if TYPE_CHECKING:
    from trellis.dataflow.notes import TaskNotes

logger = logging.getLogger(__name__)

# How long the first of a batch waits for others: not to be noticed by people, and one wake-up for thousands of tasks.
_GATHERING_S = 0.05
# How long the end waits for an observer that is being told.
_LAST_WORDS_S = 10.0


class TaskChanged(NamedTuple):
    """A task has a new state; the first one, ``pending``, says that it was submitted."""

    task_id: int
    app: str
    state: States
    at: float  # seconds since the epoch, as in all that follows
    exception: str = ""  # name of the class of what made it fail, with failed, dep_fail, cancelled and fail_retryable
    depends: Sequence[int] = ()  # with pending: ids of the tasks of this kernel that it waits for


class AttemptLaunched(NamedTuple):
    """An attempt is handed to an executor."""

    task_id: int
    app: str
    try_id: int  # 0 for the first attempt of a task
    executor: str  # label
    at: float


class AttemptBegun(NamedTuple):
    """An attempt runs. Told of those only that run for a while; ``AttemptEnded.run_info`` has it for all."""

    task_id: int
    app: str
    try_id: int
    executor: str
    at: float  # when this was noticed; ``begun.started_at`` is when it began
    begun: Begun


class AttemptEnded(NamedTuple):
    """The outcome of an attempt has come, or does not count any more because its task was cancelled or given up."""

    task_id: int
    app: str
    try_id: int
    executor: str
    at: float
    exception: str = ""  # name of the class of what the attempt raised; empty: it has succeeded
    run_info: RunInfo | None = None  # host, block, manager, worker, start and duration, if the executor tells


Observation = TaskChanged | AttemptLaunched | AttemptBegun | AttemptEnded


class Observer(Protocol):
    """Whoever wants to know what becomes of tasks; see ``trellis.DataFlowKernel.add_observer``."""

    def observe(self, batch: Sequence[Observation]) -> None:
        """Take what has happened since the last call, in order. Not called with nothing."""


# Of ``Observers`` and ``TaskNotes``.
_SAME = ("submitted", "launched", "begun", "changed", "finished")


class Observers:
    """The observers of one kernel, and what they are still to be told.

    Args:
        notify: tells the user of observers that fail.
    """

    def __init__(self, notify: Callable[[str], None]) -> None:
        self._notify = notify
        self.watching = False  # whether there is any, or a record: who runs tasks asks before noting something
        self.sees_ends = False  # whether the ends of attempts matter that are followed by a final state
        self._notes: TaskNotes | None = None  # for the record of the run
        self._observers: tuple[Observer, ...] = ()
        self._complained: set[str] = set()  # about observers of these names
        self._noted: deque[Observation] = deque()
        self._lock = threading.RLock()  # over telling, and over who is told
        self._telling = False
        self._thread: _Teller | None = None

    # -- what has happened: by whoever runs tasks, under a lock of its own, which gives the order ---------------

    def submitted(self, record: TaskRecord) -> None:
        if self._notes is not None:
            self._notes.submitted(record)
        if self._observers:
            depends = tasks_behind(record.depends, record.dfk)
            self._note(TaskChanged(record.id, record.func_name, record.status, time.time(), "", depends))

    def changed(self, record: TaskRecord, exception: BaseException | None = None) -> None:
        if self._notes is not None:
            self._notes.changed(record, exception)
        if self._observers:
            self._note(TaskChanged(record.id, record.func_name, record.status, time.time(), _name_of(exception)))

    def launched(self, record: TaskRecord) -> None:
        """The task has the state launched, and its attempt is about to be."""
        if self._notes is not None:
            self._notes.launched(record)
        if self._observers:
            now = time.time()
            self._note(TaskChanged(record.id, record.func_name, record.status, now))
            self._note(AttemptLaunched(record.id, record.func_name, record.try_id, record.executor, now))

    def begun(self, record: TaskRecord, begun: Begun) -> None:
        """The task has the state running."""
        if self._notes is not None:
            self._notes.begun(record, begun)
        if self._observers:
            now = time.time()
            self._note(TaskChanged(record.id, record.func_name, record.status, now))
            self._note(AttemptBegun(record.id, record.func_name, record.try_id, record.executor, now, begun))

    def ended(self, record: TaskRecord, exception: BaseException | None, run_info: RunInfo | None = None) -> None:
        """The attempt of a task has ended, and is the task's no more; nothing is told if there is none."""
        if record.attempt is not None:
            record.attempt = None
            if self._notes is not None:
                self._notes.ended(record, exception, run_info)
            if self._observers:
                name, now = _name_of(exception), time.time()
                of_it = (record.try_id, record.executor, now, name, run_info)
                self._note(AttemptEnded(record.id, record.func_name, *of_it))

    def finished(self, record: TaskRecord, state: States, exception: BaseException | None) -> None:
        """The task is final, and so is an attempt whose outcome has not come."""
        self.ended(record, exception)
        if self._notes is not None:
            self._notes.finished(record, state, exception)
        if self._observers:
            self._note(TaskChanged(record.id, record.func_name, state, time.time(), _name_of(exception)))

    def _note(self, observation: Observation) -> None:
        self._noted.append(observation)
        thread = self._thread
        if thread is not None and not thread.wanted.is_set():
            thread.wanted.set()

    # -- who is told -------------------------------------------------------------------------------------------

    def record(self, notes: TaskNotes | None) -> None:
        """Have all noted for a record of the run from now on, beside what observers are told; None: no more."""
        with self._lock:
            self._notes = notes
            self.watching = notes is not None or bool(self._observers)
            self._choose_way()

    def _choose_way(self) -> None:
        """Make notes without the way through here when there is a record alone: it is gone for each task."""
        notes = self._notes
        self.sees_ends = bool(self._observers)
        if notes is not None and not self._observers:
            vars(self).update({name: getattr(notes, name) for name in _SAME})
        else:
            for name in _SAME:
                vars(self).pop(name, None)

    def add(self, observer: Observer) -> None:
        """Tell one more from now on."""
        with self._lock:
            self._tell()
            self._observers += (observer,)
            if self._thread is None:
                self._thread = _Teller(self._tell)
            self.watching = True
            self._choose_way()

    def remove(self, observer: Observer) -> None:
        """Tell one no more, when it has been told what has happened until now. Nothing happens if it is not there."""
        with self._lock:
            self._tell()
            self._keep([one for one in self._observers if one is not observer])

    def close(self) -> None:
        """Tell what is left, and then nothing any more. An observer that hangs is left behind."""
        if not self._lock.acquire(timeout=_LAST_WORDS_S):
            logger.warning("an observer does not return; cleaning up goes on without telling it the rest")
            self.watching = False
            if self._thread is not None:
                self._thread.end()
            return
        try:
            self._tell()
            self._keep([])
        finally:
            self._lock.release()

    def _keep(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        if not observers and self._thread is not None:
            self.watching = self._notes is not None
            self._thread.end()
            self._thread = None
        self._choose_way()

    def _tell(self) -> None:
        with self._lock:
            if self._telling:  # an observer adds or removes one
                return
            self._telling = True
            try:
                batch = tuple([self._noted.popleft() for _ in range(len(self._noted))])
                for observer in self._observers if batch else ():
                    self._tell_one(observer, batch)
            finally:
                self._telling = False

    def _tell_one(self, observer: Observer, batch: Sequence[Observation]) -> None:
        try:
            observer.observe(batch)
        except BaseException as error:
            if is_interrupt(error):
                raise
            name = f"{type(observer).__module__}.{type(observer).__qualname__}"
            if name not in self._complained:
                self._complained.add(name)
                logger.exception("observer %s failed", name)
                what = f"{type(error).__name__}: {error}"
                self._notify(f"observer {name} failed ({what}); it is told what comes, and this is said once")


def _name_of(exception: BaseException | None) -> str:
    return "" if exception is None else type(exception).__name__


class _Teller(threading.Thread):
    """Has observers told a moment after something was noted, until it is ended."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__(name="trellis-observers", daemon=True)
        self._tell = tell
        self._over = threading.Event()
        self.wanted = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.is_set():
            self.wanted.wait()
            self._over.wait(_GATHERING_S)
            self.wanted.clear()  # before telling: what is noted from now on wakes this thread again
            self._tell()

    def end(self) -> None:
        """Returns at once; who ends it has told what there was."""
        self._over.set()
        self.wanted.set()
