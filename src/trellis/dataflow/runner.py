"""Runs tasks: a shell around ``TaskGraph`` with its futures, memos and one thread. Knows nothing of files or exits.

What happens where:

* A call of an app runs in the user's thread down to ``executor.launch`` when nothing is in its way.
* Outcomes come from executors' threads into ``deliver``, which only posts them to the runner's thread. There futures
  complete (with users' callbacks) and dependents are launched.
* The graph is asked under one lock, and its actions are performed outside of it. A future gets its result first; then,
  under the lock, its dependents are released; whoever registers a dependency looks under the same lock whether the
  future is done. So no dependent is forgotten, and none is released too early.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from datetime import datetime
from typing import TYPE_CHECKING, Any, assert_never

from trellis.core.failures import as_exception
from trellis.core.foreign import overridden
from trellis.core.interfaces import Attempt, Executor, Outcome
from trellis.core.light_future import exception_of
from trellis.core.reports import Begun
from trellis.core.unmade import Unmade
from trellis.core.users_errors import is_interrupt
from trellis.dataflow import graph
from trellis.dataflow.arguments import (
    failures,
    futures_of_join,
    has_failed,
    places_in_call,
    places_in_join,
    result_of_join,
    unwrap_arguments,
)
from trellis.dataflow.attempts import RetryPolicy, abandoned, give_up, make_attempt, note_failure
from trellis.dataflow.completion import CompletionThread
from trellis.dataflow.dependency_resolvers import DependencyResolver, is_users
from trellis.dataflow.failure_log import FailureLog
from trellis.dataflow.failure_words import note_where
from trellis.dataflow.final_tasks import IS_FINAL, FinalTasks
from trellis.dataflow.observers import Observers
from trellis.dataflow.open_futures import OpenFutures
from trellis.dataflow.states import States
from trellis.dataflow.taskrecord import TaskRecord
from trellis.errors import DataFlowException, DependencyError, ExecutorError, JoinError

if TYPE_CHECKING:
    from trellis.dataflow.memoization import Memoizer

logger = logging.getLogger(__name__)

# How long the end waits for users' callbacks that are still running on the runner's thread.
_LAST_CALLBACKS_S = 10.0


class TaskRunner:
    """The tasks of one kernel, from submission to their ends.

    Args:
        name: of the thread on which futures complete.
        executors: by label; the kernel may add some.
        memoizer: asked for tasks with ``memoize``.
        resolver: finds and replaces futures in arguments.
        retries: whether a task that failed is tried again.
        garbage_collect: see ``trellis.Config``.
        observers: told what becomes of tasks, if there are any.
        failures: told which tasks have failed for good.
    """

    def __init__(
        self,
        name: str,
        executors: Mapping[str, Executor],
        memoizer: Memoizer,
        *,
        resolver: DependencyResolver,
        retries: RetryPolicy,
        garbage_collect: bool,
        observers: Observers,
        failures: FailureLog,
    ) -> None:
        self.tasks: dict[int, TaskRecord] = {}  # by id; without the final ones if garbage_collect
        self.task_count = 0
        self._executors = executors
        self._memoizer = memoizer
        self._resolver = resolver
        # A user's memoizer hears of every task, as Parsl's do; ours has nothing to say of apps without cache=True.
        self._hears_all = bool(overridden(memoizer, ("check_memo", "update_memo_result", "update_memo_exception")))
        # A user's resolver sees failed futures, too, and says what becomes of them.
        self._fails_dependents = not is_users(resolver)
        self._retries = retries
        self._garbage_collect = garbage_collect
        self._observers = observers
        self._lock = threading.Lock()  # over the graph, task_count and the four below
        self._graph = graph.TaskGraph(retries.retries, retries.infrastructure_retries or 0)
        self._closed = False
        self._open = OpenFutures(self.tasks)
        self._held: dict[int, list[tuple[Attempt, Outcome]]] = {}  # outcomes of tasks that are just being cancelled
        self.final_tasks = FinalTasks()
        self._failures = failures
        self._thread = CompletionThread(name)
        self.look_after_callbacks = self._thread.look

    @property
    def state_counts(self) -> dict[States, int]:
        """How many tasks are in which state; every state is there."""
        counts = {**dict.fromkeys(States, 0), **self.final_tasks.counts}
        for record in list(self.tasks.values()):
            if record.status not in IS_FINAL:
                counts[record.status] += 1
        return counts

    # -- submission, in the user's thread ----------------------------------------------------------------------

    def submit(self, record: TaskRecord, broken: Exception | None = None) -> None:
        """Take a task whose ``depends`` are known. ``broken`` is a fault of the call: its future says so.

        Raises:
            DataFlowException: the runner is closed.
        """
        new_futures: list[Future[Any]] = []
        keys: Sequence[int] = ()
        failed = False
        with self._lock:
            if self._closed:
                raise DataFlowException(f"{record.func_name} cannot be submitted: its kernel was cleaned up")
            self.task_count += 1
            self.tasks[record.id] = record
            if record.depends and broken is None:
                keys, failed = self._open.keys_of(record.depends, new_futures)
            actions = self._graph.handle(graph.TaskSubmitted(record.id, keys, failed and self._fails_dependents))
            if broken is not None:
                record.outcome = Outcome(None, broken)
                actions = self._graph.handle(graph.TaskAbandoned(record.id))
            if self._observers.watching:
                self._observers.submitted(record)
        if actions:
            self._perform(actions)
        if new_futures:
            self._watch(new_futures)

    def _watch(self, new_futures: Sequence[Future[Any]]) -> None:
        for future in new_futures:
            future.add_done_callback(lambda done: self._thread.post(self._on_foreign_done, done))

    # -- performing actions ------------------------------------------------------------------------------------

    def _perform(self, actions: Sequence[graph.Action]) -> None:
        # Level by level and without recursion: a failure may run down a chain of any length.
        stop: BaseException | None = None  # Ctrl-C while the user's thread is here
        while actions:
            following: list[graph.Action] = []
            for action in actions:
                record = self.tasks.get(action.task_id)
                if record is None:  # cancelled or abandoned between decision and deed
                    continue
                try:
                    more = self._act(action, record)
                except BaseException as e:  # users' code, such as a __reduce__, may raise anything
                    logger.exception("%s for %s failed", action, record.describe())
                    more = self._survive(record, e)
                    stop = e if is_interrupt(e) else stop
                if more:
                    following.extend(more)
            actions = following
        if stop is not None:
            raise stop

    def _act(self, action: graph.Action, record: TaskRecord) -> Sequence[graph.Action]:
        # As in the graph: cheaper than a match, and as complete.
        if isinstance(action, graph.LaunchAttempt):
            return self._launch(record)
        if isinstance(action, graph.ResolveFuture):
            return self._resolve(record)
        if isinstance(action, graph.FailFuture):
            return self._fail(record)
        if isinstance(action, graph.FailDependent):
            return self._fail_dependent(record)
        if isinstance(action, graph.FinishJoin):
            return self._finish_join(record)
        if isinstance(action, graph.CancelFuture):
            return self._set_cancelled(record)
        if isinstance(action, graph.CancelAttempt):  # cancel() has done it
            return ()
        assert_never(action)

    def _handle(self, event: graph.Event) -> Sequence[graph.Action]:
        with self._lock:
            return self._graph.handle(event)

    def _launch(self, record: TaskRecord) -> Sequence[graph.Action]:
        if self._closed:
            return self._abandon(record)
        try:
            if record.depends and not record.resolved:
                try:
                    record.args, record.kwargs = unwrap_arguments(self._resolver, record.args, record.kwargs)
                except Exception:
                    if any(has_failed(future) for future in record.depends):
                        self._handle(graph.TaskAbandoned(record.id))
                        return self._fail_dependent(record)
                    raise
                record.resolved = True
            if record.memoize or self._hears_all:
                memo = self._memoizer.check_memo(record)
                if memo is not None:
                    return self._use_memo(record, memo)
            executor, attempt = make_attempt(record, self._executors, self)
        except Exception as e:
            return self._fail_attempt(record, e, may_retry=False)
        with self._lock:
            if self._graph.phase(record.id) is None:  # cancelled meanwhile
                return ()
            record.attempt = attempt
            record.status = States.launched
            if self._observers.watching:
                self._observers.launched(record)
        record.try_time_launched = datetime.now()
        executor.launch(attempt)
        return ()

    def _use_memo(self, record: TaskRecord, memo: Future[Any]) -> Sequence[graph.Action]:
        if not isinstance(memo, Future):
            raise TypeError(f"{type(self._memoizer).__name__}.check_memo must give a future or None, not {memo!r}")
        if not memo.done():  # the same call is going on elsewhere: its end will be this task's
            memo.add_done_callback(lambda _: self._thread.post(self._on_memo_done, (record, memo)))
            return ()
        exception = CancelledError() if memo.cancelled() else exception_of(memo)
        if isinstance(exception, CancelledError):
            return (graph.LaunchAttempt(record.id),)  # look again, there is no such call any more
        record.from_memo = True
        if exception is not None:
            return self._fail_attempt(record, exception, may_retry=False)
        record.outcome = Outcome(memo.result())
        return self._handle(graph.AttemptSucceeded(record.id))

    def _resolve(self, record: TaskRecord) -> Sequence[graph.Action]:
        outcome = record.outcome
        assert outcome is not None
        if self._hears_all or (record.memoize and not record.from_memo):
            self._memoizer.update_memo_result(record, outcome.value)
        state = States.memo_done if record.from_memo else States.exec_done
        return self._finish(record, state, outcome.value, None)

    def _fail(self, record: TaskRecord) -> Sequence[graph.Action]:
        outcome = record.outcome
        assert outcome is not None
        assert outcome.exception is not None
        if self._hears_all or (record.memoize and not record.from_memo):
            self._memoizer.update_memo_exception(record, outcome.exception)
        return self._finish(record, States.failed, None, outcome.exception)

    def _fail_dependent(self, record: TaskRecord) -> Sequence[graph.Action]:
        causes = failures(record.depends, places_in_call(self._resolver, record.args, record.kwargs), record.id)
        error = DependencyError(causes, record.id)
        note_failure(record, error, self._retries)  # the retry handler hears of it; nothing is tried again
        if self._hears_all:
            self._memoizer.update_memo_exception(record, error)
        return self._finish(record, States.dep_fail, None, error)

    def _finish_join(self, record: TaskRecord) -> Sequence[graph.Action]:
        causes = failures(futures_of_join(record.joins), places_in_join(record.joins), record.id)
        if causes:
            exception = JoinError(causes, record.id)
            record.outcome = Outcome(None, exception)
            note_failure(record, exception, self._retries, may_retry=False)
            return self._fail(record)
        record.outcome = Outcome(result_of_join(record.joins))
        return self._resolve(record)

    def _set_cancelled(self, record: TaskRecord) -> Sequence[graph.Action]:
        cancelled = CancelledError(f"{record.describe()} was cancelled")
        if record.memoize or self._hears_all:
            self._memoizer.update_memo_exception(record, cancelled)
        return self._finish(record, States.cancelled, None, cancelled)

    def _survive(self, record: TaskRecord, raised: BaseException) -> Sequence[graph.Action]:
        """Something broke in the handling of this task: it fails, and no other is harmed."""
        exception = as_exception(raised, record.describe())
        self._handle(graph.TaskAbandoned(record.id))
        if record.app_fu is None:  # it was final already
            return ()
        if record.app_fu.done():
            return self._handle(self._done(record.id, has_failed(record.app_fu)))
        return self._finish(record, States.failed, None, exception)

    def _finish(
        self, record: TaskRecord, state: States, value: Any, exception: BaseException | None
    ) -> Sequence[graph.Action]:
        """Complete the future, and then release what waits for it."""
        future = record.app_fu
        assert future is not None
        record.status = state
        record.time_returned = datetime.now()
        with self._lock:
            self.final_tasks.by_app[record.func_name][state] += 1
            if self._observers.watching:
                self._observers.finished(record, state, exception)
        try:
            if exception is None:
                has_callbacks = future.end_with(value)
            elif state is States.cancelled:
                has_callbacks = future._set_cancelled()
            else:
                self._note_failure(record, exception)
                has_callbacks = future.end_with_exception(exception)
            if has_callbacks:  # later: dependents and other tasks do not wait for what users do there
                self._thread.call_back(future)
        except Exception:  # the user has completed the future
            logger.exception("completing the future of %s failed", record.describe())
        if self._garbage_collect:
            del self.tasks[record.id]
            record.forget_call()
        record.attempt = None  # what comes of it is too late now
        with self._lock:
            return self._graph.handle(self._done(record.id, exception is not None))

    def _note_failure(self, record: TaskRecord, exception: BaseException) -> None:
        self.final_tasks.note_failure(record)
        if self._closed and type(exception) is DataFlowException:  # see _abandon
            self._failures.note_abandoned(record)
            return
        try:
            note_where(record, exception)
            self._failures.note(record, exception)
        except Exception:  # whatever is noted: its future must end
            logger.exception("the failure of %s could not be noted", record.describe())

    # -- outcomes, on the runner's thread ----------------------------------------------------------------------

    def deliver(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        """Take outcomes from an executor; see ``trellis.core.interfaces.AttemptSink``."""
        self._thread.post(self._on_outcomes, outcomes)

    def begun(self, attempts: Sequence[tuple[Attempt, Begun]]) -> None:
        """Take note that attempts run; see ``trellis.core.interfaces.AttemptSink``."""
        self._thread.post(self._on_begun, attempts)

    def _on_begun(self, attempts: Sequence[tuple[Attempt, Begun]]) -> None:
        for attempt, begun in attempts:
            record: TaskRecord = attempt.key
            with self._lock:  # it may be cancelled at the same time
                if record.attempt is not attempt or record.status is not States.launched:
                    continue  # it has ended meanwhile
                record.begun = begun
                record.status = States.running
                if self._observers.watching:
                    self._observers.begun(record, begun)

    def _on_outcomes(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        for attempt, outcome in outcomes:
            record: TaskRecord = attempt.key
            if self._closed and isinstance(outcome.exception, ExecutorError):
                continue  # its executor was shut down under it: see end()
            try:
                if self._held and self._hold(record, attempt, outcome):
                    continue
                if record.attempt is attempt:
                    self._perform(self._take_outcome(record, outcome))
                # Otherwise it comes too late: the task is cancelled, or it came twice.
            except BaseException as e:  # users' code raised SystemExit: other tasks need this thread
                logger.exception("taking the outcome of %s failed", record.describe())
                self._perform(self._survive(record, e))

    def _take_outcome(self, record: TaskRecord, outcome: Outcome) -> Sequence[graph.Action]:
        record.outcome = outcome
        record.run_info = outcome.run_info
        record.try_time_returned = datetime.now()
        exception = outcome.exception
        if self._observers.watching and (record.join or self._observers.sees_ends):
            with self._lock:  # it may be cancelled at the same time
                self._observers.ended(record, exception, outcome.run_info)
        record.attempt = None
        if exception is not None:
            return self._fail_attempt(record, exception)
        if type(outcome.value) is Unmade and record.app_fu is not None:
            outcome.value = record.app_fu._note_unmade(outcome.value)
        if not record.join:
            with self._lock:
                return self._graph.handle(graph.AttemptSucceeded(record.id))
        try:
            futures = list(dict.fromkeys(futures_of_join(outcome.value, record.func_name)))
        except TypeError as e:
            return self._fail_attempt(record, e, may_retry=False)
        new_futures: list[Future[Any]] = []
        with self._lock:
            if self._graph.phase(record.id) is not graph.Phase.RUNNING:  # cancelled meanwhile
                return ()
            record.joins = outcome.value
            record.status = States.joining
            if self._observers.watching:
                self._observers.changed(record)
            keys, _ = self._open.keys_of(futures, new_futures)
            actions = self._graph.handle(graph.JoinStarted(record.id, keys))
        self._watch(new_futures)
        return actions

    def _fail_attempt(
        self, record: TaskRecord, raised: BaseException, *, may_retry: bool = True
    ) -> Sequence[graph.Action]:
        exception = as_exception(raised, record.describe())
        record.outcome = Outcome(None, exception)
        failure = note_failure(record, exception, self._retries, may_retry=may_retry and not self._closed)
        with self._lock:
            actions = self._graph.handle(failure)
            again = bool(actions) and type(actions[0]) is graph.LaunchAttempt
            if again:
                record.status = States.fail_retryable
                record.try_id += 1
                if self._observers.watching:
                    self._observers.changed(record, exception)
        if again:
            logger.info("%s failed and is tried again: %s", record.describe(), record.fail_history[-1])
        return actions

    def _done(self, key: int, failed: bool) -> graph.DependencyDone:
        """The event that something which tasks may wait for is done."""
        return graph.DependencyDone(key, failed and self._fails_dependents)

    def _on_foreign_done(self, future: Future[Any]) -> None:
        with self._lock:
            key = self._open.done(future)
            actions = self._graph.handle(self._done(key, has_failed(future)))
        self._perform(actions)

    def _on_memo_done(self, waiting: tuple[TaskRecord, Future[Any]]) -> None:
        record, memo = waiting
        if record.status not in IS_FINAL:
            self._perform(self._use_memo(record, memo))

    # -- cancelling, in the user's thread ----------------------------------------------------------------------

    def cancel(self, record: TaskRecord) -> bool:
        """See ``AppFuture.cancel``."""
        with self._lock:
            attempt = record.attempt
            actions = self._graph.handle(graph.CancelRequested(record.id))
            running = bool(actions) and type(actions[0]) is graph.CancelAttempt
            if running and attempt is None:  # not handed over yet, or not again
                actions = self._graph.handle(graph.AttemptCancelled(record.id))
            elif running:
                self._held[record.id] = []
        if running and attempt is not None:
            cancelled = self._executors[record.executor].cancel(attempt)
            with self._lock:
                held = self._held.pop(record.id)
                actions = self._graph.handle(graph.AttemptCancelled(record.id)) if cancelled else ()
            if held and not cancelled:
                self.deliver(held)
        # Dependents fail on the runner's thread, this future here: when cancel() returns, it is cancelled.
        if actions:
            self._thread.post(self._perform, self._set_cancelled(record))
        return record.status is States.cancelled

    def _hold(self, record: TaskRecord, attempt: Attempt, outcome: Outcome) -> bool:
        """Keep back an outcome while cancelling is undecided: an executor may report what cancelling did."""
        with self._lock:
            held = self._held.get(record.id)
            if held is None:
                return False
            held.append((attempt, outcome))
            return True

    # -- the end -----------------------------------------------------------------------------------------------

    def close(self) -> bool:
        """Take no more tasks, and make no more attempts; False when that was so already."""
        with self._lock:
            was_closed, self._closed = self._closed, True
        return not was_closed

    def end(self) -> None:
        """When the executors have ended: work off their last outcomes, and fail what is left."""
        if not self._thread.stop(_LAST_CALLBACKS_S):
            logger.warning("a callback of a future does not end; cleaning up goes on without it")
        left = [record for record in list(self.tasks.values()) if record.status not in IS_FINAL]
        # All at once, past the graph: nothing is launched any more, and there may be a million of them.
        with self._lock:
            self._graph = graph.TaskGraph()
            for record in left:
                self.final_tasks.by_app[record.func_name][States.failed] += 1
                self.final_tasks.note_failure(record)
            if self._garbage_collect:
                self.tasks.clear()
        for record in left:
            if self._observers.watching:
                self._observers.finished(record, States.failed, DataFlowException())
            self._failures.note_abandoned(record)
            give_up(record, self._memoizer, forget=self._garbage_collect)

    def _abandon(self, record: TaskRecord) -> Sequence[graph.Action]:
        record.outcome = Outcome(None, abandoned(record))
        return self._handle(graph.TaskAbandoned(record.id))
