"""What a manager's orders mean for the processes of a worker. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from trellis.errors import BadMessage
from trellis.executors.taskvine.embedded.content import is_cache_name
from trellis.wire.codec import Buffer, Payload, unpack
from trellis.wire.measures import TaskUse
from trellis.wire.vine import ON_IMPORT_PATH, Resources, RunTasks, StartLibrary, TaskShape


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
    allocation: Resources | None  # None: a call, which has none of its own
    instance: int  # of the library, for calls


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
    used: TaskUse | None = None  # when that was measured

    @property
    def there(self) -> bool:
        """Whether there is a result."""
        return self.payload is not None


class CallEnd(NamedTuple):
    """A call of a library has given a result, or raised."""

    id: int
    failed: bool
    started: float
    duration_s: float
    payload: Payload  # empty: it is kept here
    made: list[tuple[str, int]]  # as in ``TaskEnd``
    spoilt: list[str]
    missing: str  # why an output, or the result, cannot be had; empty: all are there
    used: TaskUse | None = None  # when that was measured


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
    variables: Mapping[str, str]  # that the user asks for; its whole environment, once that is known
    inputs: Sequence[tuple[str, str]]  # cache name, path in its directory
    init_command: str
    allocation: Resources


def task_starts(message: RunTasks, frames: list[Buffer], shapes: Mapping[int, TaskShape]) -> list[TaskStart]:
    """How each task or call is started.

    Raises:
        BadMessage: a shape that was not defined, lists that do not belong together, or a name that cannot be.
    """
    count = len(message.ids)
    if not count == len(message.shapes) == len(message.allocations) == len(message.instances):
        raise BadMessage("tasks to run, with lists of different lengths")
    check_names(name for outputs in message.outputs.values() for name, _, _ in outputs)
    check_names([*message.result_names.values(), *message.environments.values()])
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
                message.allocations[position],
                message.instances[position],
            )
        )
    return starts


def library_start(message: StartLibrary, frames: list[Buffer], functions: Mapping[int, Buffer]) -> LibraryStart:
    """How the instance is started.

    Raises:
        BadMessage: its context's function was not defined, there is not one payload, or a name cannot be.
    """
    spec = message.library
    payloads = unpack(message.sizes, frames)
    if len(payloads) != 1 or (spec.context_function >= 0 and spec.context_function not in functions):
        raise BadMessage(f"library {spec.name} without what its context is made of")
    if spec.slots < 0:
        raise BadMessage(f"library {spec.name} with {spec.slots} slots")
    check_names([message.environment] if message.environment else [])
    direct = spec.exec_mode == "direct"
    inputs, imports = _mounts(message.inputs)
    return LibraryStart(
        message.instance,
        spec.name,
        spec.exec_mode,
        1 if direct else spec.slots or max(1, int(message.resources.cores or 0)),
        b"" if spec.context_function < 0 else functions[spec.context_function],
        payloads[0],
        message.environment,
        imports,
        dict(spec.variables),
        inputs,
        spec.init_command,
        message.resources,
    )


def _mounts(mounts: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[str]]:
    """The mounts for the sandbox, and the cache names of those that are searched for imports."""
    check_names(name for name, _ in mounts)
    inputs = [mount for mount in mounts if mount[1] != ON_IMPORT_PATH]
    return inputs, [name for name, path in mounts if path == ON_IMPORT_PATH]


def check_names(names: Iterable[str]) -> None:
    """Raises:
    BadMessage: one that no file in a cache can have.
    """
    for name in names:
        if not is_cache_name(name):
            raise BadMessage(f"{name!r} is no cache name")
