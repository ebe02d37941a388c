"""Runs attempts in threads of this process. No processes, no serialization: arguments and results are shared.

Threads are started when there is work for them, at most ``max_threads``, and they are daemons: a function that never
returns cannot keep the program from ending. A function that has begun cannot be stopped.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import Annotated, Any

from trellis.core.interfaces import Attempt, ExecutorContext, Outcome, RunInfo
from trellis.core.interruption import interrupt
from trellis.core.kinds import OrNone, Path, Text
from trellis.core.parameters import MONITORING_RADIO, STORAGE_ACCESS, Label
from trellis.core.radios import RadioConfig
from trellis.core.reports import Begun, ExecutorReport, Standing
from trellis.core.validation import arguments, declares_parameters, keep_arguments, knows_former_names
from trellis.core.values import Number
from trellis.errors import ExecutorError, InvalidResourceSpecification
from trellis.executors.base import TrellisExecutor
from trellis.executors.thread_begun import BegunTeller, Runs
from trellis.executors.thread_report import BusyThread, all_stuck, look_at_threads, queued_standing
from trellis.executors.thread_usage import thread_usage

# How long shutdown() waits for threads that are idle or about to be: they need microseconds.
_JOIN_TIMEOUT_S = 1.0


class _PoolRun:
    """A life of the pool, from start to shutdown: threads that outlive it can do no harm to the next."""

    def __init__(self) -> None:
        self.inbox: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self.lock = threading.Lock()  # over threads, idle and closed
        self.threads: list[threading.Thread] = []
        self.idle = 0  # threads that wait, minus attempts on their way to them
        self.closed = False
        self.put = 0  # attempts that ever were
        self.running: dict[int, Runs] = {}  # by the worker's number; each worker has its own entry
        self.teller: BegunTeller | None = None  # made when there is work


class _Threads(Executor):
    """The threads as the standard library's pool: a subclass for Parsl gives its tasks to ``self.executor``."""

    def __init__(self, owner: ThreadPoolExecutor) -> None:
        self._owner = owner

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return TrellisExecutor.submit(self._owner, partial(fn, *args, **kwargs), {})


