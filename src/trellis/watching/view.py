"""What those who watch a run see of its kernel. A type; ``trellis.DataFlowKernel`` is one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from trellis.core.interfaces import Executor
from trellis.dataflow.failure_log import FailureLog
from trellis.dataflow.final_tasks import FinalTasks
from trellis.dataflow.observers import Observer
from trellis.dataflow.states import States
from trellis.dataflow.taskrecord import TaskRecord

if TYPE_CHECKING:
    from trellis.dataflow.notes import TaskNotes


class WatchedKernel(Protocol):
    """A kernel, for reading from any thread, and for cancelling."""

    run_dir: str
    run_id: str
    time_began: datetime
    time_completed: datetime | None
    workflow_name: str
    workflow_version: str
    cleanup_called: bool
    log_file: str | None  # trellis.log; None if there is none, or the user logs in another way
    failures: FailureLog

    def notify(self, text: str) -> None:
        """Tell the user at once, on stderr and in the log."""

    @property
    def config(self) -> Any: ...

    @property
    def tasks(self) -> Mapping[int, TaskRecord]:
        """Records by id, while tasks come and go: make a list first. Without the final ones if garbage_collect."""

    @property
    def final_tasks(self) -> FinalTasks:
        """What is left of the tasks that have ended."""

    @property
    def task_count(self) -> int: ...

    @property
    def task_state_counts(self) -> dict[States, int]: ...

    @property
    def executors(self) -> Mapping[str, Any]:
        """Executors by label, as they were given."""

    @property
    def running_executors(self) -> Mapping[str, Executor]:
        """Executors by label, as the kernel calls them; those of other people are adapted."""

    def cancel_task(self, record: TaskRecord) -> bool: ...

    def record_tasks(self, notes: TaskNotes | None) -> None: ...

    def add_observer(self, observer: Observer) -> None: ...

    def remove_observer(self, observer: Observer) -> None: ...
