"""``Config``: what a run shall be like. It is checked when it is made; it opens nothing and starts nothing.

One Config can be loaded, cleaned up and loaded again, any number of times.
"""

from __future__ import annotations

import itertools
import logging
import os
import pathlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from trellis.core.kinds import Choice, Either, Flag, Function, Instance, OrNone, Path, Text, has
from trellis.core.parameters import CHECKPOINT_KINDS, Label
from trellis.core.validation import check, check_all, check_type, knows_former_names
from trellis.core.values import MOST_COUNTED, Duration, Kind, Number, shown
from trellis.errors import ConfigurationError, ParameterTypeError, ParameterValueError
from trellis.executors.threads import ThreadPoolExecutor
from trellis.log_utils import set_file_logger

if TYPE_CHECKING:
    from trellis.dataflow.dependency_resolvers import DependencyResolver
    from trellis.dataflow.memoization import Memoizer
    from trellis.dataflow.taskrecord import TaskRecord
    from trellis.monitoring.hub import MonitoringHub

LOG_NAME = "trellis.log"
PROGRAM_LOG = "parsl"  # what configurations of logging know the program's log by

_MOST_EXECUTORS = 1_000
_COUNT = Number(least=0, most=MOST_COUNTED, whole=True)
_KINDS: dict[str, Kind] = {
    "app_cache": Flag(),
    **CHECKPOINT_KINDS,
    "memoizer": OrNone(Instance("a Memoizer", methods=("check_memo", "update_memo_result", "update_memo_exception"))),
    "dependency_resolver": OrNone(
        Instance("a DependencyResolver", methods=("traverse_to_gather", "traverse_to_unwrap"))
    ),
    "exit_mode": Choice("cleanup", "skip", "wait"),
    "garbage_collect": Flag(),
    "internal_tasks_max_threads": Number(least=1, most=MOST_COUNTED, whole=True),
    "retries": Number(least=0, infinite=True),
    "infrastructure_retries": OrNone(_COUNT),
    "retry_handler": OrNone(Function()),
    "run_dir": Path(),
    "std_autopath": OrNone(Function()),
    "strategy": Choice("simple", "none", "htex_auto_scale"),
    "strategy_period": Duration(above=0),
    "max_idletime": Duration(least=0, infinite=True),
    "lost_block_timeout": OrNone(Duration(above=0)),
    "usage_tracking": Either(Flag(), Number(least=0, most=3, whole=True)),
    "project_name": OrNone(Text(lines=False)),
    "report_failures": Flag(),
    "stall_warning_s": OrNone(Duration(above=0)),
    "progress": Flag(),
    "dashboard": Flag(),
    "initialize_logging": Either(
        Flag(), Instance("an object with a method initialize_logging", methods=("initialize_logging",))
    ),
}
# Of Parsl's releases before this one.
_FORMER_NAMES = {
    "data_management_max_threads": "it is internal_tasks_max_threads",
    "checkpoint": "it is checkpoint_mode",
    "checkpoint_dirs": "it is checkpoint_files",
    "lazy_errors": "leave it out; errors come with the futures",
    "lazy_fail": "leave it out; errors come with the futures",
    "sites": "it is executors",
    "strategy_interval": "it is strategy_period",
    "db_logger_config": "leave it out",
    "thread_pool_size": "executors=[ThreadPoolExecutor(max_threads=…)]",
}


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
        monitoring: a ``MonitoringHub``: the run is recorded in a database.
        usage_tracking: accepted for Parsl's sake, 0 to 3. Trellis never sends usage data.
        project_name: a name for the program, for its log.
        initialize_logging: True writes ``trellis.log`` (level INFO) into the run directory, False nothing; an object
            with ``initialize_logging(log_dir=..., log_name=...)`` does it its own way, and gives a function to undo it.
            A ``LogConfig`` (see ``trellis.logconfigs``) does so in all processes of HighThroughputExecutor.
        report_failures: say on stderr, when the program ends, that tasks have failed or were abandoned whose errors
            nobody has looked at.
        stall_warning_s: say why when tasks wait and nothing has moved for so many seconds; None: never.
        progress: show bars of the apps while tasks run, on a terminal or in a notebook.
        dashboard: serve the pages of this run, and print the link.

    Raises:
        ParameterTypeError: a parameter has the wrong type.
        ConfigurationError: a parameter, or two together, cannot work.
    """

    @knows_former_names(**_FORMER_NAMES)
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
        monitoring: MonitoringHub | None = None,
        usage_tracking: int = 0,
        project_name: str | None = None,
        initialize_logging: Any = True,
        memoizer: Memoizer | None = None,
        infrastructure_retries: int | None = None,
        lost_block_timeout: float | None = 120.0,
        report_failures: bool = True,
        stall_warning_s: float | None = 30.0,
        progress: bool = False,
        dashboard: bool = False,
    ) -> None:
        self._executors = _checked_executors(executors)
        self.app_cache = app_cache
        self.checkpoint_files = checkpoint_files
        self.checkpoint_mode = checkpoint_mode
        self.checkpoint_period = checkpoint_period
        self.memoizer = memoizer
        self.dependency_resolver = dependency_resolver
        self.exit_mode = exit_mode
        self.garbage_collect = garbage_collect
        self.internal_tasks_max_threads = internal_tasks_max_threads
        self.retries = retries
        self.infrastructure_retries = infrastructure_retries
        self.retry_handler = retry_handler
        self.run_dir = run_dir
        self.std_autopath = std_autopath
        if strategy is None:
            warnings.warn("Config: strategy=None means 'none'; write strategy='none'", DeprecationWarning, stacklevel=3)
            strategy = "none"
        self.strategy: str = strategy
        self.strategy_period = strategy_period
        self.max_idletime = max_idletime
        self.lost_block_timeout = lost_block_timeout
        self.usage_tracking = usage_tracking
        self.project_name = project_name
        self.report_failures = report_failures
        self.stall_warning_s = stall_warning_s
        self.progress = progress
        self.dashboard = dashboard
        self.initialize_logging = initialize_logging
        check_all(self, _KINDS)
        if memoizer is not None and not (
            app_cache and checkpoint_files is None and checkpoint_mode is None and checkpoint_period is None
        ):
            raise ParameterValueError(
                "Config: give either memoizer, or app_cache, checkpoint_files, checkpoint_mode and checkpoint_period"
            )
        self.make_memoizer()  # complains now about what it cannot do

        self.monitoring = None if monitoring is None else _checked_hub(monitoring)
        if self.usage_tracking:
            warnings.warn("Config: usage_tracking does nothing, Trellis never sends usage data", stacklevel=3)

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

    def get_usage_information(self) -> dict[str, Any]:
        """What Parsl gives here, for programs that ask; nothing is ever sent."""
        return {"executors_len": len(self.executors), "dependency_resolver": self.dependency_resolver is not None}

    def log_file(self, run_dir: str) -> str | None:
        """The log of a run; None if there is none, or ``initialize_logging`` does it another way."""
        return os.path.join(run_dir, LOG_NAME) if self.initialize_logging is True else None

    def start_logging(self, run_dir: str) -> Callable[[], None]:
        """Begin the log of a run, as ``initialize_logging`` says; gives a function that ends it."""
        if self.initialize_logging is False:
            return _nothing
        if self.initialize_logging is True:
            return set_file_logger(os.path.join(run_dir, LOG_NAME), level=logging.INFO)
        undo = self.initialize_logging.initialize_logging(log_dir=pathlib.Path(run_dir), log_name=PROGRAM_LOG)
        return undo if callable(undo) else _nothing

    @property
    def log_config(self) -> Any:
        """The way of logging for all processes, if ``initialize_logging`` is one: a ``LogConfig``."""
        given = self.initialize_logging
        if isinstance(given, bool):
            return None
        from trellis.logconfigs.base import LogConfig

        return given if isinstance(given, LogConfig) else None

    def __repr__(self) -> str:
        return f"Config(executors={list(self._executors)!r}, run_dir={self.run_dir!r})"


def _nothing() -> None:
    return None


def _checked_executors(executors: Iterable[Any] | None) -> tuple[Any, ...]:
    if executors is None:
        return (ThreadPoolExecutor(),)
    if has(executors, "submit") or isinstance(executors, str | bytes) or not isinstance(executors, Iterable):
        raise ParameterTypeError(
            f"Config: executors must be a list of executors, not {type(executors).__name__} (write executors=[...])"
        )
    try:
        found = tuple(itertools.islice(executors, _MOST_EXECUTORS))  # a generator may have no end
    except Exception as error:
        raise ParameterTypeError(f"Config: executors must be a list of executors, not {shown(executors)}") from error
    for executor in found:
        missing = [name for name in ("label", "start", "submit", "shutdown") if not has(executor, name)]
        if isinstance(executor, type):
            name = executor.__name__
            raise ParameterTypeError(f"Config: executors must hold executors, but {name} is a class: write {name}()")
        if isinstance(executor, str):
            advice = f"write for example HighThroughputExecutor(label={shown(executor)})"
            raise ParameterTypeError(f"Config: executors must hold executors, not their labels: {advice}")
        if missing:
            raise ParameterTypeError(
                f"Config: executors must hold executors, but {shown(executor)} has no {' and no '.join(missing)}"
            )
        check("Config", "executors: each label", executor.label, Label())
    labels = [executor.label for executor in found]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ConfigurationError(f"Config: labels of executors must be unique, but {', '.join(twice)} is used twice")
    return found


def _checked_hub(hub: Any) -> MonitoringHub:
    from trellis.monitoring.hub import MonitoringHub  # by now it is loaded, or this is none

    check_type("Config", "monitoring", hub, MonitoringHub, None)
    return cast(MonitoringHub, hub)
