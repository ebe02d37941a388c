"""What a manager's orders mean for the processes of a worker. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from trellis.errors import BadMessage
from trellis.wire.codec import Buffer, Payload, unpack
from trellis.wire.vine import ON_IMPORT_PATH, RunTasks, StartLibrary, TaskShape


class TaskStart(NamedTuple):
    """How a task is started."""

    id: int
    function: int
    arguments: Payload
    inputs: Sequence[tuple[str, str]]  # cache name, path
    outputs: Sequence[tuple[str, str, str]]  # cache name, path, level
    result_name: str  # cache name that the result is kept under; empty: it goes home
    environment: str  # cache name of the unpacked environment of its interpreter; empty: ours
    imports: Sequence[str]  # cache names of unpacked directories to search for imports
    shape: TaskShape


class TaskEnd(NamedTuple):
    """What came of it."""

    exit_code: int
    reason: str
    payload: Payload | None  # None: it has left none
    failed: bool
    started: float
    duration_s: float
    missing: str
    made: list[tuple[str, int]]  # outputs that are in the cache now, and their sizes in bytes
    spoilt: list[str]  # inputs that it has written to
    beside: int = 0  # other tasks that ended with it, when the process that they were copies of did

    @property
    def there(self) -> bool:
        """Whether there is a result."""
        return self.payload is not None


class LibraryStart(NamedTuple):
    """How an instance is started."""

    instance: int
    name: str
    exec_mode: str
    slots: int
    context_function: Payload  # empty: none
    context_arguments: Payload
    environment: str  # cache name of the unpacked environment of its interpreter; empty: ours
    imports: Sequence[str]  # cache names of unpacked directories to search for imports
    variables: Mapping[str, str]
    inputs: Sequence[tuple[str, str]]  # cache name, path in its directory
    init_command: str


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
