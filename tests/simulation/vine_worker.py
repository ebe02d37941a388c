"""A worker of a TaskVine simulation: the real protocol object, with processes, transfers and cache simulated.

It is strict: it starts nothing whose inputs are not there, whose function or arguments are not its own, or for which
it has no room. No processes here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol, assert_never

from tests.simulation.freezing import Freezer
from tests.simulation.network import TICK_S, World
from tests.simulation.oracles import LivenessViolation, SafetyViolation
from tests.simulation.vine_manager import VineWatcher
from tests.simulation.vine_scenario import CONTEXT, LIBRARIES, MB, Parts, VineTaskPlan, content_of, function_of
from tests.simulation.vine_wire import ClientSocket, Frames, ServerSocket
from trellis.executors.taskvine.embedded.worker import effects
from trellis.executors.taskvine.embedded.worker.effects import Effect
from trellis.executors.taskvine.embedded.worker.events import Exit
from trellis.executors.taskvine.embedded.worker.orders import CallEnd, LibraryStart, TaskEnd, TaskStart
from trellis.executors.taskvine.embedded.worker.state import VineWorkerSettings
from trellis.wire.codec import Buffer
from trellis.wire.vine import VINE_PROTOCOL_VERSION, FileChunk, GetFile, RegisterWorker, Resources, SendFile

_NAMES = ("cores", "memory", "disk", "gpus")
# More than this without time passing is no progress.
_MANY_TURNS = 20


class Surroundings(VineWatcher, Protocol):
    """What a worker's simulation asks of the rest."""

    world: World
    parts: Parts

    @property
    def faulty(self) -> bool: ...

    def plan(self, id_: int) -> VineTaskPlan: ...

    def inputs_of(self, id_: int) -> list[str]: ...

    def has(self, source: str, name: str) -> bool:
        """Whether a file can be had from a worker, or a URL."""

    def worker_ended(self, worker: SimulatedVineWorker, exit_: Exit) -> None: ...


@dataclass(frozen=True)
class WorkerPlan:
    """How a worker is, and behaves."""

    resources: Resources
    features: tuple[str, ...] = ()
    ends_in_s: float | None = None
    bad_at: str = ""  # "files": it gets none; "tasks": it starts none
    idle_timeout_s: float = 0.0
    measures: bool = False


@dataclass(eq=False)
class _Library:
    start: LibraryStart
    is_up: bool = False
    running: list[int] = field(default_factory=list)
    waiting: list[TaskStart] = field(default_factory=list)


