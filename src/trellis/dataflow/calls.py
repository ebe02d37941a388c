"""What the files, futures and special keyword arguments of a call mean: done once, before its task is submitted."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from trellis.core.interfaces import Kernel
from trellis.dataflow.arguments import are_plain, gather_futures
from trellis.dataflow.call_values import check_specification, check_values
from trellis.dataflow.spec import SPECIAL, STAGING_INHIBIT
from trellis.dataflow.taskrecord import TaskRecord
from trellis.futures import AppFuture

_MEANINGFUL = SPECIAL | {STAGING_INHIBIT}

# As stdout or stderr: a file in the run directory, with a name for the task.
AUTO_LOGNAME = -1

# Directories with more entries than this are slow on parallel file systems.
_TASKS_PER_DIRECTORY = 10_000


def is_simple_call(args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """True when ``prepare`` has nothing to do."""
    return are_plain(args, kwargs) and (not kwargs or _MEANINGFUL.isdisjoint(kwargs))


def prepare(record: TaskRecord, future: AppFuture[Any], kernel: Kernel) -> None:
    """Fill in a record: resources, streams, staged files, and the futures that the task waits for.

    Raises:
        Exception: whatever is wrong with the call; staging and users' ``std_autopath`` raise what they like.
    """
    kwargs = record.kwargs
    if kwargs.get("parsl_resource_specification") is not None:
        # None: such an executor says so when the task is launched, by when there may be one.
        validate = getattr(kernel.executors.get(record.executor), "validate_resource_spec", None)
        specification = check_specification(record.func_name, kwargs["parsl_resource_specification"], validate)
        record.resource_specification = specification
    if "stdout" in kwargs or "stderr" in kwargs:
        kwargs = _name_streams(record, kernel)
        future._streams = (kwargs.get("stdout"), kwargs.get("stderr"))
    kwargs = check_values(record.func_name, kwargs, is_bash=record.spec.is_bash)
    inhibited = False
    if STAGING_INHIBIT in kwargs:
        future._is_staging = inhibited = bool(kwargs[STAGING_INHIBIT])
        kwargs = {name: value for name, value in kwargs.items() if name != STAGING_INHIBIT}
    record.kwargs = kwargs
    # Imported where it is needed first: programs without files never pay for staging.
    from trellis.dataflow.file_staging import involves_files, stage_inputs, stage_outputs

    if involves_files(record.args, kwargs):
        manager = None if inhibited else kernel.data_manager
        args, func = record.args, record.spec.func
        if manager is not None:
            args, kwargs, func = stage_inputs(manager, record.executor, args, kwargs, func)
        kwargs, func = stage_outputs(manager, record.executor, kwargs, func, future)
        record.args, record.kwargs, record.func = args, kwargs, func
    record.depends = gather_futures(kernel.resolver, record.args, record.kwargs)


def _name_streams(record: TaskRecord, kernel: Kernel) -> dict[str, Any]:
    """Put names in place of ``AUTO_LOGNAME``; gives the keyword arguments."""
    for name in ("stdout", "stderr"):
        value = record.kwargs.get(name)
        if type(value) is int and value == AUTO_LOGNAME:
            path = autolog_path(record, name, kernel.run_dir, kernel.config.std_autopath)
            record.kwargs = {**record.kwargs, name: path}
            record.ignore_for_cache = (*record.ignore_for_cache, name)
    return record.kwargs


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
