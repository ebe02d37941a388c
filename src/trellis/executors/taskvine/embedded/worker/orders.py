"""What a manager's orders mean for the processes of a worker. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from trellis.errors import BadMessage
from trellis.executors.taskvine.embedded.worker.libraries import LibraryStart
from trellis.executors.taskvine.embedded.worker.processes import TaskStart
from trellis.wire.codec import Buffer, Payload, unpack
from trellis.wire.vine import ON_IMPORT_PATH, RunTasks, StartLibrary, TaskShape


def task_starts(message: RunTasks, frames: list[Buffer], shapes: Mapping[int, TaskShape]) -> list[TaskStart]:
    """One for each task or call.

    Raises:
        BadMessage: a shape that was not defined.
    """
    starts = []
    for position, arguments in enumerate(unpack(message.sizes, frames)):
        shape = shapes.get(message.shapes[position])
        if shape is None:
            raise BadMessage(f"task {message.ids[position]} has shape {message.shapes[position]}, which nobody defined")
        inputs, imports = _mounts(message.inputs.get(position, ()))
        starts.append(
            TaskStart(
                message.ids[position],
                message.functions[position],
                arguments,
                inputs,
                message.outputs.get(position, ()),
                message.result_names.get(position, ""),
                message.environments.get(position, ""),
                imports,
                shape,
            )
        )
    return starts


def library_start(message: StartLibrary, frames: list[Buffer], function: Callable[[int], Payload]) -> LibraryStart:
    """How the instance is started; its variables are still to be found. ``function`` gives one by its number."""
    spec = message.library
    (arguments,) = unpack(message.sizes, frames)
    direct = spec.exec_mode == "direct"
    inputs, imports = _mounts(message.inputs)
    return LibraryStart(
        message.instance,
        spec.name,
        spec.exec_mode,
        1 if direct else spec.slots or max(1, int(message.resources.cores or 0)),
        b"" if spec.context_function < 0 else function(spec.context_function),
        arguments,
        message.environment,
        imports,
        {},
        inputs,
        spec.init_command,
    )


def _mounts(mounts: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[str]]:
    """Those for the sandbox, and the cache names of those that are searched for imports."""
    inputs = [mount for mount in mounts if mount[1] != ON_IMPORT_PATH]
    return inputs, [name for name, path in mounts if path == ON_IMPORT_PATH]
