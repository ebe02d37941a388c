"""Files in the arguments of a call: the kernel's side of staging. What staging does is up to the data manager."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from trellis.futures import AppFuture, DataFuture
from trellis.staging.files import File

if TYPE_CHECKING:
    from trellis.staging.base import DataManager

_STREAMS = ("stdout", "stderr")


def involves_files(args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether anything of a call is to be staged in or out."""
    inputs = kwargs.get("inputs")
    return (
        _any_file(args)
        or _any_file(kwargs.values())
        or (isinstance(inputs, list | tuple) and _any_file(inputs))
        or bool(kwargs.get("outputs"))
    )


def _any_file(values: Iterable[Any]) -> bool:
    return any(isinstance(value, File | DataFuture) for value in values)


def stage_inputs(
    manager: DataManager, label: str, args: Sequence[Any], kwargs: dict[str, Any], func: Callable[..., Any]
) -> tuple[Sequence[Any], dict[str, Any], Callable[..., Any]]:
    """Have files and data futures among the arguments staged in; gives what the task gets in their place."""

    def staged(value: Any) -> Any:
        nonlocal func
        value, func = manager.optionally_stage_in(value, func, label)
        return value

    kwargs = dict(kwargs)
    inputs = kwargs.get("inputs")
    if isinstance(inputs, list | tuple):
        kwargs["inputs"] = [staged(value) for value in inputs]
    for name, value in kwargs.items():
        # Where output goes is staged out, not in.
        if name not in _STREAMS and isinstance(value, File | DataFuture):
            kwargs[name] = staged(value)
    return tuple([staged(value) for value in args]), kwargs, func


def stage_outputs(
    manager: DataManager | None,
    label: str,
    kwargs: dict[str, Any],
    func: Callable[..., Any],
    future: AppFuture[Any],
) -> tuple[dict[str, Any], Callable[..., Any]]:
    """Have the files of ``outputs``, ``stdout`` and ``stderr`` staged out; ``future`` gets their data futures.

    Without a manager nothing is staged: the files are in their places when the task has ended.
    """

    def staged_out(file: File) -> tuple[File, DataFuture]:
        nonlocal func
        if manager is None:
            return file, DataFuture(future, file, future.tid)
        # Staging may write into its copy; the user's object stays as it is.
        copy = file.cleancopy()
        stage_out_future = manager.stage_out(copy, label, future)
        func = manager.replace_task_stage_out(copy, func, label)
        return copy, DataFuture(stage_out_future or future, file, future.tid)

    kwargs = dict(kwargs)
    outputs = kwargs.get("outputs")
    if outputs:
        pairs = [staged_out(file) for file in outputs]
        kwargs["outputs"] = [copy for copy, _ in pairs]
        future.outputs.extend(data_future for _, data_future in pairs)
    streams: list[Any] = [kwargs.get(name) for name in _STREAMS]
    for i, name in enumerate(_STREAMS):
        if isinstance(streams[i], File):
            kwargs[name], streams[i] = staged_out(streams[i])
    future._streams = (streams[0], streams[1])
    return kwargs, func


def paths_of_outputs(kwargs: dict[str, Any]) -> list[str]:
    """Where a task is to make its files; empty for those that are taken away from there."""
    files = [file for file in kwargs.get("outputs") or () if isinstance(file, File)]
    return [file.filepath if file.scheme == "file" else "" for file in files]
