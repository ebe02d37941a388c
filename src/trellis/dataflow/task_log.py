"""Says in the log what becomes of each task, at level DEBUG, with the values beside the text for programs to read.

An observer like any other: it is there only when somebody listens to that level as the run begins.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from trellis.dataflow.observers import AttemptEnded, AttemptLaunched, Observation, TaskChanged
from trellis.dataflow.states import States

logger = logging.getLogger(__name__)


def is_listened_to() -> bool:
    """Whether anybody would read what a ``TaskLog`` says."""
    return logger.isEnabledFor(logging.DEBUG)


class TaskLog:
    """Turns what becomes of tasks into log records.

    Args:
        run_id: of the kernel; each record has it.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    def observe(self, batch: Sequence[Observation]) -> None:
        for observation in batch:
            self._say(observation)

    def _say(self, seen: Observation) -> None:
        match seen:
            case TaskChanged(task, app, States.pending, depends=depends):
                self._log(seen, "task %d (app %s): pending", (task, app), state=States.pending)
                for needed in depends:
                    self._log(seen, "task %d (app %s): depends on task %d", (task, app, needed), dependency=needed)
            case TaskChanged(task, app, state):
                self._log(seen, "task %d (app %s): now %s", (task, app, state.name), state=state)
            case AttemptLaunched(task, app, try_id, executor):
                values = (task, app, try_id, executor)
                self._log(seen, "task %d (app %s): try %d is for executor %s", values, try_id, executor)
            case AttemptEnded(task, app, try_id, executor, _, exception):
                values = (task, app, try_id, exception or "success")
                self._log(seen, "task %d (app %s): try %d has ended: %s", values, try_id)

    def _log(
        self,
        seen: Observation,
        message: str,
        values: tuple[Any, ...],
        try_id: int | None = None,
        executor: str | None = None,
        state: States | None = None,
        dependency: int | None = None,
    ) -> None:
        extra: dict[str, Any] = {
            "parsl.dfk": self._run_id,
            "parsl.task": seen.task_id,
            "parsl.app_name": seen.app,
            "parsl.try": try_id,
            "parsl.executor": executor,
            "parsl.dependency_task": dependency,
            "parsl.task_state": None if state is None else state.name,
        }
        handle(message, values, {name: value for name, value in extra.items() if value is not None}, seen.at)


def handle(message: str, values: tuple[Any, ...], extra: Mapping[str, Any], at: float) -> None:
    """Log something that happened ``at`` some time, which may be a moment ago."""
    record = logger.makeRecord(
        logger.name, logging.DEBUG, __file__, 0, message, values, None, "observe", dict(extra), None
    )
    record.created, record.msecs = at, at % 1 * 1000
    logger.handle(record)
