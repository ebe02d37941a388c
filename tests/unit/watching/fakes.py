"""A kernel as those see it who watch it, without any tasks that run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from trellis.dataflow.final_tasks import FinalTasks
from trellis.dataflow.states import States


class FakeKernel:
    """Has records that the test makes, and forgets those that are final."""

    def __init__(self) -> None:
        self.tasks: dict[int, Any] = {}
        self.final_tasks = FinalTasks()
        self.task_count = 0

    def submit(self, app: str, number: int = 1) -> None:
        for _ in range(number):
            self.tasks[self.task_count] = SimpleNamespace(func_name=app, status=States.pending)
            self.task_count += 1

    def end(self, task_id: int, state: States) -> None:
        self.final_tasks.by_app[self.tasks.pop(task_id).func_name][state] += 1

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)  # also tells type checkers that it may be anything
