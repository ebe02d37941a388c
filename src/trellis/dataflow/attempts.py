"""Makes an attempt of a task whose arguments are final: for which executor, with which function and limits."""

from __future__ import annotations

from collections.abc import Mapping

from trellis.core.interfaces import Attempt, AttemptSink, Executor
from trellis.dataflow.call_values import check_values
from trellis.dataflow.file_staging import paths_of_outputs
from trellis.dataflow.taskrecord import TaskRecord
from trellis.remote.outputs import WithOutputs
from trellis.remote.walltime import WithWalltime


def make_attempt(record: TaskRecord, executors: Mapping[str, Executor], sink: AttemptSink) -> tuple[Executor, Attempt]:
    """The executor that a task asks for now, and the attempt for it.

    Raises:
        ValueError: there is no such executor.
        InvalidResourceSpecification: the executor does not take the task's resource specification.
        ParameterTypeError, ParameterValueError: a special argument that was a future has become something wrong.
    """
    executor: Executor | None = executors.get(record.executor)
    if executor is None:
        raise ValueError(
            f"{record.describe()} asks for executor {record.executor!r}, "
            f"but the executors are {', '.join(map(repr, executors))}"
        )
    spec, args, kwargs = record.spec, record.args, record.kwargs
    if kwargs and record.resolved:  # results of futures take the same ways as what was given in the call
        kwargs = check_values(record.func_name, kwargs, is_bash=spec.is_bash)
    func = record.func
    assert func is not None
    resources = record.resource_specification
    validate = getattr(executor, "validate_resource_spec", None)
    if validate is not None:
        validate(resources)
    walltime_s = None
    if kwargs:
        walltime_s = None if spec.is_bash else kwargs.get("walltime")
        made = None if spec.is_bash or spec.join or executor.checks_outputs else paths_of_outputs(kwargs)
        kwargs = spec.passed_kwargs(kwargs)
        if made:
            func = spec.with_outputs if func is spec.func else WithOutputs(func)
            args = (made, *args)
        if walltime_s is not None and not executor.enforces_walltime:
            func = spec.with_walltime if func is spec.func else WithWalltime(func)
            args, walltime_s = (walltime_s, *args), None
    attempt = Attempt(
        func,
        args,
        kwargs,
        future=record.app_fu,
        sink=sink,
        key=record,
        name=record.func_name,
        resources=resources or None,
        walltime_s=walltime_s,
    )
    return executor, attempt
