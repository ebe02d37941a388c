"""The data-flow kernel: brings executors, memos, staging and the log of a run together, and ends them.

How tasks run is in ``trellis.dataflow.runner``, what a call means in ``trellis.dataflow.calls``.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
import os
import platform
import random
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from trellis.core.interfaces import INTERNAL_EXECUTOR, Executor, ExecutorContext
from trellis.core.kinds import Instance
from trellis.core.places import explained
from trellis.core.validation import check, check_type
from trellis.core.values import Number
from trellis.core.whereabouts import in_forked_child
from trellis.dataflow.attempts import RetryPolicy
from trellis.dataflow.calls import autolog_path, is_simple_call, prepare
from trellis.dataflow.dependency_resolvers import DEEP_DEPENDENCY_RESOLVER, DependencyResolver, is_users
from trellis.dataflow.exits import clean_up_at_exit, forget
from trellis.dataflow.failure_log import FailureLog
from trellis.dataflow.final_tasks import FinalTasks
from trellis.dataflow.left_behind import LeftBehind
from trellis.dataflow.observers import Observer, Observers
from trellis.dataflow.run_facts import facts_of_run
from trellis.dataflow.rundirs import make_rundir
from trellis.dataflow.runner import TaskRunner
from trellis.dataflow.spec import GETATTR, GETITEM, AppSpec
from trellis.dataflow.states import States
from trellis.dataflow.task_log import TaskLog, is_listened_to
from trellis.dataflow.taskrecord import TaskRecord
from trellis.errors import ConfigurationError, DataFlowException, ParameterValueError
from trellis.executors.adapter import adapt, bypassed, start, stop
from trellis.executors.threads import ThreadPoolExecutor
from trellis.futures import AppFuture
from trellis.version import VERSION
from trellis.watching.run_watch import RunWatch

if TYPE_CHECKING:
    from trellis.config import Config
    from trellis.dataflow.notes import TaskNotes
    from trellis.staging.base import DataManager
    from trellis.watching.snapshot import Explanation, RunStatus

logger = logging.getLogger(__name__)

_TIMEOUT = Number(above=0)
_OBSERVER = Instance("an observer", methods=("observe",))


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
        self.time_began = datetime.now()
        self.time_completed: datetime | None = None  # when cleaning up has begun
        self.workflow_name = os.path.basename(sys.argv[0]) if sys.argv else ""  # of the program
        self.workflow_version = str(self.time_began.replace(microsecond=0))
        self.cleanup_called = False
        self.when_ended: Callable[[DataFlowKernel], object] | None = None  # called once, at the end of cleanup()
        self.executors: dict[str, Any] = {}  # as they were given; the runner has them as it calls them
        self._adapted: dict[str, Executor] = {}
        self.resolver = config.dependency_resolver or DEEP_DEPENDENCY_RESOLVER
        self._resolver_is_users = is_users(self.resolver)
        self.memoizer = config.make_memoizer()
        self.monitoring = hub = config.monitoring
        if hub is not None:
            self.workflow_name = hub.workflow_name or self.workflow_name
            self.workflow_version = hub.workflow_version or self.workflow_version
        self._data_manager: DataManager | None = None
        self._job_status_poller: Any = None
        self._labels: tuple[str, ...] = ()  # what executors="all" stands for
        self._task_ids = itertools.count()
        self._undo_logging = config.start_logging(self.run_dir)
        self._observers = Observers(_notify)
        self.notify = _notify
        self.log_file = config.log_file(self.run_dir)
        self.failures = FailureLog()
        self.left_behind = False  # in a forked child of the process that made it
        self._runner: TaskRunner | LeftBehind = TaskRunner(
            f"trellis-kernel-{os.path.basename(self.run_dir)}",
            self._adapted,
            self.memoizer,
            resolver=self.resolver,
            retries=RetryPolicy(config.retries, config.retry_handler, config.infrastructure_retries),
            garbage_collect=config.garbage_collect,
            observers=self._observers,
            failures=self.failures,
        )
        if is_listened_to():
            self._observers.add(TaskLog(self.run_id))
        of_project = f" of {config.project_name}" if config.project_name else ""
        self._log_run("run %s%s starts in %s", self.run_id, of_project, self.run_dir)
        self._log_facts()
        self._watch = RunWatch(self)
        self._watch.begin()
        try:
            self.memoizer.start(run_dir=self.run_dir, config_run_dir=config.run_dir)
            self._tell_of_bypassed_memoizer()
            internal = ThreadPoolExecutor(INTERNAL_EXECUTOR, config.internal_tasks_max_threads)
            self.add_executors([internal, *config.executors])
        except OSError as error:
            self.cleanup()
            raise explained(error, self.run_dir) from error
        except BaseException:
            self.cleanup()
            raise
        clean_up_at_exit(self)

    @property
    def config(self) -> Config:
        return self._config

    @property
    def checkpoint_mode(self) -> str | None:
        """When results are written to disk by themselves; None: they are not, or the memoizer is a user's own."""
        mode: str | None = getattr(self.memoizer, "checkpoint_mode", None)
        return mode

    @property
    def dependency_resolver(self) -> DependencyResolver:
        """How futures are found in arguments."""
        return self.resolver

    @property
    def log_config(self) -> Any:
        """The way of logging for all processes; None: there is a log for each as usual."""
        return self._config.log_config

    def default_std_autopath(self, taskrecord: TaskRecord, kw: str) -> str:
        """The file for ``kw``, ``"stdout"`` or ``"stderr"``, of a task with ``AUTO_LOGNAME``."""
        return str(autolog_path(taskrecord, kw, self.run_dir, None))

    @property
    def task_count(self) -> int:
        """How many tasks were submitted."""
        return self._runner.task_count

    @property
    def tasks(self) -> Mapping[int, TaskRecord]:
        """The records of tasks by id; without those that are final, if ``Config.garbage_collect``."""
        return self._runner.tasks

    @property
    def task_state_counts(self) -> dict[States, int]:
        """How many tasks are in which state; every state is there."""
        return self._runner.state_counts

    @property
    def final_tasks(self) -> FinalTasks:
        """What is left of tasks that have ended."""
        return self._runner.final_tasks

    @property
    def running_executors(self) -> Mapping[str, Executor]:
        """The executors as the kernel calls them: those of other people are adapted."""
        return self._adapted

    @property
    def data_manager(self) -> DataManager:
        """Moves files for tasks; made when it is first needed."""
        if self._data_manager is None:
            from trellis.staging.base import DataManager
            from trellis.staging.default import default_staging

            self._data_manager = DataManager(self, default_staging)
        return self._data_manager

    def _tell_of_bypassed_memoizer(self) -> None:
        from trellis.dataflow.memoization import bypassed  # the configuration has loaded it by now

        if warning := bypassed(self.memoizer):
            _notify(warning)

    @property
    def job_status_poller(self) -> Any:
        """Parsl's poller, for programs that ask it; the executors look after their blocks without it."""
        if self._job_status_poller is None:
            # By its name: a kernel knows nothing of blocks.
            module = importlib.import_module("trellis.jobs.job_status_poller")
            config = self._config
            self._job_status_poller = module.JobStatusPoller(
                strategy=config.strategy, max_idletime=config.max_idletime, strategy_period=config.strategy_period
            )
            scaling = [executor for executor in self.executors.values() if hasattr(executor, "status_polling_interval")]
            self._job_status_poller.add_executors(scaling)
        return self._job_status_poller

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
            lost_block_timeout_s=config.lost_block_timeout,
            log_config=config.log_config,
            measurements=self._watch.measurements,
            notify=_notify,
        )
        for given in executors:
            executor: Executor = adapt(given)
            if executor.label in self.executors:
                raise ConfigurationError(f"there are two executors with the label {executor.label!r}")
            # First: one that fails in start() may have begun things.
            self.executors[executor.label], self._adapted[executor.label] = given, executor
            warning = bypassed(given)
            if warning:
                _notify(warning)
            kind = f"{type(given).__module__}.{type(given).__qualname__}"
            about = {"parsl.dfk": self.run_id, "parsl.executor.label": executor.label, "parsl.executor.type": kind}
            logger.info("executor %s of type %s", executor.label, kind, extra=about)
            start(given, context)
            self._labels = tuple(label for label in self.executors if label != INTERNAL_EXECUTOR)

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
        if spec.defaults or len(args) > spec.first_special:
            args, kwargs = spec.bind(args, kwargs)
        record = TaskRecord(self, next(self._task_ids), spec, args, kwargs)
        future: AppFuture[Any] = AppFuture(record)
        record.app_fu = future
        record.executor = self._choose_executor(spec)
        broken: Exception | None = None
        if self._resolver_is_users or not is_simple_call(args, kwargs):
            try:
                prepare(record, future, self)
            except Exception as e:  # a fault of this call: its future says so
                broken = e
        self._runner.submit(record, broken)
        return future

    def _choose_executor(self, spec: AppSpec) -> str:
        labels = spec.executors
        if labels == "all":
            labels = self._labels
        elif isinstance(labels, str):
            return labels
        if len(labels) == 1:
            return labels[0]
        return random.choice(labels) if labels else "all"

    def lift_getitem(self, future: AppFuture[Any], key: Any) -> AppFuture[Any]:
        """A task that gives ``result[key]`` of a future."""
        return self.submit_app(GETITEM, (future, key), {})

    def lift_getattr(self, future: AppFuture[Any], name: str) -> AppFuture[Any]:
        """A task that gives ``result.name`` of a future."""
        return self.submit_app(GETATTR, (future, name), {})

    def look_after_callbacks(self) -> None:
        """Somebody waits: a callback that takes too long shall hold nobody up."""
        self._runner.look_after_callbacks()

    def cancel_task(self, record: TaskRecord) -> bool:
        """See ``AppFuture.cancel``."""
        return self._runner.cancel(record)

    # -- the run -----------------------------------------------------------------------------------------------

    def add_observer(self, observer: Observer) -> None:
        """Have ``observer.observe(batch)`` told what becomes of tasks from now on; see ``trellis.dataflow.observers``.

        Raises:
            ParameterTypeError: it has no such method.
            DataFlowException: the kernel was cleaned up.
        """
        check("add_observer", "observer", observer, _OBSERVER)
        if self.cleanup_called or self.left_behind:
            raise DataFlowException("there is nothing to observe: the kernel was cleaned up, or is another process's")
        self._observers.add(observer)

    def record_tasks(self, notes: TaskNotes | None) -> None:
        """Have all that becomes of tasks noted for a record of the run; for ``trellis.monitoring``."""
        self._observers.record(notes)

    def remove_observer(self, observer: Observer) -> None:
        """Tell an observer no more, when it has been told all that has happened until now."""
        self._observers.remove(observer)

    def status(self, timeout_s: float = 1.0) -> RunStatus:
        """How the run is now: tasks by app and state, rates, and what executors say; see ``trellis.watching.snapshot``.

        Args:
            timeout_s: what executors do not tell within this time is left out.

        Raises:
            DataFlowException: this is a forked child of the process that has the run.
        """
        if self.left_behind:
            raise DataFlowException(in_forked_child("the status of the run cannot be had here"))
        return self._watch.status(check("status", "timeout_s", timeout_s, _TIMEOUT))

    def explain(self, task: int | AppFuture[Any] | TaskRecord, timeout_s: float = 1.0) -> Explanation:
        """Why a task is where it is: what it waits for, or why its executor does not run it.

        Args:
            task: its number, future or record.
            timeout_s: what executors do not tell within this time is left out.

        Raises:
            ParameterValueError: there is no such task, or nothing is kept of it.
            DataFlowException: this is a forked child of the process that has the run.
        """
        if self.left_behind:
            raise DataFlowException(in_forked_child("tasks cannot be explained here"))
        check_type("explain", "task", task, int, AppFuture, TaskRecord)
        timeout_s = check("explain", "timeout_s", timeout_s, _TIMEOUT)
        record: Any = task.task_record if isinstance(task, AppFuture) else task
        if isinstance(record, int):
            record = self._watch.find(record)
        elif record.dfk is not self:
            raise ParameterValueError(
                f"{record.describe()} is a task of another run, {record.dfk.run_dir}: ask that one"
            )
        return self._watch.explain(record, timeout_s)

    def tell(self, record: TaskRecord) -> str:
        """What a task is doing, in a few words, without asking its executor."""
        return self._watch.tell(record)

    def wait_for_current_tasks(self) -> None:
        """Return when all tasks that exist now are final. Their failures are not raised."""
        for record in list(self.tasks.values()):
            future = record.app_fu
            if future is not None and record.status is not States.cancelled:
                with contextlib.suppress(CancelledError):
                    future._wait(None)  # its exception is left for who asks for it

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

    def _log_run(self, message: str, *values: object) -> None:
        """Log what becomes of the run, and what it is, for programs that read the log."""
        if logger.isEnabledFor(logging.INFO):
            counts = self.task_state_counts
            about = {
                "run_id": self.run_id,
                "rundir": self.run_dir,
                "workflow_name": self.workflow_name,
                "workflow_version": self.workflow_version,
                "time_began": str(self.time_began),
                "time_completed": None if self.time_completed is None else str(self.time_completed),
                "tasks_completed_count": sum(counts[state] for state in (States.exec_done, States.memo_done)),
                "tasks_failed_count": sum(counts[state] for state in (States.failed, States.dep_fail)),
                "host": platform.node(),
                "python_version": platform.python_version(),
                "parsl_version": VERSION,
            }
            extra = {f"parsl.workflow_info.{name}": value for name, value in about.items()}
            logger.info(message, *values, extra={"parsl.dfk": self.run_id, **extra})

    def _log_facts(self) -> None:
        """Log what a reader of the log would ask first."""
        if logger.isEnabledFor(logging.INFO):
            try:
                for fact in facts_of_run(self._config):
                    logger.info("%s", fact)
            except Exception:  # of a user's executor anything may come
                logger.exception("the configuration cannot be shown")

    def cleanup(self) -> None:
        """End the run: executors stop, and futures that are not done fail. A second call does nothing."""
        self.cleanup_called = True
        if not self._runner.close():
            return
        forget(self)
        self.time_completed = datetime.now()
        self._log_run("run %s is cleaned up", self.run_id)
        self._shut_down_executors()
        self._runner.end()
        self._observers.close()
        self._watch.end()
        try:
            self.memoizer.close()
        except Exception:
            logger.exception("closing the memoizer failed")
        self.log_task_states()
        self.failures.summarize()
        self._undo_logging()
        if self.when_ended is not None:
            self.when_ended(self)

    def leave_behind(self) -> None:
        """Become a forked child's: tasks and executors are the parent's, calls are refused, and nothing is ended."""
        self.left_behind = True
        self._runner = LeftBehind()
        self._observers = Observers(_notify)  # the thread of the others is the parent's
        self._watch.leave_behind()

    def _shut_down_executors(self) -> None:
        if self._job_status_poller is not None:
            self._job_status_poller.stop()
        for executor in reversed(self._adapted.values()):
            try:
                stop(executor)
            except Exception:
                logger.exception("shutting down executor %s failed", executor.label)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: object, traceback: object) -> None:
        mode = self._config.exit_mode
        if mode == "skip":
            return
        try:
            if mode == "wait" and exc_type is None:
                self.wait_for_current_tasks()
        finally:  # also when Ctrl-C ends the waiting
            self.cleanup()

    def __repr__(self) -> str:
        return f"<DataFlowKernel of run {self.run_dir}>"


def _notify(text: str) -> None:
    """Tell the user at once: what executors say here needs eyes, not a log file."""
    logger.warning("%s", text)
    with contextlib.suppress(OSError, ValueError):  # a program may have closed it, as daemons do
        print(f"trellis: {text}", file=sys.stderr)
