"""A TaskVine manager with its workers and its user in one thread, under seeded faults: ``VineSimulation(seed).run()``.

The manager is the real machine; workers, network and time are simulated. A run raises ``SafetyViolation`` or
``LivenessViolation`` (or the AssertionError of an invariant) with the last events before it.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import Any

from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.state import VineManagerSettings, VineManagerState
from trellis.testing.network import TICK_S, Connection, World
from trellis.testing.oracles import LivenessViolation, SafetyViolation
from trellis.testing.vine_scenario import CALLS, SHAPES, LibraryPlan, VineScenario, VineTaskPlan, library_spec
from trellis.testing.vine_worker import SimulatedVineWorker
from trellis.wire.vine import FileSpec, Mount, Resources

__all__ = ["VineScenario", "VineSimulation"]

# After the last fault everything ends in less than this, in correct runs.
_AMPLE_S = 2_000.0
_TRACE_LENGTH = 150
_MB = 2**20


@dataclass
class _User:
    """What the submit side knows."""

    plans: dict[int, VineTaskPlan] = field(default_factory=dict)
    outcomes: dict[int, str] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)  # requests for files
    answers: dict[int, str] = field(default_factory=dict)  # errors, or nothing
    cancelled: set[int] = field(default_factory=set)
    files: dict[int, FileSpec] = field(default_factory=dict)


class VineSimulation:
    """One run. Every choice follows from the seed."""

    def __init__(self, seed: int, scenario: VineScenario | None = None) -> None:
        self.seed = seed
        self.scenario = scenario = scenario or VineScenario()
        self.world = World(seed)
        self.user = _User()
        self.workers: dict[str, SimulatedVineWorker] = {}
        self.told: list[str] = []
        self.orders: list[events.OrderFile] = []
        settings = VineManagerSettings(
            scenario.heartbeat_threshold_s,
            policy=scenario.policy,
            autolabel=scenario.autolabel,
            autolabel_window=5,
            temp_replicas=scenario.temp_replicas,
            slow_factor=scenario.slow_factor,
            worker_transfers=2 if scenario.peers else 0,
        )
        self.state = VineManagerState(settings, Random(seed))
        self._trace: deque[tuple[float, object]] = deque(maxlen=_TRACE_LENGTH)
        self._results: set[tuple[str, int]] = set()
        self._kept: set[int] = set()  # tasks that may run again
        self._pulls: dict[str, set[str]] = {}  # files on their way home, by worker
        self._numbers = itertools.count()
        self._requests = itertools.count()
        self._names = itertools.count()
        self.faulty = scenario.faults > 0
        self._gone_at_origin: set[str] = set()

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
            self.add_worker("rescue", Resources(4, 4_000, 10_000, 1), ["gpu"], None, "")
            if not self._run_until(self.world.now + _AMPLE_S, stop=True):
                raise LivenessViolation(f"these have not ended: {self._unsettled()}")
            self._end()
        except Exception as error:
            story = "\n".join(f"{time_s:8.2f} {what}" for time_s, what in self._trace)
            error.add_note(f"VineSimulation seed {self.seed}, {self.scenario}:\n{story}")
            raise

    # -- what happens when -------------------------------------------------------------------------------------

    def _plan(self) -> None:
        world, scenario = self.world, self.scenario
        self._handle(events.ShapesDefined(range(len(SHAPES)), SHAPES))
        self._declare([FileSpec(next(self._numbers), "file", "/f0", "worker")])
        libraries = [self.library_of(name) for name in ("good", "filed", "moody", "broken")]
        self._handle(events.LibrariesInstalled([library_spec(plan) for plan in libraries]))
        for _ in range(scenario.workers):
            world.after(world.between(0, 3), self._add_random_worker)
        tasks = 0
        while tasks < scenario.tasks:
            number = min(world.rng.choice([1, 1, 2, 8, 20]), scenario.tasks - tasks)
            world.after(world.between(0, scenario.faults_s * 0.9), self._submit, range(tasks, tasks + number))
            tasks += number
        faults = [self._cancel, self._kill, self._kill, self._stick, self._lose_file, self._kill_library]
        faults += [self._add_random_worker, self._fetch, self._fetch, self._drop_files, self._spoil_origin]
        for _ in range(scenario.faults):
            world.after(world.between(0, scenario.faults_s * 0.9), world.rng.choice(faults))

    def _add_random_worker(self) -> None:
        rng, scenario = self.world.rng, self.scenario
        resources = Resources(rng.choice([1, 2, 4]), rng.choice([200, 1_000]), scenario.disk, rng.choice([0, 1]))
        bad_at = rng.choice(["", "", "", "", "files", "tasks"]) if scenario.faults else ""
        ends_in_s = self.world.between(3, 20) if scenario.faults and self.world.chance(0.2) else None
        features = ["gpu"] if self.world.chance(0.5) else []
        worker = self.add_worker(f"w{next(self._names)}", resources, features, ends_in_s, bad_at)
        if ends_in_s is not None:
            self.world.after(ends_in_s, worker.die)

    def add_worker(
        self, name: str, resources: Resources, features: list[str], ends_in_s: float | None, bad_at: str
    ) -> SimulatedVineWorker:
        worker = self.workers[name] = SimulatedVineWorker(self, name, resources, features, ends_in_s, bad_at)
        if self.faulty and self.world.chance(0.3):
            worker.cache.add("f0")  # from a former run
        worker.connect(Connection(self.world, self, worker, name, 0.2))
        return worker

    # -- the user ----------------------------------------------------------------------------------------------

    def _declare(self, specs: list[FileSpec]) -> None:
        sizes = [-1 if spec.kind in ("temp", "url") or spec.source == "" else _MB for spec in specs]
        self.user.files.update((spec.id, spec) for spec in specs)
        self._handle(events.FilesDeclared(specs, [f"f{spec.id}" for spec in specs], sizes))

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
        shapes = [self.user.plans[id_].shape for id_ in ids]
        self._handle(events.TasksSubmitted(list(ids), shapes, inputs, outputs, results))

    def _random_task(self, id_: int) -> VineTaskPlan:
        world, rng = self.world, self.world.rng
        shape = rng.randrange(len(SHAPES))
        inputs = [self._random_input() for _ in range(rng.choice([0, 0, 1, 2]))]
        temps = [self._new("temp", "") for _ in range(rng.choice([0, 0, 1, 2]))]
        home = [self._new("file", "") for _ in range(rng.choice([0, 0, 0, 1, 2]))]
        return VineTaskPlan(
            id_,
            shape,
            rng.choice([0.0, 0.0, 0.1, 0.5, 2.0, 5.0]),
            tuple(dict.fromkeys(inputs)),
            tuple(temps),
            tuple(home),
            rng.choice(self.scenario.ends),
            kills_library=shape in CALLS and self.scenario.faults > 0 and world.chance(0.1),
            exhausts=shape not in CALLS and world.chance(0.1),
        )

    def _random_input(self) -> int:
        rng = self.world.rng
        temps = [n for n, spec in self.user.files.items() if spec.kind == "temp"]
        if temps and self.world.chance(0.6):
            return rng.choice(temps)
        shared = [n for n, spec in self.user.files.items() if spec.kind in ("url", "buffer", "file") and spec.source]
        if self.world.chance(0.6):
            return rng.choice(shared)
        kind = rng.choice(["url", "buffer", "file"])
        return self._new(kind, "http://x" if kind == "url" else "/x", rng.choice(["task", "workflow", "worker"]))

    def _new(self, kind: str, source: str, level: str = "workflow") -> int:
        number = next(self._numbers)
        self._declare([FileSpec(number, kind, source, level, self.world.chance(0.8))])
        return number

    # -- faults ------------------------------------------------------------------------------------------------

    def _victim(self) -> SimulatedVineWorker | None:
        alive = [worker for worker in self.workers.values() if worker.alive]
        return self.world.rng.choice(alive) if alive else None

    def _cancel(self) -> None:
        waiting = [id_ for id_ in self.user.plans if id_ not in self.user.outcomes]
        chosen = self.world.rng.sample(waiting, min(len(waiting), 4))
        self.user.cancelled.update(chosen)
        self._handle(events.CancelRequested([*chosen, 10**9]))

    def _kill(self) -> None:
        victim = self._victim()
        if victim is not None:
            victim.die()
            if self.world.chance(0.7):
                self.world.after(self.world.between(0.1, 2), self._add_random_worker)

    def _stick(self) -> None:
        victim = self._victim()
        if victim is not None and victim.connection is not None:
            victim.connection.stick(self.world.rng.choice([0.5, 3.0, 10.0]))

    def _lose_file(self) -> None:
        for worker in self.workers.values():
            worker.lose_file()

    def _kill_library(self) -> None:
        for worker in self.workers.values():
            worker.kill_library()

    def _fetch(self) -> None:
        temps = [n for n, spec in self.user.files.items() if spec.kind == "temp"]
        if temps:
            request = next(self._requests)
            self.user.asked.add(request)
            self._handle(events.FetchRequested(request, self.world.rng.choice(temps)))

    def _drop_files(self) -> None:
        """Whatever the user has of them: tasks that have been submitted keep theirs."""
        numbers = [n for n in self.user.files if n]
        chosen = self.world.rng.sample(numbers, min(len(numbers), 5))
        for number in chosen:
            del self.user.files[number]
        self._handle(events.FilesDropped(chosen))

    def _spoil_origin(self) -> None:
        files = [n for n, spec in self.user.files.items() if spec.kind in ("file", "url") and n]
        if files:
            self._gone_at_origin.add(f"f{self.world.rng.choice(files)}")

    # -- what workers ask of the rest ----------------------------------------------------------------------------

    def plan(self, id_: int) -> VineTaskPlan:
        return self.user.plans[id_]

    def inputs_of(self, id_: int) -> list[str]:
        return [f"f{number}" for number in self.user.plans[id_].inputs]

    def outputs_of(self, id_: int) -> list[str]:
        plan = self.user.plans[id_]
        return [f"f{number}" for number in plan.temps + plan.home]

    def library_of(self, name: str) -> LibraryPlan:
        fails = {"moody": 0.4 if self.faulty else 0.0, "broken": 1.0}.get(name, 0.0)
        return LibraryPlan(name, 1 if name == "moody" else 2, fails, (0,) if name == "filed" else ())

    def has(self, source: str, name: str) -> bool:
        peer = self.workers.get(source)
        return name not in self._gone_at_origin if peer is None else peer.alive and name in peer.cache

    # -- the manager's shell -----------------------------------------------------------------------------------

    def on_message(self, connection: Connection, message: Any) -> None:
        if isinstance(message, events.CameHome):
            pulls = self._pulls.get(connection.name, set())
            if message.name not in pulls:
                return
            pulls.discard(message.name)
        if isinstance(message, events.CallsEnded):
            self._results.update((connection.name, id_) for id_ in message.ids)
        self._handle(message)

    def on_closed(self, connection: Connection) -> None:
        self._handle(events.WorkerLeft(connection.name, "its connection closed"))

    def _handle(self, event: events.Event) -> None:
        self._trace.append((self.world.now, event))
        actions = self.state.handle(event, self.world.now)
        for action in actions:
            self._trace.append((self.world.now, f"    {action}"))
            self._perform(action)
        self.state.check_invariants()

    def _perform(self, action: events.Action) -> None:
        match action:
            case events.ReportDone(worker, ids, kept):
                for id_ in ids:
                    if (worker, id_) not in self._results:
                        raise SafetyViolation(f"there is no result of {id_}")
                    self._results.discard((worker, id_))
                    self._report(id_, "done")
                self._kept.update(kept)
            case events.ReportFailed(id_, status):
                self._results = {(worker, other) for worker, other in self._results if other != id_}
                self._report(id_, status)
            case events.ForgetTasks(ids):
                if not self._kept.issuperset(ids):
                    raise SafetyViolation(f"{ids} are forgotten and were not kept")
                self._kept.difference_update(ids)
            case events.ForgetResults(worker, ids):
                self._results.difference_update((worker, id_) for id_ in ids)
            case events.AnswerFetch(request, _, _, error):
                if request in self.user.answers:
                    raise SafetyViolation(f"request {request} is answered twice")
                self.user.answers[request] = error
            case events.ReportWorkerLeft(worker):
                self._pulls.pop(worker, None)
            case events.TellUser(text):
                self.told.append(text)
            case events.ForgetFiles() | events.Refuse():
                pass
            case _:
                self._to_worker(action)

    def _to_worker(self, action: Any) -> None:
        if isinstance(action, events.RunTasks):
            for id_ in action.ids:
                if id_ in self.user.outcomes and id_ not in self._kept:
                    raise SafetyViolation(f"task {id_} runs after its report")
        if isinstance(action, events.BringHome):
            self._pulls.setdefault(action.worker, set()).add(action.name)
        if isinstance(action, events.OrderFile):
            self.orders.append(action)
        connection = self.workers[action.worker].connection
        assert connection is not None
        connection.to_client(action)

    def _report(self, id_: int, outcome: str) -> None:
        if id_ in self.user.outcomes:
            raise SafetyViolation(f"task {id_} is reported twice: {self.user.outcomes[id_]}, {outcome}")
        self.user.outcomes[id_] = outcome

    # -- time, and the end ---------------------------------------------------------------------------------------

    def _run_until(self, end_s: float, stop: bool) -> bool:
        """Let time pass until ``end_s``, or (``stop``) until everything has ended: True."""
        end = round(end_s / TICK_S)
        while not (stop and self._settled()):
            next_tick = self.world.next_tick
            deadline = self.state.next_deadline()
            due = math.inf if deadline is None else math.ceil(deadline / TICK_S)
            if min(due, end if next_tick is None else next_tick) >= end:
                self.world.ticks = end
                return False
            if deadline is not None and (next_tick is None or due < next_tick):
                self.world.ticks = max(self.world.ticks, int(due))
                self.world.at_least = deadline
                self._handle(events.DeadlinePassed())
                later = self.state.next_deadline()
                if later is not None and later <= self.world.now:
                    raise LivenessViolation("the manager is busy for nothing: its next deadline is over already")
            else:
                self.world.step()
        return True

    def _settled(self) -> bool:
        return not self.state.store.tasks and not self._unsettled()

    def _unsettled(self) -> list[object]:
        tasks: list[object] = [
            self.state.store.tasks.get(id_, id_) for id_ in self.user.plans if id_ not in self.user.outcomes
        ]
        return tasks + sorted(self.user.asked - self.user.answers.keys())

    def _end(self) -> None:
        """Nothing is left over when the user has dropped everything."""
        self._handle(events.FilesDropped([number for number in self.user.files if number]))
        store = self.state.store
        left = [store.tasks, store.producers, store.waiting, store.returning, self._kept, self._results]
        if any(left):
            raise SafetyViolation(f"left over: {left}")
