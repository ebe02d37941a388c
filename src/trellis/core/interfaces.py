"""The seams: what the parts of Trellis expect of each other, and of users' plug-ins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from trellis.core.jobs import JobStatus
from trellis.core.measurements import Measurements, Usage
from trellis.core.reports import Begun, ExecutorReport, Standing

# -- a kernel and its tasks ------------------------------------------------------------------------------------


# The label of a kernel's own threads, as Parsl's users write it.
INTERNAL_EXECUTOR = "_parsl_internal"


class Kernel(Protocol):
    """What apps, calls, futures and staging need of a kernel; ``trellis.DataFlowKernel`` is one."""

    left_behind: bool  # in a forked child of the process that made it
    run_dir: str

    @property
    def config(self) -> Any: ...

    @property
    def resolver(self) -> Any: ...

    @property
    def data_manager(self) -> Any: ...

    @property
    def executors(self) -> Mapping[str, Any]:
        """Executors by their labels, as they were given."""

    def submit(
        self,
        func: Callable[..., Any],
        app_args: Sequence[Any],
        executors: str | Sequence[str] = "all",
        cache: bool = False,
        ignore_for_cache: Sequence[str] | None = None,
        app_kwargs: dict[str, Any] | None = None,
        join: bool = False,
    ) -> Any:
        """Run a function as a task; gives its ``AppFuture``."""

    def submit_app(self, spec: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Make a task of one call of an app; gives its ``AppFuture``."""

    def lift_getitem(self, future: Any, key: Any) -> Any:
        """The future of ``result[key]``."""

    def lift_getattr(self, future: Any, name: str) -> Any:
        """The future of ``result.name``."""

    def look_after_callbacks(self) -> None:
        """Somebody waits: a callback that takes too long shall hold nobody up."""

    def cancel_task(self, record: Any) -> bool:
        """Try to stop a task; True when its future is cancelled."""

    def explain(self, task: Any, timeout_s: float = 1.0) -> Any:
        """Why a task is where it is: a ``trellis.watching.snapshot.Explanation``."""

    def tell(self, record: Any) -> str:
        """What a task is doing, in a few words."""


class KernelTask(Protocol):
    """A task as its future sees it. The record behind it, ``TaskRecord``, has more fields, as attributes and items."""

    @property
    def id(self) -> int: ...

    @property
    def dfk(self) -> Kernel: ...

    @property
    def run_info(self) -> RunInfo | None: ...

    def describe(self) -> str:
        """Which task this is, for messages."""

    def __getitem__(self, name: str) -> Any: ...

    def __getattr__(self, name: str) -> Any: ...


# -- running tasks ---------------------------------------------------------------------------------------------


class RunInfo(NamedTuple):
    """Where and when an attempt ran, as told by the process that ran it."""

    hostname: str
    block_id: str
    manager_id: str  # the thread's name for thread pools
    worker: int  # rank of the worker at its manager
    started_at: float  # seconds since the epoch, by that host's clock
    duration_s: float
    usage: Usage | None = None  # when the run is recorded, the executor can tell, and it was not very short


class Attempt:
    """A single try of a task, as the kernel (or a bare ``executor.submit``) hands it to an executor.

    Whoever makes an attempt gets exactly one outcome for it, through ``sink``.
    """

    executor_note: Any  # for the executor's use; it need not be set

    __slots__ = (
        "args",
        "executor_id",
        "executor_note",
        "func",
        "future",
        "key",
        "kwargs",
        "name",
        "resources",
        "sink",
        "walltime_s",
    )

    def __init__(
        self,
        func: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        sink: AttemptSink,
        key: Any = None,
        name: str = "",
        resources: Mapping[str, Any] | None = None,
        walltime_s: float | None = None,
        future: Future[Any] | None = None,
    ) -> None:
        self.func = func
        self.args = args
        self.kwargs = kwargs
        self.sink = sink
        self.key = key  # the maker's own handle; executors leave it alone
        self.future = future  # in which its maker's user waits, if there is one
        self.name = name or getattr(func, "__name__", "task")
        self.resources = resources
        self.walltime_s = walltime_s  # enforced by the executor when it says enforces_walltime
        self.executor_id: Any = None  # for the executor's use, as is executor_note


class Outcome:
    """How an attempt ended: ``exception`` is None and ``value`` holds, or ``exception`` says what went wrong."""

    __slots__ = ("exception", "run_info", "value")

    def __init__(self, value: Any, exception: BaseException | None = None, run_info: RunInfo | None = None) -> None:
        self.value = value
        self.exception = exception
        self.run_info = run_info


