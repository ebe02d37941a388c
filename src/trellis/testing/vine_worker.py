"""A TaskVine worker as the manager's machine sees one, for simulations.

It gets files, runs tasks and libraries, and fails in all ways. It is strict: it runs nothing whose inputs are not
there, and nothing for which it has no room. No processes here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from trellis.executors.taskvine.embedded.manager import events
from trellis.testing.network import Connection, World
from trellis.testing.oracles import SafetyViolation
from trellis.testing.vine_scenario import LibraryPlan, VineTaskPlan
from trellis.wire.vine import VINE_PROTOCOL_VERSION, RegisterWorker, Resources

_NAMES = ("cores", "memory", "disk", "gpus")


class Surroundings(Protocol):
    """What a worker's simulation asks of the rest."""

    world: World

    def plan(self, id_: int) -> VineTaskPlan: ...

    def inputs_of(self, id_: int) -> list[str]: ...

    def outputs_of(self, id_: int) -> list[str]: ...

    def library_of(self, name: str) -> LibraryPlan: ...

    def has(self, source: str, name: str) -> bool: ...

    @property
    def faulty(self) -> bool: ...


@dataclass(eq=False)
class _Instance:
    name: str
    resources: Resources
    up: bool = False
    running: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)


class SimulatedVineWorker:
    """One worker. Messages to the manager are its machine's events."""

    def __init__(
        self,
        place: Surroundings,
        name: str,
        resources: Resources,
        features: list[str],
        ends_in_s: float | None,
        bad_at: str,
    ) -> None:
        self.name = name
        self.alive = True
        self.cache: set[str] = set()
        self.connection: Connection | None = None
        self._place = place
        self._world = place.world
        self._resources = resources
        self._features = features
        self._ends_in_s = ends_in_s
        self._bad_at = bad_at  # "files": it gets none; "tasks": it starts none
        self._tasks: dict[int, Resources] = {}
        self._instances: dict[int, _Instance] = {}
        self._coming: set[str] = set()
        self._stolen: dict[str, bool] = {}  # files that it lost; whether it has told of it

    def connect(self, connection: Connection) -> None:
        self.connection = connection
        kept = sorted(self.cache)
        hello = RegisterWorker(
            VINE_PROTOCOL_VERSION,
            self.name,
            "host",
            1,
            self._resources,
            self._features,
            "",
            self._ends_in_s,
            kept,
            [0] * len(kept),
        )
        self._send(events.WorkerRegistered(hello))
        self._beat()

    def _beat(self) -> None:
        if self.alive:
            self._send(events.WorkerHeard(self.name))
            self._world.after(2.0, self._beat)

    def _send(self, event: Any, may_double: bool = False) -> None:
        if self.alive and self.connection is not None:
            self.connection.to_server(event)
            if may_double and self._place.faulty and self._world.chance(0.1):
                self.connection.to_server(event)

    def die(self) -> None:
        """Killed, or dismissed: everything that it had is gone."""
        self.alive = False
        self._tasks.clear()
        self._instances.clear()
        self.cache.clear()
        if self.connection is not None:
            self.connection.cut(self._world.between(0, 3), None)

    def on_closed(self, connection: Connection) -> None:
        self.die()

    def on_message(self, connection: Connection, message: Any) -> None:
        if self.alive:
            self._handlers[type(message)](self, message)

    # -- files -------------------------------------------------------------------------------------------------

    def _on_order(self, order: events.OrderFile) -> None:
        if order.name in self.cache:
            self._send(events.CacheUpdated(self.name, [order.name], [self._size()]))
        elif order.name not in self._coming:
            self._coming.add(order.name)
            self._world.after(self._world.between(0, 1), self._on_arrival, order)

    def _on_arrival(self, order: events.OrderFile) -> None:
        if not self.alive or order.name not in self._coming:
            return
        self._coming.discard(order.name)
        bad = self._bad_at == "files" or (self._place.faulty and self._world.chance(0.1))
        if bad or not self._place.has(order.source, order.name):
            self._send(events.CacheFailed(self.name, order.name, f"{order.source or 'the manager'} does not send it"))
            return
        self._keep(order.name)
        self._send(events.CacheUpdated(self.name, [order.name], [self._size()]))

    def _keep(self, name: str) -> None:
        self.cache.add(name)
        self._stolen.pop(name, None)

    @staticmethod
    def _size() -> int:
        return 2**20

    def _on_evict(self, evict: events.EvictFiles) -> None:
        self.cache.difference_update(evict.names)
        self._coming.difference_update(evict.names)
        for name in evict.names:
            self._stolen.pop(name, None)

    def lose_file(self) -> None:
        """Somebody tidies up where they should not."""
        if self.cache:
            name = self._world.rng.choice(sorted(self.cache))
            self.cache.discard(name)
            self._stolen[name] = False

    def _on_pull(self, pull: events.BringHome) -> None:
        self._send(events.CameHome(pull.name, "" if pull.name in self.cache else "the worker does not have it"))

    # -- tasks -------------------------------------------------------------------------------------------------

    def _on_run(self, run: events.RunTasks) -> None:
        for id_, resources, instance in zip(run.ids, run.allocations, run.instances, strict=True):
            if id_ in self._tasks or any(id_ in i.running + i.waiting for i in self._instances.values()):
                raise SafetyViolation(f"task {id_} runs at {self.name} already")
            if not self._inputs_are_here(id_):
                self._fail(id_, "forsaken", "an input is gone")
            elif resources is None:
                self._take_call(id_, instance)
            elif self._bad_at == "tasks":
                self._fail(id_, "forsaken", "nothing starts here")
            else:
                self._tasks[id_] = resources
                self._check_room()
                self._world.after(self._place.plan(id_).duration_s, self._on_end, id_, resources)

    def _inputs_are_here(self, id_: int) -> bool:
        gone = [name for name in self._place.inputs_of(id_) if name not in self.cache]
        for name in gone:
            if name not in self._stolen:
                raise SafetyViolation(f"task {id_} runs at {self.name} without {name}")
            if not self._stolen[name]:
                self._stolen[name] = True
                self._send(events.CacheFailed(self.name, name, "it is gone"))
        return not gone

    def _check_room(self) -> None:
        allocations = [*self._tasks.values(), *(instance.resources for instance in self._instances.values())]
        for name in _NAMES:
            used = sum(getattr(resources, name) or 0 for resources in allocations)
            if used > (getattr(self._resources, name) or 0) + 1e-3:
                raise SafetyViolation(f"{self.name} is oversold: {used} {name}")

    def _on_end(self, id_: int, resources: Resources) -> None:
        if self._tasks.get(id_) is not resources:
            return  # it was killed
        del self._tasks[id_]
        plan = self._place.plan(id_)
        if plan.exhausts and (resources.memory or 0) < (self._resources.memory or 0):
            self._fail(id_, "resource_exhaustion", "too much memory")
        elif plan.end:
            self._fail(id_, plan.end, "as planned")
        else:
            self._succeed(id_, plan.duration_s)

    def _succeed(self, id_: int, duration_s: float) -> None:
        made = self._place.outputs_of(id_)
        for name in made:
            self._keep(name)
        if made:
            self._send(events.CacheUpdated(self.name, made, [self._size()] * len(made)))
        self._send(events.CallsEnded(self.name, [id_], [duration_s]), may_double=True)

    def _fail(self, id_: int, status: str, reason: str) -> None:
        self._send(events.TaskFailed(self.name, id_, status, reason))

    def _on_kill(self, kill: events.KillTasks) -> None:
        for id_ in kill.ids:
            if self._tasks.pop(id_, None) is not None:
                self._fail(id_, "cancelled", "killed")
            for instance in self._instances.values():
                if id_ in instance.running + instance.waiting:
                    (instance.running if id_ in instance.running else instance.waiting).remove(id_)
                    self._fail(id_, "cancelled", "killed")
                    self._start_waiting(instance)

    # -- libraries ---------------------------------------------------------------------------------------------

    def _on_start_library(self, start: events.StartLibrary) -> None:
        plan = self._place.library_of(start.library)
        for name in (f"f{number}" for number in plan.files):
            if name not in self.cache and name not in self._stolen:
                raise SafetyViolation(f"library {plan.name} starts at {self.name} without {name}")
        self._instances[start.instance] = _Instance(start.library, start.resources)
        self._check_room()
        self._world.after(self._world.between(0.1, 1), self._on_library_started, start.instance, plan)

    def _on_library_started(self, number: int, plan: LibraryPlan) -> None:
        instance = self._instances.get(number)
        if instance is None or not self.alive:
            return
        if self._world.chance(plan.fails):
            del self._instances[number]
            self._send(events.LibraryDown(self.name, number, "ImportError"))
        else:
            instance.up = True
            self._send(events.LibraryUp(self.name, number, plan.slots))

    def _on_stop_library(self, stop: events.StopLibrary) -> None:
        instance = self._instances.pop(stop.instance, None)
        if instance is not None:
            self._end_calls(instance)

    def _take_call(self, id_: int, number: int) -> None:
        instance = self._instances.get(number)
        if instance is None:
            self._fail(id_, "forsaken", "its library has ended")
            return
        if not instance.up:
            raise SafetyViolation(f"call {id_} came to {self.name} before its library was up")
        instance.waiting.append(id_)
        self._start_waiting(instance)

    def _start_waiting(self, instance: _Instance) -> None:
        while instance.waiting and len(instance.running) < self._place.library_of(instance.name).slots:
            id_ = instance.waiting.pop(0)
            instance.running.append(id_)
            self._world.after(self._place.plan(id_).duration_s, self._on_call_end, instance, id_)

    def _on_call_end(self, instance: _Instance, id_: int) -> None:
        if not self.alive or id_ not in instance.running or instance not in self._instances.values():
            return
        plan = self._place.plan(id_)
        if plan.kills_library:
            self._library_dies(instance)
            return
        instance.running.remove(id_)
        if plan.end:
            self._fail(id_, plan.end, "as planned")
        else:
            self._succeed(id_, plan.duration_s)
        self._start_waiting(instance)

    def kill_library(self) -> None:
        up = [instance for instance in self._instances.values() if instance.up]
        if up:
            self._library_dies(self._world.rng.choice(up))

    def _library_dies(self, instance: _Instance) -> None:
        number = next(number for number, other in self._instances.items() if other is instance)
        del self._instances[number]
        self._end_calls(instance)
        self._send(events.LibraryDown(self.name, number, "killed"))

    def _end_calls(self, instance: _Instance) -> None:
        for id_ in instance.running:
            self._fail(id_, "library_exit", "its library died")
        for id_ in instance.waiting:
            self._fail(id_, "forsaken", "its library died before it started")

    def _on_dismiss(self, message: events.Dismiss) -> None:
        self.die()

    def _on_welcome(self, message: events.Welcome) -> None:
        pass

    _handlers: dict[type, Callable[[SimulatedVineWorker, Any], None]] = {
        events.OrderFile: _on_order,
        events.EvictFiles: _on_evict,
        events.BringHome: _on_pull,
        events.RunTasks: _on_run,
        events.KillTasks: _on_kill,
        events.StartLibrary: _on_start_library,
        events.StopLibrary: _on_stop_library,
        events.Dismiss: _on_dismiss,
        events.Welcome: _on_welcome,
    }
