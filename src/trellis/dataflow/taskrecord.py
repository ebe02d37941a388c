"""What is known of one task. Holds facts; the kernel changes them, and users' retry handlers and memoizers may.

A field is an attribute, ``record.func_name``, and also an item, ``record["func_name"]``, as Parsl's users write it.
Parsl's ``exec_fu`` is always None here, as it is there between attempts; its ``task_launch_lock`` and ``join_lock`` are
inner parts of its kernel and have no counterpart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import TYPE_CHECKING, Any

from trellis.dataflow.states import States

if TYPE_CHECKING:
    from trellis.core.interfaces import Attempt, Kernel, Outcome, RunInfo
    from trellis.core.reports import Begun
    from trellis.dataflow.spec import AppSpec
    from trellis.futures import AppFuture

# Fields that a simple task never touches are not even set, which halves the cost of making a record; reading them
# gives these values.
_DEFAULTS: dict[str, Any] = {
    "attempt": None,
    "begun": None,
    "checkpoint": False,
    "exec_fu": None,
    "fail_cost": 0.0,
    "fail_count": 0,
    "failure": "",
    "from_memo": None,
    "hashsum": None,
    "joins": None,
    "loss_count": 0,
    "outcome": None,
    "resolved": False,
    "run_info": None,
    "time_returned": None,
    "try_id": 0,
    "try_time_launched": None,
    "try_time_returned": None,
}


class TaskRecord:
    """A task: one call of an app, with all its attempts.

    Times are local, as ``datetime``; ``fail_history`` holds a text for each failed attempt; ``depends`` the futures
    that the task waits for; ``joins`` what the body of a join app returned.
    """

    __slots__ = (
        "app_fu",
        "args",
        "attempt",
        "begun",
        "checkpoint",
        "depends",
        "dfk",
        "exec_fu",
        "executor",
        "fail_cost",
        "fail_count",
        "fail_history",
        "failure",
        "from_memo",
        "func",
        "func_name",
        "hashsum",
        "id",
        "ignore_for_cache",
        "join",
        "joins",
        "kwargs",
        "loss_count",
        "memoize",
        "outcome",
        "resolved",
        "resource_specification",
        "run_info",
        "spec",
        "status",
        "time_invoked",
        "time_returned",
        "try_id",
        "try_time_launched",
        "try_time_returned",
    )

    # Told apart for type checkers; the storage is the slots.
    if TYPE_CHECKING:
        app_fu: AppFuture[Any] | None  # None when the task is final and dfk.config.garbage_collect
        args: Sequence[Any]
        attempt: Attempt | None  # under way; None before one is handed to an executor, and when its outcome has come
        begun: Begun | None  # where the last attempt began to run, if that was told before its end
        checkpoint: bool
        depends: Sequence[Future[Any]]
        dfk: Kernel
        exec_fu: None
        executor: str
        fail_cost: float
        fail_count: int
        fail_history: list[str]
        failure: str  # the last one, in words
        from_memo: bool | None
        func: Callable[..., Any]
        func_name: str
        hashsum: str | None
        id: int
        ignore_for_cache: Sequence[str]
        join: bool
        joins: Any
        kwargs: dict[str, Any]
        loss_count: int  # failures charged to Config.infrastructure_retries; fail_count has them too
        memoize: bool
        outcome: Outcome | None  # of the last attempt
        resolved: bool  # futures among the arguments are replaced by their results
        resource_specification: Mapping[str, Any]
        run_info: RunInfo | None
        spec: AppSpec
        status: States
        time_invoked: datetime
        time_returned: datetime | None
        try_id: int
        try_time_launched: datetime | None
        try_time_returned: datetime | None

    def __init__(self, dfk: Kernel, task_id: int, spec: AppSpec, args: Sequence[Any], kwargs: dict[str, Any]):
        self.dfk = dfk
        self.id = task_id
        self.spec = spec
        self.func = spec.func
        self.func_name = spec.name
        self.args = args
        self.kwargs = kwargs
        self.memoize = spec.cache
        self.ignore_for_cache = spec.ignore_for_cache
        self.join = spec.join
        self.status = States.pending
        self.depends = ()
        self.resource_specification = {}
        self.time_invoked = datetime.now()

    def __getattr__(self, name: str) -> Any:
        # Reached only for slots that were never set.
        if name == "fail_history":
            self.fail_history = []
            return self.fail_history
        try:
            return _DEFAULTS[name]
        except KeyError:
            raise AttributeError(f"a task record has no field {name!r}") from None

    def __getitem__(self, name: str) -> Any:
        if name in _FIELDS:
            return getattr(self, name)
        raise KeyError(name)

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in _FIELDS:
            raise KeyError(name)
        setattr(self, name, value)

    def __contains__(self, name: object) -> bool:
        return name in _FIELDS

    def __iter__(self) -> Iterator[str]:
        return iter(TaskRecord.__slots__)

    def get(self, name: str, default: Any = None) -> Any:
        """The field ``name``, or ``default`` when there is no such field."""
        return getattr(self, name) if name in _FIELDS else default

    def keys(self) -> Sequence[str]:
        return TaskRecord.__slots__

    def __repr__(self) -> str:
        return f"<task {self.id} (app {self.func_name}): {self.status.name}>"

    def forget_call(self) -> None:
        """Let go of arguments, files and future: they may be big, and this record may live on in the future."""
        self.args = ()
        self.kwargs = {}
        self.attempt = None
        self.depends = ()
        self.func = self.spec.func  # without what staging has put around it
        self.joins = None
        self.outcome = None
        self.app_fu = None

    def describe(self) -> str:
        """Which task this is, for messages: ``task 3 (app f)``."""
        return f"task {self.id} (app {self.func_name})"


_FIELDS = frozenset(TaskRecord.__slots__)