class AttemptSink(Protocol):
    """Who waits for outcomes."""

    def deliver(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        """Take the outcomes of attempts. Called from any thread; returns at once and never raises."""

    def begun(self, attempts: Sequence[tuple[Attempt, Begun]]) -> None:
        """Take note that attempts run; of short ones nobody need say so. As ``deliver``, and perhaps after it."""


@dataclass(frozen=True)
class ExecutorContext:
    """What an executor is told when it is started. Without a kernel the defaults hold."""

    run_dir: str = "."
    run_id: str = ""
    # How the executor scales its blocks, see trellis.Config.
    strategy: str = "simple"
    strategy_period_s: float = 5.0
    max_idletime_s: float = 120.0
    lost_block_timeout_s: float | None = 120.0  # None: a block without managers keeps its place
    # A user's own way of logging, for all processes; None: each has a log as the executor makes it.
    log_config: Any = field(default=None, compare=False)
    # Who records the run; None: nobody does, so nothing is to be measured.
    measurements: Measurements | None = field(default=None, compare=False)
    # Told of things the user should know of (a warning on the console); the default is the logger only.
    notify: Callable[[str], None] | None = field(default=None, compare=False)


class Executor(ABC):
    """Runs attempts. The kernel's view; users subclass ``trellis.executors.base.TrellisExecutor``."""

    label: str
    checks_outputs: bool = False  # says which outputs were not made, as ``Unmade``; else the kernel has them looked for
    enforces_walltime: bool = False  # True: the executor itself ends an attempt that outlives walltime_s

    @abstractmethod
    def start(self, context: ExecutorContext | None = None) -> None:
        """Get ready for attempts. Quick: what takes long goes on in the background."""

    @abstractmethod
    def launch(self, attempt: Attempt) -> None:
        """Take an attempt. Never raises for a fault of the task: that is an outcome."""

    @abstractmethod
    def cancel(self, attempt: Attempt) -> bool:
        """Try to end an attempt; True when its result, if any, will not count. Its outcome may still be delivered."""

    @abstractmethod
    def shutdown(self) -> None:
        """End everything that was started. Attempts still outstanding fail. A second call does nothing.

        After it ``start`` may be called again.
        """

    @abstractmethod
    def submit(
        self, func: Callable[..., Any], resource_specification: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Run ``func(*args, **kwargs)`` without a kernel."""

    # What people ask while it works. Called from any thread, also when a service of the executor hangs: an answer
    # that takes longer than ``timeout_s`` is given up for what is known without it.

    def report(self, timeout_s: float = 1.0) -> ExecutorReport:
        """Tell how the executor is now."""
        return ExecutorReport(self.label, type(self).__name__, workers=0)

    def standing(self, attempt: Attempt, timeout_s: float = 1.0) -> Standing:
        """Tell where an attempt is that was launched here, and why it does not run."""
        return Standing("unknown", f"executor {self.label} has it, and cannot tell more")


# -- blocks and batch systems ----------------------------------------------------------------------------------


class CommandResult(NamedTuple):
    """What a command left behind."""

    exit_code: int
    stdout: str
    stderr: str


class CommandRunner(Protocol):
    """Runs the commands of a batch system; the fake one in tests plays transcripts."""

    def run(self, argv: Sequence[str], timeout_s: float) -> CommandResult: ...


class Provider(Protocol):
    """Gets blocks of nodes from a batch system."""

    label: str
    nodes_per_block: int
    init_blocks: int
    min_blocks: int
    max_blocks: int
    parallelism: float

    @property
    def status_polling_interval(self) -> float: ...

    def submit(self, command: str, tasks_per_node: int, job_name: str = "trellis.auto") -> object: ...

    def status(self, job_ids: list[Any]) -> list[JobStatus]: ...

    def cancel(self, job_ids: list[Any]) -> list[bool]: ...


class BlockLoad(NamedTuple):
    """What a scalable executor knows of one block."""

    managers: int  # connected now
    tasks: int  # running or queued at its managers
    idle_s: float  # since when all its managers have been without a task; 0 when one has a task
    active: int | None = None  # managers that take tasks: not held, put aside or draining; None: all of them


@dataclass(frozen=True)
class PoolLoad:
    """What a scalable executor has to do, and with what."""

    outstanding: int  # tasks without a result
    workers_per_node: float
    blocks: Mapping[str, BlockLoad]  # by block id; blocks that never connected are absent


class ScalableExecutor(Protocol):
    """What the block controller asks of an executor."""

    label: str

    @property
    def bad_state_is_set(self) -> bool: ...

    def launch_block(self, block_id: str) -> Any:
        """Have the provider start this block; give the id of its job."""

    def load(self) -> PoolLoad: ...

    def release(self, block_ids: Sequence[str]) -> None:
        """Give these blocks no more tasks: they are about to be cancelled."""

    def drain(self, block_ids: Sequence[str]) -> None:
        """Give these blocks no more tasks, take back what has not started; their managers end when idle."""

    def handle_errors(self, status: dict[str, JobStatus]) -> None:
        """Judge the executor by the statuses of its blocks."""

    def fail_all(self, exception: Exception) -> None:
        """The executor cannot work any more: fail what is outstanding and refuse what comes."""
