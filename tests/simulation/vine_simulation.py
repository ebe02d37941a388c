"""A TaskVine manager, its workers and its user in one thread, under seeded faults: ``VineSimulation(seed).run()``.

Manager and workers are the real protocol objects with their machines, and what they say travels as encoded frames;
sockets, processes, files and time are simulated. A run raises ``SafetyViolation`` or ``LivenessViolation`` (or the
AssertionError of an invariant) with the last events before it.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.network import TICK_S, Connection, World
from tests.simulation.oracles import LivenessViolation, SafetyViolation
from tests.simulation.vine_manager import SimulatedVineManager, due_tick
from tests.simulation.vine_scenario import (
    CALLS,
    CLIENT,
    CONTEXT,
    FUNCTIONS,
    LIBRARIES,
    SHAPES,
    Parts,
    VineScenario,
    VineTaskPlan,
    content_of,
    function_of,
    library_spec,
    settings_of,
)
from tests.simulation.vine_wire import DAMAGES, Frames
from tests.simulation.vine_worker import SimulatedVineWorker, WorkerPlan
from trellis.errors import BadMessage
from trellis.executors.taskvine.embedded.worker.events import Exit
from trellis.wire.codec import Decoder, Payload, encode_header, pack, unpack
from trellis.wire.messages import DefineFunctions, ForgetFunctions, Shutdown
from trellis.wire.vine import (
    CancelVineTasks,
    DeclareFiles,
    DefineShapes,
    DropFiles,
    FetchFile,
    FileFetched,
    FileSpec,
    FromVineClient,
    FromVineWorker,
    GetFile,
    InstallLibraries,
    Mount,
    Resources,
    RunTasks,
    ToVineClient,
    ToVineWorker,
    VineNotice,
    VineResults,
    VineStatusRequest,
    VineTaskFailed,
    VineTasks,
)

__all__ = ["Parts", "VineScenario", "VineSimulation"]

# After the last fault everything ends in less than this, in correct runs.
_AMPLE_S = 2_000.0
# So long after the last report workers may be busy with what nobody waits for.
_CALM_S = 60.0
_TRACE_LENGTH = 200
_CLIENT_DELAY_S = 0.05


@dataclass
class _User:
    """What the submit side knows."""

    plans: dict[int, VineTaskPlan] = field(default_factory=dict)
    outcomes: dict[int, str] = field(default_factory=dict)
    asked: dict[int, int] = field(default_factory=dict)  # requests for files
    answers: dict[int, str] = field(default_factory=dict)  # errors, or nothing
    cancelled: set[int] = field(default_factory=set)
    files: dict[int, FileSpec] = field(default_factory=dict)


class VineSimulation:
    """A run. Every choice follows from the seed."""

    def __init__(self, seed: int, scenario: VineScenario | None = None, parts: Parts | None = None) -> None:
        self.seed = seed
        self.scenario = scenario = scenario or VineScenario()
        self.parts = parts or Parts()
        self.world = World(seed)
        self.user = _User()
        self.workers: dict[str, SimulatedVineWorker] = {}
        self.told: list[str] = []
        self.orders: list[GetFile] = []
        self.faulty = scenario.faults > 0
        self._reported: set[int] = set()  # by the manager; the user may not know yet
        self._from_manager: Decoder[ToVineClient] = Decoder(ToVineClient)
        self._to_worker: Decoder[ToVineWorker] = Decoder(ToVineWorker)
        self._trace: deque[tuple[float, str, object]] = deque(maxlen=_TRACE_LENGTH)
        self._numbers = itertools.count()
        self._requests = itertools.count(1)
        self._names = itertools.count()
        self.manager = SimulatedVineManager(self.world, self, self.parts, *settings_of(scenario))
        self._connection = Connection(self.world, self.manager, self, CLIENT, _CLIENT_DELAY_S)
        self.manager.clients = self._connection

    def run(self) -> None:
        """Run to the end.

        Raises:
            SafetyViolation: something happened that must not.
            LivenessViolation: something did not happen.
        """
        try:
            self._plan()
            self._run_until(self.scenario.faults_s, stop=False)
            self.faulty = False
            self.add_worker("rescue", WorkerPlan(Resources(4, 4_000, 10_000, 1), ("gpu",)))
            if not self._run_until(self.world.now + _AMPLE_S, stop=True):
                raise LivenessViolation(f"these have not ended: {self._unsettled()}")
            self._end()
        except Exception as error:
            story = "\n".join(f"{time_s:8.2f} {who}: {_readable(what)}" for time_s, who, what in self._trace)
            error.add_note(f"VineSimulation seed {self.seed}, {self.scenario}:\n{story}")
            raise
        finally:
            self.manager.close()

    # -- what happens when -------------------------------------------------------------------------------------

    def _plan(self) -> None:
        world, scenario = self.world, self.scenario
        self._ask_status()
        self._say(DefineShapes(list(range(len(SHAPES))), SHAPES))
        functions = [*FUNCTIONS, CONTEXT]
        self._say(DefineFunctions(functions, []), [function_of(number) for number in functions])
        self._declare([FileSpec(next(self._numbers), "file", "/f0", "worker")])
        libraries = list(LIBRARIES.values())
        specs = [library_spec(plan) for plan in libraries]
        self._say(InstallLibraries(specs, []), [plan.name.encode() for plan in libraries])
        for _ in range(scenario.workers):
            world.after(world.between(0, 3), self._add_random_worker)
        tasks = 0
        while tasks < scenario.tasks:
            number = min(world.rng.choice([1, 1, 2, 8, 20]), scenario.tasks - tasks)
            world.after(world.between(0, scenario.faults_s * 0.9), self._submit, range(tasks, tasks + number))
            tasks += number
        faults = [self._cancel, self._kill, self._kill, self._stick, self._break, self._break, self._freeze]
        faults += [self._damage, self._lose_file, self._kill_library, self._add_random_worker, self._fetch]
        faults += [self._fetch, self._drop_files, self._spoil_origin]
        for _ in range(scenario.faults):
            world.after(world.between(0, scenario.faults_s * 0.9), world.rng.choice(faults))

    def _add_random_worker(self) -> None:
        rng, scenario, world = self.world.rng, self.scenario, self.world
        resources = Resources(rng.choice([1, 2, 4]), rng.choice([200, 1_000]), scenario.disk, rng.choice([0, 1]))
        plan = WorkerPlan(
            resources,
            ("gpu",) if world.chance(0.5) else (),
            world.between(3, 20) if scenario.faults and world.chance(0.2) else None,
            rng.choice(["", "", "", "", "files", "tasks"]) if scenario.faults else "",
            idle_timeout_s=rng.choice([0.0, 0.0, 0.0, 5.0]) if scenario.faults else 0.0,
            measures=world.chance(0.3),
        )
        worker = self.add_worker(f"w{next(self._names)}", plan)
        if plan.ends_in_s is not None:
            self.world.after(plan.ends_in_s, self._end_job, worker)

    def add_worker(self, name: str, plan: WorkerPlan, cache: set[str] | None = None) -> SimulatedVineWorker:
        if cache is None:
            cache = {"f0"} if self.faulty and self.world.chance(0.3) else set()  # from a former run
        worker = self.workers[name] = SimulatedVineWorker(self, self.manager.workers, name, plan, cache)
        return worker

    @staticmethod
    def _end_job(worker: SimulatedVineWorker) -> None:
        if worker.alive:
            worker.die()

    # -- the user ----------------------------------------------------------------------------------------------

    def _say(self, message: Any, payloads: list[Payload] | None = None) -> None:
        frames: Frames = []
        if payloads is not None:
            message.sizes, frames = pack(payloads)
        self._connection.to_server([encode_header(message), *frames])

    def _ask_status(self) -> None:
        self._say(VineStatusRequest(0))
        if self.faulty:
            self.world.after(1.0, self._ask_status)

    def _declare(self, specs: list[FileSpec]) -> None:
        self.user.files.update((spec.id, spec) for spec in specs)
        self._say(DeclareFiles(specs, []), [b"" for _ in specs])

    def _submit(self, ids: range) -> None:
        inputs: dict[int, list[Mount]] = {}
        outputs: dict[int, list[Mount]] = {}
        results: dict[int, int] = {}
        for position, id_ in enumerate(ids):
            plan = self.user.plans[id_] = self._random_task(id_)
            if plan.inputs:
                inputs[position] = [Mount(number, "x") for number in plan.inputs]
            if plan.home or plan.temps[1:]:
                outputs[position] = [Mount(number, "y") for number in plan.home + plan.temps[1:]]
            if plan.temps:
                results[position] = plan.temps[0]
        plans = [self.user.plans[id_] for id_ in ids]
        functions, shapes = [plan.function for plan in plans], [plan.shape for plan in plans]
        message = VineTasks(list(ids), functions, shapes, [], inputs, outputs, results)
        self._say(message, [plan.arguments for plan in plans])

    def _random_task(self, id_: int) -> VineTaskPlan:
        world, rng = self.world, self.world.rng
        shape = rng.randrange(len(SHAPES))
        inputs = [self._random_input() for _ in range(rng.choice([0, 0, 1, 2]))]
        temps = [self._new("temp", "") for _ in range(rng.choice([0, 0, 1, 2]))]
        home = [self._new("file", f"/home{id_}", made=True) for _ in range(rng.choice([0, 0, 0, 1, 2]))]
        return VineTaskPlan(
            id_,
            shape,
            rng.choice([0.0, 0.0, 0.1, 0.5, 2.0, 5.0]),
            tuple(dict.fromkeys(inputs)),
            tuple(temps),
            tuple(home),
            rng.choice(FUNCTIONS),
            rng.choice(self.scenario.ends),
            kills_library=shape in CALLS and self.scenario.faults > 0 and world.chance(0.1),
            exhausts=shape not in CALLS and world.chance(0.1),
            spoils=world.chance(0.05),
        )

    def _random_input(self) -> int:
        rng = self.world.rng
        temps = [n for n, spec in self.user.files.items() if spec.kind == "temp"]
        if temps and self.world.chance(0.6):
            return rng.choice(temps)
        shared = [n for n, spec in self.user.files.items() if spec.kind != "temp" and not spec.made]
        if shared and self.world.chance(0.6):
            return rng.choice(shared)
        kind = rng.choice(["url", "buffer", "file"])
        return self._new(kind, "http://x" if kind == "url" else "/x", rng.choice(["task", "workflow", "worker"]))

    def _new(self, kind: str, source: str, level: str = "workflow", made: bool = False) -> int:
        number = next(self._numbers)
        self._declare([FileSpec(number, kind, source, level, self.world.chance(0.8), made=made)])
        return number

    def on_message(self, connection: Connection, message: Frames) -> None:
        decoded = self._from_manager.decode(message[0])
        match decoded:
            case VineResults(ids=ids):
                for position, payload in enumerate(unpack(decoded.sizes, message[1:])):
                    self._check_result(ids[position], position in decoded.failed, payload)
                    self._report(ids[position], "done")
            case VineTaskFailed(id=id_, status=status, reason=reason):
                if "refused" in reason:
                    raise SafetyViolation(f"task {id_} was refused: {reason}")
                self._report(id_, status)
            case FileFetched(request=request, error=error):
                self._on_fetched(request, error, unpack(decoded.sizes, message[1:]))
            case VineNotice(text=text):
                self.told.append(text)

    def on_closed(self, connection: Connection) -> None:
        raise AssertionError("the manager lives as long as its submit side")

    def _check_result(self, id_: int, failed: bool, payload: Payload) -> None:
        plan = self.user.plans[id_]
        meant = plan.error if plan.end == "raises" else b"" if plan.temps else plan.result
        if failed != (plan.end == "raises") or payload != meant:
            raise SafetyViolation(f"task {id_} has the result of another: {payload!r}")

    def _report(self, id_: int, outcome: str) -> None:
        if id_ in self.user.outcomes:
            raise SafetyViolation(f"task {id_} is reported twice: {self.user.outcomes[id_]}, {outcome}")
        if outcome == "cancelled" and id_ not in self.user.cancelled:
            raise SafetyViolation(f"task {id_} was cancelled by nobody")
        self.user.outcomes[id_] = outcome

    def _on_fetched(self, request: int, error: str, payloads: list[Payload]) -> None:
        if request in self.user.answers:
            raise SafetyViolation(f"request {request} is answered twice")
        name = f"f{self.user.asked[request]}"
        if not error and payloads != [content_of(name)]:
            raise SafetyViolation(f"the content of {name} is {payloads}")
        self.user.answers[request] = error

    # -- faults ------------------------------------------------------------------------------------------------

    def _victim(self) -> SimulatedVineWorker | None:
        alive = [worker for worker in self.workers.values() if worker.alive]
        return self.world.rng.choice(alive) if alive else None

    def _cancel(self) -> None:
        waiting = [id_ for id_ in self.user.plans if id_ not in self.user.outcomes]
        chosen = self.world.rng.sample(waiting, min(len(waiting), 4))
        self.user.cancelled.update(chosen)
        self._say(CancelVineTasks([*chosen, 10**9]))

    def _kill(self) -> None:
        victim = self._victim()
        if victim is not None:
            victim.die()
            if self.world.chance(0.7):
                self.world.after(self.world.between(0.1, 2), self._add_random_worker)

    def _stick(self) -> None:
        victim = self._victim()
        if victim is not None:
            victim.socket.connection.stick(self.world.rng.choice([0.5, 3.0, 10.0]))

    def _break(self) -> None:
        """A connection breaks. The one side notices sooner and the other later, or the manager not at all."""
        victim = self._victim()
        if victim is not None:
            server_after_s = self.world.rng.choice([0.0, 0.5, 3.0, None])
            victim.socket.break_(server_after_s, self.world.rng.choice([0.0, 0.2, 2.0]))

    def _freeze(self) -> None:
        victim = self._victim()
        if victim is not None:
            victim.freeze(self.world.rng.choice([0.5, 4.0, 12.0]))

    def _damage(self) -> None:
        victim = self._victim()
        if victim is not None:
            victim.damage_next(*self.world.rng.sample(DAMAGES, 3))

    def _lose_file(self) -> None:
        for worker in self.workers.values():
            worker.lose_file()

    def _kill_library(self) -> None:
        for worker in self.workers.values():
            if worker.alive:
                worker.kill_library()

    def _fetch(self) -> None:
        temps = [n for n, spec in self.user.files.items() if spec.kind == "temp"]
        if temps:
            request = next(self._requests)
            self.user.asked[request] = self.world.rng.choice(temps)
            self._say(FetchFile(request, self.user.asked[request]))

    def _drop_files(self) -> None:
        """Whatever the user has of them: tasks and libraries that need them keep theirs."""
        chosen = self.world.rng.sample(list(self.user.files), min(len(self.user.files), 5))
        for number in chosen:
            del self.user.files[number]
        self._say(DropFiles(chosen))

    def _spoil_origin(self) -> None:
        files = [n for n, spec in self.user.files.items() if spec.kind in ("file", "url") and n]
        if files:
            self.manager.gone.add(f"f{self.world.rng.choice(files)}")

    def worker_ended(self, worker: SimulatedVineWorker, exit_: Exit) -> None:
        """Where only the connection broke, the worker comes back as another one, with what is in its cache."""
        if exit_.again:
            name = f"{worker.name}'"
            self.world.after(self.world.between(0, 1), self._come_back, name, worker)

    def _come_back(self, name: str, former: SimulatedVineWorker) -> None:
        self.add_worker(name, former.plan, former.cache)

    # -- what workers ask of the rest --------------------------------------------------------------------------

    def plan(self, id_: int) -> VineTaskPlan:
        return self.user.plans[id_]

    def inputs_of(self, id_: int) -> list[str]:
        return [f"f{number}" for number in self.user.plans[id_].inputs]

    def has(self, source: str, name: str) -> bool:
        peer = self.workers.get(source.partition(":")[0])
        return name not in self.manager.gone if peer is None else peer.alive and name in peer.cache

    # -- what the manager says, as it says it ------------------------------------------------------------------

    def note(self, who: str, what: object) -> None:
        self._trace.append((self.world.now, who, what))

    def reported(self, frames: Frames) -> None:
        message = self._from_manager.decode(frames[0])
        if isinstance(message, VineResults):
            self._reported.update(message.ids)
        elif isinstance(message, VineTaskFailed):
            self._reported.add(message.id)

    def ordered(self, frames: Frames) -> None:
        message = self._to_worker.decode(frames[0])
        if isinstance(message, RunTasks):
            for id_ in self._reported.intersection(message.ids):
                if not self.user.plans[id_].temps or self.user.outcomes.get(id_, "done") != "done":
                    raise SafetyViolation(f"task {id_} runs after its report")
        elif isinstance(message, GetFile):
            self.orders.append(message)

    # -- time, and the end -------------------------------------------------------------------------------------

    def _run_until(self, end_s: float, stop: bool) -> bool:
        """Let time pass until ``end_s``, or (``stop``) until everything has ended: True."""
        end = round(end_s / TICK_S)
        while not (stop and self._settled()):
            next_tick = self.world.next_tick
            deadline = self.manager.next_deadline()
            due = due_tick(deadline)
            if min(due, end if next_tick is None else next_tick) >= end:
                self.world.ticks = end
                return False
            if deadline is not None and (next_tick is None or due < next_tick):
                self.world.ticks = max(self.world.ticks, int(due))
                self.world.at_least = deadline
                self.manager.on_deadline()
            else:
                self.world.step()
        return True

    def _settled(self) -> bool:
        return len(self.user.plans) == self.scenario.tasks and not self._unsettled()

    def _unsettled(self) -> list[object]:
        tasks: list[object] = [
            self.manager.state.store.tasks.get(id_, id_) for id_ in self.user.plans if id_ not in self.user.outcomes
        ]
        return tasks + sorted(self.user.asked.keys() - self.user.answers.keys())

    def _end(self) -> None:
        """Nothing is left over when the user has dropped everything."""
        self._say(DropFiles(list(self.user.files)))
        self._say(ForgetFunctions(list(FUNCTIONS)))
        self._run_until(self.world.now + _CALM_S, stop=False)
        store = self.manager.state.store
        left: list[Any] = [store.tasks, store.producers, store.waiting, store.returning]
        left += self.manager.protocol.kept
        for worker in self.workers.values():
            if worker.alive:
                left += [worker.protocol.state.tasks, worker.protocol.waiting]
        if any(left):
            raise SafetyViolation(f"left over: {left}")
        self._say(Shutdown())
        self._run_until(self.world.now + 1, stop=False)


_DECODERS: list[Decoder[Any]] = [
    Decoder(union) for union in (ToVineWorker, ToVineClient, FromVineWorker, FromVineClient)
]


def _readable(what: object) -> object:
    """Frames for people."""
    if not isinstance(what, list) or not what or not isinstance(what[0], bytes):
        return what
    for decoder in _DECODERS:
        with contextlib.suppress(BadMessage):
            return decoder.decode(what[0])
    return what
