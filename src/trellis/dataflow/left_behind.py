"""Stands in for a kernel's tasks in a forked child of the program: they are the parent's. Runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from trellis.core.whereabouts import in_forked_child
from trellis.dataflow.final_tasks import FinalTasks
from trellis.dataflow.states import States
from trellis.dataflow.taskrecord import TaskRecord
from trellis.errors import DataFlowException


class LeftBehind:
    """What ``TaskRunner`` offers, for a process that has none of its threads, and whose locks nobody may ever open."""

    task_count = 0
    tasks: Mapping[int, TaskRecord] = {}  # for reading
    final_tasks = FinalTasks()

    @property
    def state_counts(self) -> dict[States, int]:
        return dict.fromkeys(States, 0)

    def submit(self, record: TaskRecord, broken: Exception | None = None) -> NoReturn:
        """Raises:
        DataFlowException: always.
        """
        raise DataFlowException(in_forked_child(f"{record.func_name} cannot be called here"))

    def cancel(self, record: TaskRecord) -> bool:
        return False

    def close(self) -> bool:
        """Do as if it were closed already: what the kernel has started is the parent's to end."""
        return False

    def look_after_callbacks(self) -> None:
        return None

    def deliver(self, outcomes: Any) -> None:
        return None

    def begun(self, attempts: Any) -> None:
        return None

    def end(self) -> None:
        return None
