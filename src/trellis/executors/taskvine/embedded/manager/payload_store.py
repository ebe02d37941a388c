"""What travels with tasks: functions, shapes, arguments, results. The messages to workers and reports made of them.

Opens nothing of it, and sends nothing. Tasks whose results are kept at workers are kept here too, with their
functions, for as long as somebody may need those results: they may have to run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from trellis.errors import BadMessage
from trellis.executors.common.known_functions import KnownDefinitions, KnownFunctions
from trellis.executors.taskvine.embedded.manager import events
from trellis.wire.codec import Buffer, Payload, encode_header, pack
from trellis.wire.measures import TaskUse
from trellis.wire.messages import ForgetFunctions
from trellis.wire.vine import (
    CallsEnded,
    DefineShapes,
    InstallLibraries,
    LibrarySpec,
    Mount,
    RunTasks,
    StartLibrary,
    TaskShape,
    VineResults,
    VineTasks,
)

Frames = list[Buffer]


class BookedTask(msgspec.Struct):
    """What a worker has to know of a task. Files by their cache names: their numbers may be gone when it runs again."""

    function: int
    shape: int
    arguments: Payload
    inputs: list[tuple[str, str]] = []  # name, path
    outputs: list[tuple[str, str, str]] = []  # name, path, level
    result_name: str = ""


class _Library(NamedTuple):
    """What a worker has to know of a library."""

    spec: LibrarySpec
    arguments: Payload  # of its context
    inputs: list[tuple[str, str]]  # cache name, path
    environment: str  # cache name; empty: none


class _Result(msgspec.Struct):
    """What came of a task, until it is reported."""

    failed: bool
    started: float
    duration_s: float
    payload: Payload
    used: TaskUse | None


class VinePayloads:
    """Tasks by their ids, results by id and worker.

    Args:
        name_of: the cache name of a declared file.
        level_of: the level of a file by its cache name.
    """

    def __init__(self, name_of: Callable[[int], str], level_of: Callable[[str], str]) -> None:
        self._name_of = name_of
        self._level_of = level_of
        self._tasks: dict[int, BookedTask] = {}
        self._results: dict[int, dict[str, _Result]] = {}
        self._functions = KnownFunctions()
        self._shapes = KnownDefinitions[TaskShape]()
        self._environments: dict[int, str] = {}  # cache names, by shape
        self._libraries: dict[str, _Library] = {}
        self._kept: set[int] = set()  # tasks that were reported, and may have to run again
        self._forgotten: set[int] = set()  # functions that go when no kept task needs them

    @property
    def left(self) -> tuple[int, int]:
        """How many tasks and results are kept."""
        return len(self._tasks), len(self._results)

    # -- what the submit side says -----------------------------------------------------------------------------

    def define(self, ids: Sequence[int], functions: Sequence[Payload]) -> None:
        self._functions.define(ids, functions)
        self._forgotten.difference_update(ids)

    def forget_functions(self, ids: Sequence[int]) -> list[tuple[str, Frames]]:
        """The submit side will not name these functions again; gives messages for workers."""
        self._forgotten.update(ids)
        return self._drop_unneeded()

    # Files are looked up when they are named: their numbers may be gone when they are needed.

    def define_shapes(self, message: DefineShapes) -> None:
        """Raises:
        BadMessage: an environment that nobody has declared.
        """
        environments = {
            id_: self._declared(shape.environment)
            for id_, shape in zip(message.ids, message.shapes, strict=True)
            if shape.environment >= 0 and shape.mode != "serverless"  # a call runs in that of its library
        }
        self._environments.update(environments)
        self._shapes.define(message.ids, message.shapes)

    def install(self, message: InstallLibraries, arguments: Sequence[Payload]) -> None:
        """Raises:
        BadMessage: a file that nobody has declared.
        """
        installed = {}
        for spec, payload in zip(message.libraries, arguments, strict=True):
            environment = "" if spec.environment < 0 else self._declared(spec.environment)
            inputs = [(self._declared(mount.file), mount.path) for mount in spec.inputs]
            installed[spec.name] = _Library(spec, payload, inputs, environment)
        self._libraries.update(installed)

    def _declared(self, file: int) -> str:
        try:
            return self._name_of(file)
        except LookupError as error:
            raise BadMessage(f"a file that was not declared: {error}") from None

    def check(self, message: VineTasks) -> None:
        """Raises:
        BadMessage: it names what nobody has declared.
        """
        unknown = self._functions.undefined(message.functions) | self._shapes.undefined(message.shapes)
        if unknown:
            raise BadMessage(f"functions or shapes that were not declared: {sorted(unknown)[:10]}")
        mounts = [*message.inputs.values(), *message.outputs.values()]
        for file in (*(mount.file for each in mounts for mount in each), *message.result_files.values()):
            self._declared(file)

    def add(self, message: VineTasks, arguments: Sequence[Payload]) -> None:
        """Tasks to run."""
        for position, id_ in enumerate(message.ids):
            self._tasks[id_] = BookedTask(message.functions[position], message.shapes[position], arguments[position])
        for position, mounts in message.inputs.items():
            self._tasks[message.ids[position]].inputs = self._mounts(mounts)
        for position, mounts in message.outputs.items():
            self._tasks[message.ids[position]].outputs = [
                (name, path, self._level_of(name)) for name, path in self._mounts(mounts)
            ]
        for position, file in message.result_files.items():
            self._tasks[message.ids[position]].result_name = self._name_of(file)

    # -- workers -----------------------------------------------------------------------------------------------

    def worker_came(self, worker: str) -> None:
        self._functions.add_peer(worker)
        self._shapes.add_peer(worker)

    def worker_left(self, worker: str) -> None:
        self._functions.remove_peer(worker)
        self._shapes.remove_peer(worker)
        self.forget_results(worker, list(self._results))

    def run(self, action: events.RunTasks, used: Callable[[list[str]], None]) -> list[Frames]:
        """The messages that make a worker run these; ``used`` is told of each task's inputs."""
        worker, ids = action.worker, action.ids
        tasks = [self._tasks[id_] for id_ in ids]
        functions = [task.function for task in tasks]
        shapes = [task.shape for task in tasks]
        messages = self._teach(worker, set(functions), set(shapes))
        sizes, frames = pack([task.arguments for task in tasks])
        header = RunTasks(ids, functions, shapes, action.allocations, action.instances, sizes)
        for position, task in enumerate(tasks):
            if task.inputs:
                header.inputs[position] = task.inputs
                used([name for name, _ in task.inputs])
            if task.outputs:
                header.outputs[position] = task.outputs
            if task.result_name:
                header.result_names[position] = task.result_name
            if task.shape in self._environments:
                header.environments[position] = self._environments[task.shape]
        messages.append([encode_header(header), *frames])
        return messages

    def start_library(self, action: events.StartLibrary) -> list[Frames]:
        """The messages that make a worker start a library."""
        spec, arguments, inputs, environment = self._libraries[action.library]
        messages = self._teach(action.worker, {spec.context_function} if spec.context_function >= 0 else set(), set())
        sizes, frames = pack([arguments])
        header = StartLibrary(spec, action.instance, action.resources, inputs, environment, sizes)
        return [*messages, [encode_header(header), *frames]]

    def _mounts(self, mounts: Sequence[Mount]) -> list[tuple[str, str]]:
        return [(self._name_of(mount.file), mount.path) for mount in mounts]

    def _teach(self, worker: str, functions: set[int], shapes: set[int]) -> list[Frames]:
        """The messages that tell a worker of functions and shapes that it does not know."""
        definitions = self._functions.definitions_for(worker, functions)
        messages: list[Frames] = [] if definitions is None else [definitions]
        unknown = self._shapes.take_missing(worker, shapes)
        if unknown:
            messages.append([encode_header(DefineShapes(unknown, [self._shapes[id_] for id_ in unknown]))])
        return messages

    # -- ends --------------------------------------------------------------------------------------------------

    def ended(self, worker: str, message: CallsEnded, payloads: Sequence[Payload]) -> None:
        """Results have come; they are kept until they are reported or dropped."""
        failed = set(message.failed)
        used = message.used or [None] * len(message.ids)
        for position, id_ in enumerate(message.ids):
            self._results.setdefault(id_, {})[worker] = _Result(
                position in failed,
                message.started[position],
                message.durations_s[position],
                payloads[position],
                used[position],
            )

    def report(self, worker: str, ids: list[int], kept: Sequence[int] = ()) -> Frames:
        """The report about tasks that have ended; ``kept``: those that may have to run again."""
        results = [self._results.pop(id_)[worker] for id_ in ids]
        self._kept.update(kept)
        for id_ in ids if not kept else set(ids).difference(kept):
            del self._tasks[id_]
        sizes, frames = pack([result.payload for result in results])
        header = VineResults(
            worker,
            ids,
            [position for position, result in enumerate(results) if result.failed],
            [result.started for result in results],
            [result.duration_s for result in results],
            sizes,
            None if all(result.used is None for result in results) else [result.used for result in results],
        )
        return [encode_header(header), *frames]

    def forget_results(self, worker: str, ids: Sequence[int]) -> None:
        for id_ in ids:
            results = self._results.get(id_, {})
            results.pop(worker, None)
            if not results:
                self._results.pop(id_, None)

    def forget_tasks(self, ids: Sequence[int]) -> list[tuple[str, Frames]]:
        """Tasks have ended, and will not run again; gives messages for workers."""
        for id_ in ids:
            self._tasks.pop(id_, None)
            self._results.pop(id_, None)  # its outputs were coming home
            self._kept.discard(id_)
        return self._drop_unneeded()

    def _drop_unneeded(self) -> list[tuple[str, Frames]]:
        if not self._forgotten:
            return []
        needed = {self._tasks[id_].function for id_ in self._kept}
        gone = self._forgotten - needed
        self._forgotten &= needed
        return [(worker, [encode_header(ForgetFunctions(told))]) for worker, told in self._functions.forget(gone)]
