"""Names for the output files of tasks with ``stdout=AUTO_LOGNAME`` or ``stderr=AUTO_LOGNAME``. Opens nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from trellis.dataflow.taskrecord import TaskRecord

AUTO_LOGNAME = -1

# Directories with more entries than this are slow on parallel file systems.
_TASKS_PER_DIRECTORY = 10_000


def autolog_path(
    record: TaskRecord, stream: str, run_dir: str, std_autopath: Callable[[TaskRecord, str], Any] | None
) -> Any:
    """Where ``stream`` ("stdout" or "stderr") of a task goes: what ``std_autopath`` says, or a path in the run."""
    if std_autopath is not None:
        return std_autopath(record, stream)
    label = record.kwargs.get("label")
    suffix = f"_{label}" if label else ""
    directory = f"{record.id // _TASKS_PER_DIRECTORY:04d}"
    return os.path.join(run_dir, "task_logs", directory, f"task_{record.id:04d}_{record.func_name}{suffix}.{stream}")
