"""The data-flow kernel: a shell around ``TaskGraph`` with its futures, executors, memos and one thread.

What happens where:

* A call of an app runs in the user's thread down to ``executor.launch`` when nothing is in its way.
* Outcomes come from executors' threads into ``deliver``, which only posts them to the kernel's thread. There futures
  complete (with users' callbacks) and dependents are launched.
* The graph is asked under one lock, and its actions are performed outside of it. A future gets its result first; then,
  under the lock, its dependents are released; whoever registers a dependency looks under the same lock whether the
  future is done. So no dependent is forgotten, and none is released too early.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from trellis.app.walltime import WithWalltime
from trellis.core.interfaces import Attempt, Executor, ExecutorContext, Outcome
from trellis.dataflow import graph
from trellis.dataflow.arguments import (
    are_plain,
    failures,
    futures_of_join,
    gather_futures,
    has_failed,
    unwrap_arguments,
)
from trellis.dataflow.completion import CompletionThread
from trellis.dataflow.dependency_resolvers import DEEP_DEPENDENCY_RESOLVER
from trellis.dataflow.exits import clean_up_at_exit, forget
from trellis.dataflow.lifting import GETATTR, GETITEM
from trellis.dataflow.rundirs import make_rundir
from trellis.dataflow.spec import SPECIAL, STAGING_INHIBIT, AppSpec
from trellis.dataflow.states import FINAL_STATES, States
from trellis.dataflow.taskrecord import TaskRecord
from trellis.errors import ConfigurationError, DataFlowException, DependencyError, JoinError
from trellis.executors.adapter import adapt
from trellis.executors.threads import ThreadPoolExecutor
from trellis.futures import AppFuture

if TYPE_CHECKING:
    from trellis.config import Config
    from trellis.dataflow.memoization import Memoizer
    from trellis.staging.data_manager import DataManager

logger = logging.getLogger(__name__)

INTERNAL_LABEL = "_parsl_internal"  # the name that Parsl's users write

_NEVER_RETRY = float("inf")

# How long cleanup() waits for users' callbacks that are still running on the kernel's thread.
_LAST_CALLBACKS_S = 10.0


class DataFlowKernel:
    """Runs the tasks of a program on the executors of a ``Config``.

    Usually made by ``trellis.load(config)``. Ends with ``cleanup()``, or as a context manager as ``exit_mode`` says.

    Raises:
        ConfigurationError: two executors have the same label.
        OSError: the run directory cannot be made.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self.run_dir = make_rundir(config.run_dir)
        self.run_id = str(uuid.uuid4())
        self.cleanup_called = False
        self.tasks: dict[int, TaskRecord] = {}
        self.executors: dict[str, Any] = {}
        self.monitoring = None
        self._undo_logging = config.start_logging(self.run_dir)
        self._resolver = config.dependency_resolver or DEEP_DEPENDENCY_RESOLVER
        self._labels: tuple[str, ...] = ()  # what executors="all" stands for
        self._task_ids = itertools.count()
        self._foreign_keys = itertools.count(-1, -1)
        self._lock = threading.Lock()  # over the graph and the four below
        self._graph = graph.TaskGraph(config.retries)
        self._foreign: dict[Future[Any], int] = {}  # futures from elsewhere that tasks wait for
        self._held: dict[int, list[tuple[Attempt, Outcome]]] = {}  # outcomes of tasks that are just being cancelled
        self._final_counts = dict.fromkeys(FINAL_STATES, 0)
        self._task_count = 0
        self._data_manager: DataManager | None = None
        self._performers: dict[type, Callable[[TaskRecord], Sequence[graph.Action]]] = {
            graph.LaunchAttempt: self._launch,
            graph.ResolveFuture: self._resolve,
            graph.FailFuture: self._fail,
            graph.FailDependent: self._fail_dependent,
            graph.FinishJoin: self._finish_join,
            graph.CancelFuture: self._set_cancelled,
        }
        self._thread = CompletionThread(f"trellis-kernel-{os.path.basename(self.run_dir)}")
        self.memoizer: Memoizer = config.make_memoizer()
        logger.info("run %s starts in %s", self.run_id, self.run_dir)
        try:
            self.memoizer.start(run_dir=self.run_dir, config_run_dir=config.run_dir)
            internal = ThreadPoolExecutor(INTERNAL_LABEL, config.internal_tasks_max_threads)
            self.add_executors([internal, *config.executors])
        except BaseException:
            self._shut_down_executors()
            self._undo_logging()
            raise
        self._thread.start()
        clean_up_at_exit(self)

    @property
    def config(self) -> Config:
        return self._config

    @property
    def task_count(self) -> int:
        """How many tasks were submitted."""
        return self._task_count

    @property
    def task_state_counts(self) -> dict[States, int]:
        """How many tasks are in which state; every state is there."""
        counts = {**dict.fromkeys(States, 0), **self._final_counts}
        for record in list(self.tasks.values()):
            if record.status not in self._final_counts:
                counts[record.status] += 1
        return counts

    @property
    def data_manager(self) -> DataManager:
        """Moves files for tasks; made when it is first needed."""
        if self._data_manager is None:
            from trellis.staging.data_manager import DataManager

            self._data_manager = DataManager(self)
        return self._data_manager

    def add_executors(self, executors: Iterable[Any]) -> None:
        """Start executors, and give them tasks from now on.

        Raises:
            ConfigurationError: a label is in use already.
        """
        config = self._config
        context = ExecutorContext(
            run_dir=self.run_dir,
            run_id=self.run_id,
            strategy=config.strategy,
            strategy_period_s=config.strategy_period,
            max_idletime_s=config.max_idletime,
            notify=_notify,
        )
        for given in executors:
            executor: Executor = adapt(given)
            if executor.label in self.executors:
                raise ConfigurationError(f"there are two executors with the label {executor.label!r}")
            self.executors[executor.label] = executor  # first: one that fails in start() may have begun things
            executor.start(context)
            self._labels = tuple(label for label in self.executors if label != INTERNAL_LABEL)

    # -- submission, in the user's thread ----------------------------------------------------------------------

    def submit(
        self,
        func: Callable[..., Any],
        app_args: Sequence[Any],
        executors: str | Sequence[str] = "all",
        cache: bool = False,
        ignore_for_cache: Sequence[str] | None = None,
        app_kwargs: dict[str, Any] | None = None,
        join: bool = False,
    ) -> AppFuture[Any]:
        """Run a function as a task, without an app around it.

        Args:
            func: what to run.
            app_args: its arguments; futures among them are waited for.
            executors: a label, a list of labels to choose from, or ``"all"``.
            cache: look for a memo first.
            ignore_for_cache: keyword arguments that do not matter to the memo.
            app_kwargs: its keyword arguments.
            join: the function gives a future or a list of futures, whose results count.

        Raises:
            DataFlowException: the kernel was cleaned up.
        """
        spec = AppSpec(func, executors=executors, cache=cache, ignore_for_cache=ignore_for_cache or (), join=join)
        return self.submit_app(spec, app_args, app_kwargs or {})

    def submit_app(self, spec: AppSpec, args: Sequence[Any], kwargs: dict[str, Any]) -> AppFuture[Any]:
        """Make a task of one call of an app; see ``submit``."""
        if self.cleanup_called:
            raise DataFlowException(
                f"{spec.name} cannot be submitted: the kernel of run {self.run_dir} was cleaned up; call trellis.load()"
            )
        if spec.defaults or len(args) > spec.first_special:
            args, kwargs = spec.bind(args, kwargs)
        record = TaskRecord(self, next(self._task_ids), spec, args, kwargs)
        future: AppFuture[Any] = AppFuture(record)
        record.app_fu = future
        labels = self._labels if spec.executors == "all" else spec.executors
        if isinstance(labels, str):
            record.executor = labels
        else:
            record.executor = labels[0] if len(labels) == 1 else random.choice(labels) if labels else "all"
        plain = are_plain(args, kwargs)
        broken: Exception | None = None
        if not plain or not SPECIAL.isdisjoint(kwargs) or STAGING_INHIBIT in kwargs:
            try:
                self._prepare(record)
            except Exception as e:  # a fault of this call: its future says so
                broken = e
        self.tasks[record.id] = record
        new_keys: list[tuple[Future[Any], int]] = []
        keys: Sequence[int] = ()
        failed = False
        with self._lock:
            self._task_count += 1
            if self.cleanup_called:  # since we looked: cleanup() may have missed this task
                broken = self._cleaned_up(record)
            if record.depends and broken is None:
                keys, failed = self._open_keys(record.depends, new_keys)
            actions = self._graph.handle(graph.TaskSubmitted(record.id, keys, failed))
            if broken is not None:
                record.outcome = Outcome(None, broken)
                actions = self._graph.handle(graph.TaskAbandoned(record.id))
        if actions:
            self._perform(actions)
        self._watch(new_keys)
        return future

    def _prepare(self, record: TaskRecord) -> None:
        """Work out what the special keyword arguments, files and futures of a call mean."""
        kwargs = record.kwargs
        if kwargs.get("parsl_resource_specification"):
            record.resource_specification = kwargs["parsl_resource_specification"]
        future = record.app_fu
        assert future is not None
        if "stdout" in kwargs or "stderr" in kwargs:
            self._name_streams(record)
            kwargs = record.kwargs
            future._streams = (kwargs.get("stdout"), kwargs.get("stderr"))
        # Imported where it is needed first: programs without files never pay for staging.
        from trellis.dataflow.file_staging import involves_files, stage_inputs, stage_outputs

        args, func = record.args, record.spec.func
        inhibited = STAGING_INHIBIT in kwargs
        if inhibited:
            kwargs = record.kwargs = {name: value for name, value in kwargs.items() if name != STAGING_INHIBIT}
        if involves_files(args, kwargs):
            manager = None if inhibited else self.data_manager
            if manager is not None:
                args, kwargs, func = stage_inputs(manager, record.executor, args, kwargs, func)
            kwargs, func = stage_outputs(manager, record.executor, kwargs, func, future)
            record.args, record.kwargs, record.func = args, kwargs, func
        record.depends = gather_futures(self._resolver, args, kwargs)

    def _name_streams(self, record: TaskRecord) -> None:
        from trellis.dataflow.autolog import AUTO_LOGNAME, autolog_path

        for name in ("stdout", "stderr"):
            value = record.kwargs.get(name)
            if type(value) is int and value == AUTO_LOGNAME:
                path = autolog_path(record, name, self.run_dir, self._config.std_autopath)
                record.kwargs = {**record.kwargs, name: path}
                record.ignore_for_cache = (*record.ignore_for_cache, name)

    def _open_keys(
        self, futures: Sequence[Future[Any]], new_keys: list[tuple[Future[Any], int]]
    ) -> tuple[list[int], bool]:
        """Keys of the futures that are not done, and whether one that is done has failed. Under the lock.

        Futures from elsewhere that are seen for the first time are added to ``new_keys``, for ``_watch``.
        """
        keys: list[int] = []
        failed = False
        for future in futures:
            if future.done():
                failed = failed or has_failed(future)
            elif type(future) is AppFuture and future.task_record.dfk is self:
                keys.append(future.task_record.id)
            else:
                key = self._foreign.get(future)
                if key is None:
                    key = self._foreign[future] = next(self._foreign_keys)
                    new_keys.append((future, key))
                keys.append(key)
        return keys, failed

    def _watch(self, new_keys: Sequence[tuple[Future[Any], int]]) -> None:
        for future, _ in new_keys:
            future.add_done_callback(lambda done: self._thread.post(self._on_foreign_done, done))

    def lift_getitem(self, future: AppFuture[Any], key: Any) -> AppFuture[Any]:
        """A task that gives ``result[key]`` of a future."""
        return self.submit_app(GETITEM, (future, key), {})

    def lift_getattr(self, future: AppFuture[Any], name: str) -> AppFuture[Any]:
        """A task that gives ``result.name`` of a future."""
        return self.submit_app(GETATTR, (future, name), {})

    # -- performing actions ------------------------------------------------------------------------------------

    def _perform(self, actions: Sequence[graph.Action]) -> None:
        # Level by level and without recursion: a failure may run down a chain of any length.
        while actions:
            following: list[graph.Action] = []
            for action in actions:
                record = self.tasks.get(action.task_id)
                if record is None:  # cancelled or abandoned between decision and deed
                    continue
                try:
                    more = self._performers[type(action)](record)
                except Exception as e:
                    logger.exception("%s for %s failed", action, record.describe())
                    more = self._survive(record, e)
                if more:
                    following.extend(more)
            actions = following

    def _handle(self, event: graph.Event) -> Sequence[graph.Action]:
        with self._lock:
            return self._graph.handle(event)

    def _launch(self, record: TaskRecord) -> Sequence[graph.Action]:
        if self.cleanup_called:
            record.outcome = Outcome(None, self._cleaned_up(record))
            return self._handle(graph.TaskAbandoned(record.id))
        try:
            if record.depends and not record.resolved:
                record.args, record.kwargs = unwrap_arguments(self._resolver, record.args, record.kwargs)
                record.resolved = True
            if record.memoize:
                memo = self.memoizer.check_memo(record)
                if memo is not None:
                    return self._use_memo(record, memo)
            executor, attempt = self._make_attempt(record)
        except Exception as e:
            record.outcome = Outcome(None, e)
            return self._count_failure(record, e, _NEVER_RETRY)
        record.try_time_launched = datetime.now()
        record.attempt = attempt
        # cancel_task() looks at these two in the other order, so one of us sees the other.
        if record.status is States.cancelled:
            return ()
        record.status = States.launched
        executor.launch(attempt)
        return ()

    def _make_attempt(self, record: TaskRecord) -> tuple[Executor, Attempt]:
        executor: Executor | None = self.executors.get(record.executor)
        if executor is None:
            raise ValueError(
                f"{record.describe()} asks for executor {record.executor!r}, "
                f"but the executors are {', '.join(map(repr, self._labels)) or 'none'}"
            )
        spec, args, kwargs = record.spec, record.args, record.kwargs
        func = record.func
        assert func is not None
        resources = record.resource_specification
        validate = getattr(executor, "validate_resource_spec", None)
        if validate is not None:
            validate(resources)
        walltime_s = None
        if kwargs:
            walltime_s = None if spec.is_bash else kwargs.get("walltime")
            kwargs = spec.passed_kwargs(kwargs)
            if walltime_s is not None and not executor.enforces_walltime:
                func = spec.with_walltime if func is spec.func else WithWalltime(func)
                args, walltime_s = (walltime_s, *args), None
        attempt = Attempt(
            func,
            args,
            kwargs,
            sink=self,
            key=record,
            name=record.func_name,
            resources=resources or None,
            walltime_s=walltime_s,
        )
        return executor, attempt

    def _use_memo(self, record: TaskRecord, memo: Future[Any]) -> Sequence[graph.Action]:
        if not memo.done():  # the same call is going on elsewhere: its end will be this task's
            memo.add_done_callback(lambda _: self._thread.post(self._on_memo_done, (record, memo)))
            return ()
        exception = CancelledError() if memo.cancelled() else memo.exception()
        if isinstance(exception, CancelledError):
            return (graph.LaunchAttempt(record.id),)  # look again, there is no such call any more
        record.from_memo = True
        record.outcome = Outcome(None if exception else memo.result(), exception)
        if exception is not None:
            return self._count_failure(record, exception, _NEVER_RETRY)
        return self._handle(graph.AttemptSucceeded(record.id))

    def _resolve(self, record: TaskRecord) -> Sequence[graph.Action]:
        outcome = record.outcome
        assert outcome is not None
        if record.from_memo:
            return self._finish(record, States.memo_done, outcome.value, None)
        if record.memoize:
            self.memoizer.update_memo_result(record, outcome.value)
        return self._finish(record, States.exec_done, outcome.value, None)

    def _fail(self, record: TaskRecord) -> Sequence[graph.Action]:
        outcome = record.outcome
        assert outcome is not None
        assert outcome.exception is not None
        if record.memoize and not record.from_memo:
            self.memoizer.update_memo_exception(record, outcome.exception)
        return self._finish(record, States.failed, None, outcome.exception)

    def _fail_dependent(self, record: TaskRecord) -> Sequence[graph.Action]:
        return self._finish(record, States.dep_fail, None, DependencyError(failures(record.depends), record.id))

    def _finish_join(self, record: TaskRecord) -> Sequence[graph.Action]:
        joins = record.joins
        is_one = isinstance(joins, Future)
        futures = (joins,) if is_one else joins
        causes = failures(futures)
        if causes:
            exception = JoinError(causes, record.id)
            record.outcome = Outcome(None, exception)
            record.fail_count += 1
            record.fail_history.append(repr(exception))
            return self._fail(record)
        record.outcome = Outcome(joins.result() if is_one else [future.result() for future in futures])
        return self._resolve(record)

    def _set_cancelled(self, record: TaskRecord) -> Sequence[graph.Action]:
        exception = CancelledError(f"{record.describe()} was cancelled")
        if record.memoize:
            self.memoizer.update_memo_exception(record, exception)
        return self._finish(record, States.cancelled, None, exception)

    def _survive(self, record: TaskRecord, exception: Exception) -> Sequence[graph.Action]:
        """Something broke in the handling of this task: it fails, and no other is harmed."""
        self._handle(graph.TaskAbandoned(record.id))
        if record.app_fu is None:  # it was final already
            return ()
        if record.app_fu.done():
            return self._handle(graph.DependencyDone(record.id, has_failed(record.app_fu)))
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
            self._final_counts[state] += 1
        try:
            if exception is None:
                future.set_result(value)
            elif state is States.cancelled:
                future._set_cancelled()
            else:
                future.set_exception(exception)
        except BaseException:  # a user's callback raised SystemExit, or completed the future itself
            logger.exception("completing the future of %s failed", record.describe())
        if self._config.garbage_collect:
            del self.tasks[record.id]
            record.forget_call()
        return self._handle(graph.DependencyDone(record.id, exception is not None))

    # -- outcomes, on the kernel's thread ----------------------------------------------------------------------

    def deliver(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        """Take outcomes from an executor; see ``trellis.core.interfaces.AttemptSink``."""
        self._thread.post(self._on_outcomes, outcomes)

    def _on_outcomes(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        for attempt, outcome in outcomes:
            record: TaskRecord = attempt.key
            try:
                if self._held and self._hold(record, attempt, outcome):
                    continue
                if record.attempt is attempt:
                    self._perform(self._take_outcome(record, outcome))
                # Otherwise it comes too late: the task is cancelled, or it came twice.
            except Exception as e:
                logger.exception("taking the outcome of %s failed", record.describe())
                self._perform(self._survive(record, e))

    def _take_outcome(self, record: TaskRecord, outcome: Outcome) -> Sequence[graph.Action]:
        record.attempt = None
        record.outcome = outcome
        record.run_info = outcome.run_info
        record.try_time_returned = datetime.now()
        exception = outcome.exception
        if exception is not None:
            return self._count_failure(record, exception)
        if not record.join:
            return self._handle(graph.AttemptSucceeded(record.id))
        try:
            futures = list(dict.fromkeys(futures_of_join(outcome.value)))
        except TypeError as e:
            record.outcome = Outcome(None, e)
            return self._count_failure(record, e, _NEVER_RETRY)
        record.joins = outcome.value
        record.status = States.joining
        new_keys: list[tuple[Future[Any], int]] = []
        with self._lock:
            keys, _ = self._open_keys(futures, new_keys)
            actions = self._graph.handle(graph.JoinStarted(record.id, keys))
        self._watch(new_keys)
        return actions

    def _count_failure(
        self, record: TaskRecord, exception: BaseException, cost: float | None = None
    ) -> Sequence[graph.Action]:
        """An attempt has failed; unless a cost is given, the user's retry handler says what that costs."""
        record.fail_count += 1
        record.fail_history.append(repr(exception))
        if cost is None:
            cost = 1.0
            if self.cleanup_called:
                cost = _NEVER_RETRY
            elif self._config.retry_handler is not None:
                try:
                    cost = self._config.retry_handler(exception, record)  # type: ignore[arg-type]
                except Exception as e:
                    record.outcome = Outcome(None, e)
                    cost = _NEVER_RETRY
        record.fail_cost += cost
        actions = self._handle(graph.AttemptFailed(record.id, cost))
        if actions and type(actions[0]) is graph.LaunchAttempt:
            record.status = States.fail_retryable
            record.try_id += 1
            logger.info("%s failed and is tried again: %r", record.describe(), exception)
        return actions

    def _on_foreign_done(self, future: Future[Any]) -> None:
        with self._lock:
            key = self._foreign.pop(future)
            actions = self._graph.handle(graph.DependencyDone(key, has_failed(future)))
        self._perform(actions)

    def _on_memo_done(self, waiting: tuple[TaskRecord, Future[Any]]) -> None:
        record, memo = waiting
        if record.status not in self._final_counts:
            self._perform(self._use_memo(record, memo))

    # -- cancelling, in the user's thread ----------------------------------------------------------------------

    def cancel_task(self, record: TaskRecord) -> bool:
        """See ``AppFuture.cancel``."""
        attempt = record.attempt
        with self._lock:
            actions = self._graph.handle(graph.CancelRequested(record.id))
            if not actions:
                return record.status is States.cancelled
            running = type(actions[0]) is graph.CancelAttempt
            if running and attempt is not None:
                self._held[record.id] = []
        if running:
            # Without an attempt it has not been handed over; _launch looks at the status when it has done so.
            if attempt is not None and not self._cancel_attempt(record, attempt):
                return False
            actions = self._handle(graph.AttemptCancelled(record.id))
        self._held.pop(record.id, None)
        # Dependents fail on the kernel's thread, this future here: when cancel() returns, it is cancelled.
        for action in actions:
            self._thread.post(self._perform, self._performers[type(action)](record))
        return bool(actions)

    def _cancel_attempt(self, record: TaskRecord, attempt: Attempt) -> bool:
        executor = self.executors.get(record.executor)
        if executor is not None and executor.cancel(attempt):
            return True
        with self._lock:
            held = self._held.pop(record.id, ())
        if held:
            self.deliver(held)
        return False

    def _hold(self, record: TaskRecord, attempt: Attempt, outcome: Outcome) -> bool:
        """Keep back an outcome while cancelling is undecided: an executor may report what cancelling did."""
        with self._lock:
            held = self._held.get(record.id)
            if held is None:
                return False
            held.append((attempt, outcome))
            return True

    # -- the end -----------------------------------------------------------------------------------------------

    def wait_for_current_tasks(self) -> None:
        """Return when all tasks that exist now are final. Their failures are not raised."""
        for record in list(self.tasks.values()):
            future = record.app_fu
            if future is not None and record.status is not States.cancelled:
                try:
                    future.exception()
                except CancelledError:
                    continue

    def checkpoint(self, tasks: Sequence[TaskRecord] | None = None) -> str:
        """Write results of cached apps to disk now; gives the directory.

        Raises:
            ConfigurationError: the memoizer of this run cannot write checkpoints.
        """
        write = getattr(self.memoizer, "checkpoint", None)
        if write is None:
            raise ConfigurationError(f"{type(self.memoizer).__name__} cannot write checkpoints")
        return str(write(tasks))

    def log_task_states(self) -> None:
        """Write the number of tasks in each state to the log."""
        counts = self.task_state_counts
        logger.info("tasks: %s", ", ".join(f"{count} {state.name}" for state, count in counts.items() if count))

    def cleanup(self) -> None:
        """End the run: executors stop, and futures that are not done fail. A second call does nothing."""
        with self._lock:
            if self.cleanup_called:
                return
            self.cleanup_called = True
        forget(self)
        logger.info("run %s is cleaned up", self.run_id)
        self._shut_down_executors()
        if not self._thread.stop(_LAST_CALLBACKS_S):
            logger.warning("a callback of a future does not end; cleaning up goes on without it")
        for record in list(self.tasks.values()):
            if record.status not in self._final_counts:
                record.outcome = Outcome(None, self._cleaned_up(record))
                self._perform(self._handle(graph.TaskAbandoned(record.id)))
        try:
            self.memoizer.close()
        except Exception:
            logger.exception("closing the memoizer failed")
        self.log_task_states()
        self._undo_logging()

    def _shut_down_executors(self) -> None:
        for executor in reversed(self.executors.values()):
            try:
                executor.shutdown()
            except Exception:
                logger.exception("shutting down executor %s failed", executor.label)

    def _cleaned_up(self, record: TaskRecord) -> DataFlowException:
        return DataFlowException(f"{record.describe()} was still {record.status.name} when its kernel was cleaned up")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: object, traceback: object) -> None:
        mode = self._config.exit_mode
        if mode == "skip":
            return
        if mode == "wait" and exc_type is None:
            self.wait_for_current_tasks()
        self.cleanup()

    def __repr__(self) -> str:
        return f"<DataFlowKernel of run {self.run_dir}>"


def _notify(text: str) -> None:
    """Tell the user at once: what executors say here needs eyes, not a log file."""
    logger.warning("%s", text)
    print(f"trellis: {text}", file=sys.stderr)