@declares_parameters
class ThreadPoolExecutor(TrellisExecutor):
    """Runs apps in threads of this process.

    Args:
        label: name for ``executors=[...]`` of apps.
        max_threads: apps that run at a time; None means 2.
        thread_name_prefix: begins the threads' names; the label by default.
        storage_access: staging for this executor; None means the default staging.
        working_dir: directory for staged files.
        remote_monitoring_radio: a radio of the program's own, for messages of its tasks.

    Raises:
        ParameterTypeError, ConfigurationError: a parameter cannot work.
    """

    label: Annotated[str, Label()]
    max_threads: Annotated[int, Number(least=1, whole=True)]
    thread_name_prefix: Annotated[str | None, OrNone(Text(lines=False))]
    storage_access: Annotated[Sequence[Any] | None, STORAGE_ACCESS]
    working_dir: Annotated[str | None, OrNone(Path())]
    remote_monitoring_radio: Annotated[RadioConfig | None, MONITORING_RADIO]

    @knows_former_names(max_workers="it is max_threads", workers="it is max_threads")
    def __init__(
        self,
        label: str = "threads",
        max_threads: int | None = 2,
        thread_name_prefix: str | None = "",
        storage_access: Sequence[Any] | None = None,
        working_dir: str | None = None,
        remote_monitoring_radio: RadioConfig | None = None,
    ) -> None:
        given = arguments(locals())
        super().__init__()
        keep_arguments(self, {**given, "max_threads": 2 if max_threads is None else max_threads})
        self.thread_name_prefix = self.thread_name_prefix or f"trellis-{self.label}"
        self._hostname = socket.gethostname()
        self._run: _PoolRun | None = None
        self._recorded = False

    def start(self, context: ExecutorContext | None = None) -> None:
        """Get ready; threads are made when there is work."""
        context = self._told(context)
        if self._run is None:
            self._recorded = context.measurements is not None
            self._run = _PoolRun()

    @property
    def executor(self) -> Executor:
        """The threads alone, without a resource specification: ``executor.submit(function, *args)``."""
        return _Threads(self)

    def validate_resource_spec(self, resource_specification: dict[str, Any]) -> None:
        """Threads take no resource specification.

        Raises:
            InvalidResourceSpecification: it is not empty.
        """
        if resource_specification:
            raise InvalidResourceSpecification(
                resource_specification,
                f"Executor {self.label} runs apps in threads, which take no resources: leave it "
                "out, or send the app to another executor with executors=[…]",
            )

    def monitor_resources(self) -> bool:
        """False: threads share one process, which cannot be told apart by task."""
        return False

    def launch(self, attempt: Attempt) -> None:
        """Queue an attempt; a thread is started for it if none is idle."""
        run = self._run
        if run is None:
            self._refuse([attempt], "it is not running: start() was not called, or shutdown() was")
            return
        # Popped by whoever gets the attempt first: a thread that runs it, or who cancels it.
        attempt.executor_id = [True]
        with run.lock:
            if run.closed:
                closed = True
            else:
                closed = False
                attempt.executor_note = run.put  # its place among all that were put
                run.put += 1
                run.inbox.put(attempt)
                run.idle -= 1
                if run.teller is None or run.teller.sleeps:
                    self._wake_teller(run)
                if run.idle < 0 and len(run.threads) < self.max_threads:
                    self._add_thread(run)
        if closed:
            self._refuse([attempt], "it was shut down")

    def _add_thread(self, run: _PoolRun) -> None:
        number = len(run.threads)
        name = self._thread_name(number)
        thread = threading.Thread(target=self._work, args=(run, number, name), name=name, daemon=True)
        run.threads.append(thread)
        run.idle += 1
        thread.start()

    def _wake_teller(self, run: _PoolRun) -> None:
        if run.teller is None:

            def is_idle() -> bool:
                with run.lock:
                    return run.idle >= len(run.threads)

            run.teller = BegunTeller(f"{self.thread_name_prefix}-begun", run.running, self._begun, is_idle)
        run.teller.wake()

    def _begun(self, number: int, started_at: float) -> Begun:
        return Begun(self._hostname, "", self._thread_name(number), number, started_at)

    def _thread_name(self, number: int) -> str:
        return f"{self.thread_name_prefix}-{number}"

    def _work(self, run: _PoolRun, number: int, name: str) -> None:
        while (attempt := run.inbox.get()) is not None:
            if _claim(attempt):
                started_at, begin = time.time(), time.perf_counter()
                run.running[number] = attempt, started_at, begin
                outcome = self._run_one(attempt, number, name, started_at, begin)
                # Absent: shutdown() has already said that this attempt failed.
                if run.running.pop(number, None) is not None:
                    attempt.sink.deliver(((attempt, outcome),))
                del outcome
            del attempt  # do not hold arguments and results while there is nothing to do
            with run.lock:
                run.idle += 1

    def _run_one(self, attempt: Attempt, number: int, name: str, started_at: float, begin: float) -> Outcome:
        measured = thread_usage() if self._recorded else None

        def run_info() -> RunInfo:
            usage = None if measured is None else measured()
            return RunInfo(self._hostname, "", name, number, started_at, time.perf_counter() - begin, usage)

        # No local variable may hold the exception: its traceback holds this frame, and both would stay in memory.
        try:
            return Outcome(attempt.func(*attempt.args, **attempt.kwargs), None, run_info())
        except BaseException as e:  # SystemExit in a task ends the task, not this thread
            return Outcome(None, e, run_info())

    def cancel(self, attempt: Attempt) -> bool:
        """True when the attempt had not begun: it never will. A running function cannot be stopped."""
        return attempt.executor_id is not None and _claim(attempt)

    def shutdown(self, block: bool = True) -> None:
        """Fail what has not ended. A function that runs goes on to its end, and its result is thrown away;
        a command that it waits for is killed.

        Args:
            block: wait until the threads that run nothing have ended.
        """
        run, self._run = self._run, None
        if run is None:
            return
        with run.lock:
            run.closed = True
            threads = list(run.threads)
            teller = run.teller
        lost: list[Attempt] = []
        while not run.inbox.empty():
            try:
                attempt = run.inbox.get_nowait()
            except queue.Empty:
                break
            if attempt is not None and _claim(attempt):
                lost.append(attempt)
        for _ in threads:
            run.inbox.put(None)
        busy = set()
        for number in range(len(threads)):
            running = run.running.pop(number, None)
            if running is not None:
                busy.add(number)
                lost.append(running[0])
        self._refuse(lost, "it was shut down before the task ended")
        if teller is not None:
            teller.end()
        for number, thread in enumerate(threads):
            # A command that a thread waits for ends, and then so does the thread.
            free = number not in busy or interrupt(thread)
            if block and free and thread is not threading.current_thread():
                thread.join(_JOIN_TIMEOUT_S)
        if teller is not None and block:
            teller.join(_JOIN_TIMEOUT_S)

    # -- for people who ask ------------------------------------------------------------------------------------

    def report(self, timeout_s: float = 1.0) -> ExecutorReport:
        """Tell how the pool is now."""
        run = self._run
        kind = type(self).__name__
        if run is None:
            return ExecutorReport(self.label, kind, 0, error="it is not running")
        threads = self._look(run)
        stuck = all_stuck(threads, self.max_threads)
        running = len(threads)
        notes = [stuck] if stuck and run.inbox.qsize() else []
        return ExecutorReport(
            self.label, kind, self.max_threads, queued=run.inbox.qsize(), assigned=0, running=running, notes=notes
        )

    def standing(self, attempt: Attempt, timeout_s: float = 1.0) -> Standing:
        """Tell which thread runs an attempt, and what it waits for there; or what keeps the threads from it."""
        run = self._run
        if run is None or attempt.executor_id is None:
            return Standing("unknown", f"executor {self.label} does not have it: it is not running, or refused it")
        threads = self._look(run)
        for thread in threads:
            if thread.attempt is attempt:
                begun = self._begun(thread.number, thread.started_at)
                return Standing("running", thread.words, begun=begun, hindrances=thread.hindrances)
        if not attempt.executor_id:  # somebody has claimed it
            return Standing("unknown", "it has just ended, or is about to run, or was cancelled")
        queue = run.inbox.qsize()
        return queued_standing(threads, self.max_threads, queue - (run.put - attempt.executor_note), queue)

    def _look(self, run: _PoolRun) -> list[BusyThread]:
        """What each thread does that runs something."""
        running = list(run.running.items())
        return look_at_threads(self.label, running, run.threads, time.perf_counter())

    def _refuse(self, attempts: Sequence[Attempt], reason: str) -> None:
        for attempt in attempts:
            attempt.sink.deliver(((attempt, Outcome(None, ExecutorError(self, reason))),))


def _claim(attempt: Attempt) -> bool:
    try:
        attempt.executor_id.pop()
    except IndexError:
        return False
    return True
