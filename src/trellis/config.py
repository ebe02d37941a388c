"""``Config``: what a run shall be like. It is checked when it is made; it opens nothing and starts nothing.

One Config can be loaded, cleaned up and loaded again, any number of times.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from trellis.core.missing import not_in_trellis
from trellis.core.validation import NUMBER, check_at_least, check_callable, check_choice, check_type
from trellis.errors import ConfigurationError, ParameterTypeError
from trellis.executors.threads import ThreadPoolExecutor
from trellis.log_utils import set_file_logger

if TYPE_CHECKING:
    from trellis.dataflow.dependency_resolvers import DependencyResolver
    from trellis.dataflow.memoization import Memoizer
    from trellis.dataflow.taskrecord import TaskRecord

LOG_NAME = "trellis.log"

_STRATEGIES = ("simple", "none", "htex_auto_scale")
_CHECKPOINT_MODES = (None, "task_exit", "periodic", "dfk_exit", "manual")


class Config:
    """Everything that a run needs to know.

    Args:
        executors: what runs the apps; None means one ``ThreadPoolExecutor()``.
        app_cache: False turns memoization off for all apps, also those with ``cache=True``.
        checkpoint_files: directories of checkpoints (``runinfo/NNN/checkpoint``) whose results are used again.
        checkpoint_mode: when results of cached apps are written to disk: ``"task_exit"``, ``"periodic"``,
            ``"dfk_exit"``, ``"manual"``, or None for never.
        checkpoint_period: ``"HH:MM:SS"`` between periodic checkpoints.
        dependency_resolver: how futures are found in arguments. None means
            ``trellis.dataflow.dependency_resolvers.DEEP_DEPENDENCY_RESOLVER``, which looks into lists, tuples, sets and
            dictionaries; ``SHALLOW_DEPENDENCY_RESOLVER`` does as Parsl does by default.
        exit_mode: what leaving ``with trellis.load(config):`` does: ``"cleanup"`` at once, ``"wait"`` for the tasks and
            then clean up (at once when an exception is on its way), ``"skip"``: nothing.
        garbage_collect: forget the records of tasks that are final; False keeps all of them in ``dfk.tasks``.
        internal_tasks_max_threads: threads for the bodies of join apps and for staging.
        retries: a task is tried again while the costs of its failures add up to at most this.
        retry_handler: ``handler(exception, task_record)`` gives the cost of a failure; without it each costs 1. If it
            raises, the task fails with that.
        run_dir: parent of the numbered run directories.
        std_autopath: ``function(task_record, "stdout" | "stderr")`` gives the file for ``AUTO_LOGNAME``.
        strategy: how executors with blocks scale: ``"simple"``, ``"none"`` or ``"htex_auto_scale"``.
        strategy_period: seconds between two decisions on scaling.
        max_idletime: seconds that a block is idle before it may be given up.
        lost_block_timeout: seconds for which a block's job may run after its managers have all gone (killed, or silent
            because the job was suspended), before it is cancelled to make room for another; None: it keeps its place.
        infrastructure_retries: how often a task is tried again because its worker, its manager or the interchange
            died, apart from ``retries``. None: such a loss is charged to ``retries`` like any failure. With a
            ``retry_handler`` it does not count: that one judges all failures.
        memoizer: what remembers results; in place of the four parameters about memos and checkpoints.
        monitoring: not available yet.
        usage_tracking: accepted for Parsl's sake, 0 to 3. Trellis never sends usage data.
        project_name: a name for the program, for its log.
        initialize_logging: True writes ``trellis.log`` (level INFO) into the run directory, False nothing; an object
            with ``initialize_logging(log_dir=..., log_name=...)`` does it its own way, and gives a function to undo it.

    Raises:
        ParameterTypeError: a parameter has the wrong type.
        ConfigurationError: a parameter, or two together, cannot work.
        NotInTrellis: monitoring was asked for.
    """

    def __init__(
        self,
        executors: Iterable[Any] | None = None,
        app_cache: bool = True,
        checkpoint_files: Sequence[str] | None = None,
        checkpoint_mode: Literal["task_exit", "periodic", "dfk_exit", "manual"] | None = None,
        checkpoint_period: str | None = None,
        dependency_resolver: DependencyResolver | None = None,
        exit_mode: Literal["cleanup", "skip", "wait"] = "cleanup",
        garbage_collect: bool = True,
        internal_tasks_max_threads: int = 10,
        retries: int = 0,
        retry_handler: Callable[[Exception, TaskRecord], float] | None = None,
        run_dir: str = "runinfo",
        std_autopath: Callable[[TaskRecord, str], Any] | None = None,
        strategy: str | None = "simple",
        strategy_period: float = 5,
        max_idletime: float = 120.0,
        monitoring: Any = None,
        usage_tracking: int = 0,
        project_name: str | None = None,
        initialize_logging: Any = True,
        memoizer: Memoizer | None = None,
        infrastructure_retries: int | None = None,
        lost_block_timeout: float | None = 120.0,
    ) -> None:
        def check(name: str, value: Any, *types: type | None) -> None:
            check_type("Config", name, value, *types)

        self._executors = _checked_executors(executors)

        check("app_cache", app_cache, bool)
        check("checkpoint_files", checkpoint_files, list, tuple, None)
        check_choice("Config", "checkpoint_mode", checkpoint_mode, _CHECKPOINT_MODES)
        check("checkpoint_period", checkpoint_period, str, None)
        if memoizer is not None and not (
            app_cache and checkpoint_files is None and checkpoint_mode is None and checkpoint_period is None
        ):
            raise ConfigurationError(
                "Config: give either memoizer, or app_cache, checkpoint_files, checkpoint_mode and checkpoint_period"
            )
        if memoizer is not None and not hasattr(memoizer, "check_memo"):
            raise ParameterTypeError(f"Config: memoizer must be a Memoizer or None, not {type(memoizer).__name__}")
        self.app_cache = app_cache
        self.checkpoint_files = checkpoint_files
        self.checkpoint_mode = checkpoint_mode
        self.checkpoint_period = checkpoint_period
        self.memoizer = memoizer
        self.make_memoizer()  # complains now about what it cannot do

        if dependency_resolver is not None and not hasattr(dependency_resolver, "traverse_to_gather"):
            raise ParameterTypeError(
                f"Config: dependency_resolver must be a DependencyResolver or None, not {dependency_resolver!r}"
            )
        self.dependency_resolver = dependency_resolver
        check_choice("Config", "exit_mode", exit_mode, ("cleanup", "skip", "wait"))
        self.exit_mode = exit_mode
        check("garbage_collect", garbage_collect, bool)
        self.garbage_collect = garbage_collect
        check("internal_tasks_max_threads", internal_tasks_max_threads, int)
        check_at_least("Config", "internal_tasks_max_threads", internal_tasks_max_threads, 1)
        self.internal_tasks_max_threads = internal_tasks_max_threads
        check("retries", retries, *NUMBER)
        check_at_least("Config", "retries", retries, 0)
        self.retries = retries
        check("infrastructure_retries", infrastructure_retries, int, None)
        check_at_least("Config", "infrastructure_retries", infrastructure_retries or 0, 0)
        self.infrastructure_retries = infrastructure_retries
        check_callable("Config", "retry_handler", retry_handler)
        self.retry_handler = retry_handler
        check("run_dir", run_dir, str, os.PathLike)
        self.run_dir = os.fspath(run_dir)
        check_callable("Config", "std_autopath", std_autopath)
        self.std_autopath = std_autopath

        if strategy is None:
            warnings.warn("Config: strategy=None means 'none'; write strategy='none'", DeprecationWarning, stacklevel=2)
            strategy = "none"
        check_choice("Config", "strategy", strategy, _STRATEGIES)
        self.strategy: str = strategy
        check("strategy_period", strategy_period, *NUMBER)
        self.strategy_period = strategy_period
        check("max_idletime", max_idletime, *NUMBER)
        self.max_idletime = max_idletime
        check("lost_block_timeout", lost_block_timeout, *NUMBER, None)
        if lost_block_timeout is not None and not 0 < lost_block_timeout < float("inf"):
            raise ConfigurationError(
                f"Config: lost_block_timeout must be above 0 s, or None for never, not {lost_block_timeout!r}"
            )
        self.lost_block_timeout = lost_block_timeout

        if monitoring is not None:
            raise not_in_trellis("Config(monitoring=...)", "leave it out; trellis.log tells of the run")
        self.monitoring = None
        if usage_tracking not in (0, 1, 2, 3):
            raise ConfigurationError(f"Config: usage_tracking must be 0, 1, 2 or 3, not {usage_tracking!r}")
        if usage_tracking:
            warnings.warn("Config: usage_tracking does nothing, Trellis never sends usage data", stacklevel=2)
        self.usage_tracking = int(usage_tracking)
        check("project_name", project_name, str, None)
        self.project_name = project_name
        if not isinstance(initialize_logging, bool) and not hasattr(initialize_logging, "initialize_logging"):
            raise ParameterTypeError(
                "Config: initialize_logging must be True, False, or an object with a method initialize_logging, "
                f"not {initialize_logging!r}"
            )
        self.initialize_logging = initialize_logging

    @property
    def executors(self) -> Sequence[Any]:
        """The executors, in the order in which they were given."""
        return self._executors

    def make_memoizer(self) -> Memoizer:
        """The memoizer for a run: the user's own, or a new one as the parameters say."""
        if self.memoizer is not None:
            return self.memoizer
        from trellis.dataflow.memoization import BasicMemoizer  # kernel's side; a Config alone does not need it

        return BasicMemoizer(
            checkpoint_files=self.checkpoint_files,
            checkpoint_period=self.checkpoint_period,
            checkpoint_mode=self.checkpoint_mode,
            memoize=self.app_cache,
        )

    def start_logging(self, run_dir: str) -> Callable[[], None]:
        """Begin the log of a run, as ``initialize_logging`` says; gives a function that ends it."""
        if self.initialize_logging is False:
            return _nothing
        if self.initialize_logging is True:
            return set_file_logger(os.path.join(run_dir, LOG_NAME), level=logging.INFO)
        undo = self.initialize_logging.initialize_logging(log_dir=run_dir, log_name=LOG_NAME)
        return undo if callable(undo) else _nothing

    def __repr__(self) -> str:
        return f"Config(executors={list(self._executors)!r}, run_dir={self.run_dir!r})"


def _nothing() -> None:
    return None


def _checked_executors(executors: Iterable[Any] | None) -> tuple[Any, ...]:
    if executors is None:
        return (ThreadPoolExecutor(),)
    if hasattr(executors, "submit") or not isinstance(executors, Iterable):
        raise ParameterTypeError(
            f"Config: executors must be a list of executors, not {type(executors).__name__} (write executors=[...])"
        )
    found = tuple(executors)
    for executor in found:
        missing = [name for name in ("label", "start", "submit", "shutdown") if not hasattr(executor, name)]
        if missing:
            raise ParameterTypeError(
                f"Config: executors must hold executors, but {executor!r} has no {' and no '.join(missing)}"
            )
    labels = [executor.label for executor in found]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ConfigurationError(f"Config: labels of executors must be unique, but {', '.join(twice)} is used twice")
    return found