class SimulatedVineWorker:
    """A worker in one of its lives. ``cache``: names of the files that it has from a former one."""

    def __init__(
        self, place: Surroundings, server: ServerSocket, name: str, plan: WorkerPlan, cache: Iterable[str] = ()
    ) -> None:
        self.name = name
        self.plan = plan
        self.alive = True
        self.cache = set(cache)
        self._place = place
        self._world = place.world
        self._freezer = Freezer(place.world)
        self._tasks: dict[int, TaskStart] = {}
        self._ending: set[int] = (
            set()
        )  # tasks, and (below zero) libraries that are being killed: their room is given away
        self._libraries: dict[int, _Library] = {}
        self._coming: dict[str, GetFile] = {}
        self._spoilt: set[str] = set()  # of those, what was to be removed before it was there
        self._stolen: set[str] = set()  # files that it lost
        self._wakes_at = math.inf
        self._is_performing = False
        self._damages: list[Callable[[Frames, Random], Frames]] = []  # of what it says next
        kept = sorted(self.cache)
        registration = RegisterWorker(
            VINE_PROTOCOL_VERSION,
            name,
            "host",
            1,
            plan.resources,
            list(plan.features),
            f"{name}:1",
            plan.ends_in_s,
            kept,
            [MB] * len(kept),
            f"block of {name}",
        )
        settings = VineWorkerSettings(2.0, 8.0, plan.idle_timeout_s, plan.measures)
        self.protocol = place.parts.worker(registration, settings, self._world.now, place.parts.worker_machine)
        self.socket = ClientSocket(self._world, server, name, self._receive, self._on_break)
        self._perform_all()

    # -- time and messages -------------------------------------------------------------------------------------

    def freeze(self, seconds: float) -> None:
        """Stop the process for so long."""
        self._freezer.freeze(seconds)

    def damage_next(self, *damages: Callable[[Frames, Random], Frames]) -> None:
        """What it says next does not come as it was meant."""
        self._damages += damages

    def _receive(self, frames: Frames) -> None:
        if self.alive and not self._freezer.defer(self._receive, frames):
            self._place.note(f"{self.name} hears", frames)
            self._do(self.protocol.on_frames, frames)

    def _on_break(self) -> None:
        if self.alive and not self._freezer.defer(self._on_break):
            self._place.note(self.name, "sees that its connection broke")
            self._do(self.protocol.on_connection_lost)

    def _do(self, tell: Callable[..., None], *what: Any) -> None:
        tell(*what, self._world.now)
        self._perform_all()

    def _later(self, delay_s: float, action: Callable[..., None], *args: Any) -> None:
        self._world.after(delay_s, self._now, action, args)

    def _now(self, action: Callable[..., None], args: tuple[Any, ...]) -> None:
        if self.alive and not self._freezer.defer(self._now, action, args):
            action(*args)
            self._perform_all()

    def _perform_all(self) -> None:
        """Do what the service does, which also looks at the time at the end of each turn."""
        if self._is_performing:
            return
        self._is_performing = True
        for _ in range(_MANY_TURNS):
            while self.alive and (asked := self.protocol.effects()):
                for effect in asked:
                    self._perform(effect)
            if not self.alive or self.protocol.next_deadline() > self._world.now:
                break
            self.protocol.on_deadline(self._world.now)
        else:
            raise LivenessViolation(f"{self.name} is busy for nothing: its next deadline is over already")
        self._is_performing = False
        if self.alive:
            self.protocol.state.check_invariants()
            self._wake_when_due()

    def _wake_when_due(self) -> None:
        deadline = self.protocol.next_deadline()
        if deadline < self._wakes_at:
            self._wakes_at = deadline
            ticks = max(1, math.ceil(deadline / TICK_S) - self._world.ticks)
            self._later(ticks * TICK_S, self._wake)

    def _wake(self) -> None:
        self._wakes_at = math.inf

    def die(self) -> None:
        """Killed: everything that it had is gone."""
        self._place.note(self.name, "is killed")
        self.alive = False
        self.cache.clear()
        self.socket.die(self._world.between(0, 3))

    def _leave(self, exit_: Exit) -> None:
        self._place.note(self.name, exit_)
        self._tasks.clear()
        self._libraries.clear()
        if not exit_.again:
            self.protocol.leave(exit_.reason)
            for effect in self.protocol.effects():
                if isinstance(effect, effects.ToManager):
                    self._send(effect.frames)
        self.alive = False
        self.socket.close()
        self._place.worker_ended(self, exit_)

    def _send(self, frames: Frames) -> None:
        if self._damages:
            frames = self._damages.pop()(frames, self._world.rng)
        self.socket.send(frames)

    # -- effects -----------------------------------------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        match effect:
            case effects.ToManager(frames):
                self._send(frames)
            case effects.StartProcess(start, function):
                self._start(start, function)
            case effects.KillProcess(id_):
                self._ending.add(id_)
                self._later(self._world.between(0, 0.3), self._end_killed, id_)
            case effects.MeasureTasks(tasks):
                for id_ in tasks:
                    self._measure(id_)
            case effects.StartLibrary(start):
                self._start_library(start)
            case effects.KillLibrary(instance):
                self._ending.add(-1 - instance)
                self._later(self._world.between(0, 0.3), self._end_library, instance, "killed")
            case effects.SendCall(instance, start, function):
                self._take_call(instance, start, function)
            case effects.KillCall(instance, id_):
                self._later(self._world.between(0, 0.3), self._kill_call, instance, id_)
            case effects.BringFile(order):
                self._bring(order)
            case effects.TakePiece(chunk, data):
                self._on_piece(chunk, bytes(data))
            case effects.ReadPiece(request):
                self.protocol.on_piece_read(*self._read(request))
            case effects.RemoveFiles(names):
                self._remove(names)
            case effects.Leave(exit_):
                self._leave(exit_)
            case effects.ForgetFunctions() | effects.UseImportPaths() | effects.LookAround():
                pass
            case _:
                assert_never(effect)

    # -- files -------------------------------------------------------------------------------------------------

    def _bring(self, order: GetFile) -> None:
        name = order.name
        if name in self.cache:
            self.protocol.on_file_came(name, MB, 0.0)
        elif name not in self._coming or self._coming[name].source != order.source:
            self._coming[name] = order
            self._spoilt.discard(name)
            if order.source:
                self._later(self._world.between(0, 1), self._on_arrival, order)
            else:
                self.protocol.ask_for_piece(SendFile(name, 0, MB))

    def _on_arrival(self, order: GetFile) -> None:
        if self._coming.get(order.name) is order:
            there = self._place.has(order.source, order.name)
            self._on_file(order, "" if there else f"{order.source} does not send it")

    def _on_piece(self, chunk: FileChunk, data: bytes) -> None:
        order = self._coming.get(chunk.name)
        if order is None or order.source:
            return
        if not chunk.error and data != content_of(chunk.name):
            raise SafetyViolation(f"{self.name} got {data!r} for {chunk.name}")
        self._on_file(order, chunk.error)

    def _on_file(self, order: GetFile, error: str) -> None:
        name = order.name
        del self._coming[name]
        if self.plan.bad_at == "files" or (self._place.faulty and self._world.chance(0.1)):
            error = error or "the disk has its moods"
        if name in self._spoilt:
            self._spoilt.discard(name)
            error = error or "it cannot be kept"
        if error:
            self.protocol.on_file_missing(name, order.source, error)
        else:
            self._keep(name)
            self.protocol.on_file_came(name, MB, 0.5)

    def _keep(self, name: str) -> None:
        self.cache.add(name)
        self._stolen.discard(name)

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            self.cache.discard(name)
            self._stolen.discard(name)
            if name in self._coming:
                self._spoilt.add(name)

    def lose_file(self) -> None:
        """Somebody tidies up where they should not."""
        if self.cache:
            self._lose(self._world.rng.choice(sorted(self.cache)))

    def _lose(self, name: str) -> None:
        self.cache.discard(name)
        self._stolen.add(name)

    def _read(self, request: SendFile) -> tuple[FileChunk, bytes]:
        if request.name not in self.cache:
            return FileChunk(request.name, request.offset, 0, error="the worker does not have it"), b""
        content = content_of(request.name)
        return FileChunk(request.name, request.offset, len(content)), content

    # -- tasks with processes of their own -----------------------------------------------------------------------

    def _check(self, start: TaskStart, function: Buffer) -> list[str]:
        """Whether it is what it should be; gives those of its inputs that were stolen."""
        id_, plan = start.id, self._place.plan(start.id)
        calls = [call for library in self._libraries.values() for call in library.running]
        calls += [call.id for library in self._libraries.values() for call in library.waiting]
        if id_ in self._tasks or id_ in calls:
            raise SafetyViolation(f"task {id_} runs at {self.name} already")
        if start.arguments != plan.arguments or bytes(function) != function_of(plan.function):
            raise SafetyViolation(f"task {id_} has the arguments or the function of another: {start}, {function!r}")
        inputs = [name for name, _ in start.inputs]
        gone = [name for name in inputs if name not in self.cache]
        if inputs != self._place.inputs_of(id_) or not self._stolen.issuperset(gone):
            raise SafetyViolation(f"task {id_} runs at {self.name} without {', '.join(gone) or inputs}")
        return gone

    def _start(self, start: TaskStart, function: Buffer) -> None:
        gone = self._check(start, function)
        if gone or self.plan.bad_at == "tasks":
            reason = "an input is gone" if gone else "nothing starts here"
            self.protocol.on_process_failed(start.id, reason, gone, self._world.now)
            return
        self._tasks[start.id] = start
        self._ending.discard(start.id)
        self._check_room()
        if not self._exhausts(start):
            self._later(self._place.plan(start.id).duration_s, self._end, start)

    def _exhausts(self, start: TaskStart) -> bool:
        """Whether it takes more and more memory until it is killed."""
        given = start.allocation.memory if start.allocation is not None else None
        return self._place.plan(start.id).exhausts and bool(given) and given != self.plan.resources.memory

    def _measure(self, id_: int) -> None:
        if id_ in self._tasks:
            memory = self.plan.resources.memory if self._exhausts(self._tasks[id_]) else 1.0
            self.protocol.on_measured(id_, Resources(memory=memory, disk=1.0), self._world.now)

    def _check_room(self) -> None:
        given = [start.allocation or Resources() for id_, start in self._tasks.items() if id_ not in self._ending]
        given += [each.start.allocation for number, each in self._libraries.items() if -1 - number not in self._ending]
        for name in _NAMES:
            used = sum(getattr(each, name) or 0 for each in given)
            if used > (getattr(self.plan.resources, name) or 0) + 1e-3:
                raise SafetyViolation(f"{self.name} is oversold: {used} {name}")

    def _end(self, start: TaskStart) -> None:
        if self._tasks.get(start.id) is not start:
            return  # it was killed
        del self._tasks[start.id]
        plan = self._place.plan(start.id)
        if plan.end == "signal":
            self._tell_end(start, TaskEnd(-11, "SIGSEGV", None, True, 0.0, 0.0, "", [], []))
            return
        failed, missing = plan.end == "raises", "as planned" if plan.end == "output_missing" else ""
        payload = plan.error if failed else b"" if start.result_name else plan.result
        made = [] if plan.end else self._make(start)
        end = TaskEnd(0, "", payload, failed, self._world.now, plan.duration_s, missing, made, self._spoil(start))
        self._tell_end(start, end)

    def _end_killed(self, id_: int) -> None:
        start = self._tasks.pop(id_, None)
        if start is not None:
            self._tell_end(start, TaskEnd(-9, "SIGKILL", None, True, 0.0, 0.0, "", [], []))

    def _tell_end(self, start: TaskStart, end: TaskEnd) -> None:
        self._do(self.protocol.on_process_ended, start.id, end)

    def _make(self, start: TaskStart) -> list[tuple[str, int]]:
        names = [start.result_name] if start.result_name else []
        names += [name for name, _, _ in start.outputs]
        for name in names:
            self._keep(name)
        return [(name, MB) for name in names]

    def _spoil(self, start: TaskStart) -> list[str]:
        if not (self._place.faulty and start.inputs and self._place.plan(start.id).spoils):
            return []
        name = start.inputs[0][0]
        self._lose(name)
        return [name]

    # -- libraries ---------------------------------------------------------------------------------------------

    def _start_library(self, start: LibraryStart) -> None:
        gone = [name for name, _ in start.inputs if name not in self.cache]
        if not self._stolen.issuperset(gone):
            raise SafetyViolation(f"library {start.name} starts at {self.name} without {', '.join(gone)}")
        context = function_of(CONTEXT) if start.name == "good" else b""
        if bytes(start.context_function) != context or start.context_arguments != start.name.encode():  # type: ignore[arg-type]
            raise SafetyViolation(f"library {start.name} has the context of another")
        self._libraries[start.instance] = _Library(start)
        self._check_room()
        self._later(self._world.between(0.1, 1), self._on_library_started, start.instance, bool(gone))

    def _on_library_started(self, instance: int, lacks_inputs: bool) -> None:
        library = self._libraries.get(instance)
        if library is None:
            return
        fails = LIBRARIES[library.start.name].fails
        if lacks_inputs or (self._world.chance(fails) and (fails == 1 or self._place.faulty)):
            self._end_library(instance, "ImportError")
        else:
            library.is_up = True
            self._do(self.protocol.on_library_ready, instance)

    def _end_library(self, instance: int, reason: str) -> None:
        if self._libraries.pop(instance, None) is not None:
            self._do(self.protocol.on_library_ended, instance, reason)

    def kill_library(self) -> None:
        up = [number for number, library in self._libraries.items() if library.is_up]
        if up:
            self._now(self._end_library, (self._world.rng.choice(up), "killed by somebody"))

    def _take_call(self, instance: int, start: TaskStart, function: Buffer) -> None:
        library = self._libraries.get(instance)
        if library is None:
            return
        gone = self._check(start, function)
        if not library.is_up:
            raise SafetyViolation(f"call {start.id} came to {self.name} before its library was up")
        if gone:
            self.protocol.on_call_failed(instance, start.id, "an input is gone", gone, self._world.now)
            return
        library.waiting.append(start)
        self._start_waiting(library)

    def _start_waiting(self, library: _Library) -> None:
        while library.waiting and len(library.running) < library.start.slots:
            start = library.waiting.pop(0)
            library.running.append(start.id)
            self._later(self._place.plan(start.id).duration_s, self._end_call, library, start)

    def _end_call(self, library: _Library, start: TaskStart) -> None:
        instance, plan = library.start.instance, self._place.plan(start.id)
        if self._libraries.get(instance) is not library or start.id not in library.running:
            return
        if plan.kills_library:
            self._end_library(instance, "a call has killed it")
            return
        library.running.remove(start.id)
        if plan.end == "signal":
            self._tell_death(instance, start.id, -11)
        else:
            failed, missing = plan.end == "raises", "as planned" if plan.end == "output_missing" else ""
            payload = plan.error if failed else b"" if start.result_name else plan.result
            made = [] if plan.end else self._make(start)
            times = self._world.now, plan.duration_s
            end = CallEnd(start.id, failed, *times, payload, made, self._spoil(start), missing)
            self._do(self.protocol.on_call_ended, instance, end)
        self._start_waiting(library)

    def _kill_call(self, instance: int, id_: int) -> None:
        library = self._libraries.get(instance)
        waiting = [] if library is None else [start for start in library.waiting if start.id == id_]
        if library is None or not (waiting or id_ in library.running):
            return
        if waiting:
            library.waiting.remove(waiting[0])
        else:
            library.running.remove(id_)
        self._tell_death(instance, id_, -9)
        self._start_waiting(library)

    def _tell_death(self, instance: int, id_: int, exit_code: int) -> None:
        self._do(self.protocol.on_call_died, instance, id_, exit_code, "it died", [], [])
