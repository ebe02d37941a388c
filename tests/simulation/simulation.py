"""A whole HighThroughputExecutor in one thread, under seeded faults: ``Simulation(seed).run()``.

Submit side, interchange, and managers are the real machines; network, processes and time are simulated. A run raises
``SafetyViolation`` or ``LivenessViolation`` (or the AssertionError of an invariant) with the last events before it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from tests.simulation.idleness import Idleness
from tests.simulation.network import TICK_S, World
from tests.simulation.oracles import Ledger, LivenessViolation, SafetyViolation, TaskPlan
from tests.simulation.simulated import Heartbeats, Machines, Service, Stage
from tests.simulation.simulated_interchange import SimulatedInterchange
from tests.simulation.simulated_manager import SimulatedManager, registration
from tests.simulation.simulated_submit_side import SubmitSide
from trellis.executors.htex.interchange.selection import Selection
from trellis.wire.messages import Demand, Message, Report

__all__ = ["LivenessViolation", "Machines", "SafetyViolation", "Scenario", "Simulation"]

# After the last fault everything ends in less than a tenth of this, in correct runs.
_AMPLE_S = 300.0
_TRACE_LENGTH = 120
_LINE_LENGTH = 400
# Some are over before anybody wonders, some at the very moment, some later.
_PAUSES_S = (0.3, 2.0, 3.9, 4.1, 10.0)


@dataclass(frozen=True)
class Scenario:
    """What may happen in a run. Times in simulated seconds.

    Args:
        tasks: tasks that are submitted, some at once, some one by one, in the first ``faults_s``.
        crowds: probability that a submission is a crowd: many tasks at once, nearly all of them short.
        managers: managers at the start; those that die are mostly replaced.
        faults: how many, at random times in the first ``faults_s``; 0 is a quiet network and no cancelled tasks.
        rescue: a new manager comes when the faults are over.
        interchange_dies: so many times, at random times in the first ``faults_s``.
        pauses: how many times a manager or the interchange is stopped for a while, or time jumps for all of them.
        drains: how many blocks are drained; half of their managers are killed at about that time.
        questions: how many times people ask where tasks are; and managers say which have been running for a second.
        demands: probability that a task, not of a crowd, asks for cores.
    """

    tasks: int = 40
    crowds: float = 0.2
    managers: int = 3
    faults: int = 8
    faults_s: float = 15.0
    rescue: bool = True
    interchange_dies: int = 0
    pauses: int = 0
    drains: int = 0
    demands: float = 0.1
    questions: int = 0
    selection: Selection = "random"
    heartbeat_period_s: float = 1.0
    heartbeat_threshold_s: float = 4.0


class Simulation:
    """A run from start to end.

    Args:
        seed: every choice follows from it.
        machines: classes to use in place of the real machines.
    """

    def __init__(self, seed: int, scenario: Scenario | None = None, machines: Machines | None = None) -> None:
        self.seed = seed
        self.scenario = scenario or Scenario()
        world = World(seed)
        trace: deque[tuple[float, str, object]] = deque(maxlen=_TRACE_LENGTH)
        scenario = self.scenario
        say_running_s = 1.0 if scenario.questions else None
        heartbeats = Heartbeats(scenario.heartbeat_period_s, scenario.heartbeat_threshold_s, say_running_s)
        self._stage = Stage(world, Ledger(), machines or Machines(), heartbeats, trace)
        self._world = world
        self.interchange = SimulatedInterchange(self._stage, self.scenario.selection)
        self.submit_side = SubmitSide(self._stage, self.interchange)
        self.managers: list[SimulatedManager] = []
        self._blocks = 0

    @property
    def outcomes(self) -> dict[int, str]:
        """How tasks ended: "result", or the name of the message that said why not."""
        return self._stage.ledger.outcomes

    @property
    def now_s(self) -> float:
        """Simulated time since the start."""
        return self._world.now

    @property
    def waiting(self) -> list[int]:
        """Tasks that have not ended."""
        return self._stage.ledger.waiting

    @property
    def started_twice(self) -> list[int]:
        """Tasks that started more than once."""
        return self._stage.ledger.started_twice

    @property
    def answers(self) -> int:
        """How many questions where a task is were answered, by the interchange or by a manager."""
        return self._stage.ledger.answers

    @property
    def demanding(self) -> int:
        """How many tasks asked for more than a worker."""
        return sum(plan.demand is not None for plan in self._stage.ledger.plans.values())

    def run(self) -> None:
        """Run to the end.

        Raises:
            SafetyViolation: something happened that must not.
            LivenessViolation: something did not happen.
        """
        try:
            self._plan()
            Idleness(self._stage, self.interchange, self.managers).watch()
            self._run_until(self.scenario.faults_s, lambda: False)
            if self.scenario.pauses:  # the last of them may just have begun
                self._run_until(self._world.now + max(_PAUSES_S), lambda: False)
            if self.scenario.rescue:
                self._add_manager("rescue", workers=2, drain_s=None, worker_fails=0.0)
            if not self._run_until(self._world.now + _AMPLE_S, self._settled):
                raise LivenessViolation(self._unsettled())
        except Exception as error:
            error.add_note(self._story())
            raise

    # -- what happens when -------------------------------------------------------------------------------------

    def _plan(self) -> None:
        world, scenario = self._world, self.scenario
        for _ in range(scenario.managers):
            world.after(world.between(0, 2), self._add_random_manager)
        next_id = 0
        while next_id < scenario.tasks:
            crowd = world.chance(scenario.crowds)
            count = min(world.rng.choice([30, 100] if crowd else [1, 1, 2, 8]), scenario.tasks - next_id)
            plans = [self._random_task(id_, crowd) for id_ in range(next_id, next_id + count)]
            world.after(world.between(0, scenario.faults_s * 0.9), self.submit_side.submit, plans)
            next_id += count
        for _ in range(scenario.faults):
            world.after(world.between(0, scenario.faults_s * 0.9), world.rng.choice(self._faults()))
        for _ in range(scenario.interchange_dies):
            world.after(world.between(0, scenario.faults_s * 0.9), self._kill_interchange)
        for _ in range(scenario.pauses):
            pause = world.rng.choice([self._freeze_manager, self._freeze_manager, self._freeze_interchange, self._jump])
            world.after(world.between(0, scenario.faults_s * 0.9), pause)
        for _ in range(scenario.questions):
            world.after(world.between(0, scenario.faults_s), self._ask)
        for _ in range(scenario.drains):
            world.after(world.between(0, scenario.faults_s * 0.9), self._drain_block)

    def _random_task(self, id_: int, crowd: bool) -> TaskPlan:
        world = self._world
        if crowd and world.chance(0.9):
            return TaskPlan(id_, duration_s=0.0, function=world.rng.choice([0, 0, 1]))
        habits: dict[str, Any] = {}
        if self.scenario.faults:
            habit = world.rng.choice(
                ["kills_worker", "survives_terminate", "answers_terminate", None, None, None, None]
            )
            habits = {habit: True} if habit is not None else {}
        endless = "survives_terminate" in habits
        return TaskPlan(
            id_,
            duration_s=10 * _AMPLE_S if endless else world.rng.choice([0.0, 0.1, 0.5, 2.0, 5.0]),
            priority=world.rng.choice([0.0, 0.0, -1.0, 5.0]),
            walltime_s=world.rng.choice([0.5, 1.0] if endless else [0.0, 0.0, 0.0, 0.5, 1.0]),
            function=world.rng.choice([0, 1, 2, 2]),
            demand=Demand(cores=world.rng.choice([1, 2, 2])) if world.chance(self.scenario.demands) else None,
            **habits,
        )

    def _add_random_manager(self, name: str | None = None) -> None:
        world = self._world
        self._add_manager(
            name or f"m{len(self.managers)}",
            workers=world.rng.choice([1, 2, 4]),
            drain_s=world.between(1, 10) if world.chance(0.3) else None,
            worker_fails=world.rng.choice([0.0, 0.0, 0.2, 0.9]) if self.scenario.faults else 0.0,
        )

    def _add_manager(self, name: str, workers: int, drain_s: float | None, worker_fails: float) -> None:
        self._blocks += 1
        prefetch = self._world.rng.choice([0, 0, 1, 3])
        # Only a manager whose name nobody has a second time can have a witness.
        witnessed = self._world.chance(0.8) and name not in {manager.name for manager in self.managers}
        self._stage.ledger.workers[name] = workers
        self._stage.ledger.witnessed.discard(name)  # that was another one of this name
        hello = registration(name, str(self._blocks), workers, prefetch, witnessed)
        self.managers.append(SimulatedManager(self._stage, self.interchange, hello, drain_s, worker_fails))

    # -- faults ------------------------------------------------------------------------------------------------

    def _faults(self) -> list[Callable[[], None]]:
        return [
            self._cancel_some,
            self._cancel_some,
            self._cut,
            self._cut,
            self._stick,
            self._kill_manager,
            self._stop_manager,
            self._interrupt_manager,
            self._kill_worker,
            self._spoil_a_message,
            self._hold_block,
            self._add_random_manager,
        ]

    def _victim(self) -> SimulatedManager | None:
        alive = [manager for manager in self.managers if manager.alive]
        if not alive:
            return None
        victim = self._world.rng.choice(alive)
        self._stage.note("fault for", victim.name)
        return victim

    def _cancel_some(self) -> None:
        waiting = self.waiting
        ended = list(self.outcomes)[-1:]  # one of which others have not heard yet
        self.submit_side.cancel(self._world.rng.sample(waiting, min(len(waiting), 5)) + ended)

    def _cut(self) -> None:
        victim = self._victim()
        if victim is not None and victim.connection is not None:
            self._stage.ledger.disturbed.add(victim.name)
            server, client = self._world.rng.choice([(True, True), (True, False), (False, True)])
            after_s = [self._world.rng.choice([0.0, 0.2, 1.0, 8.0]) if side else None for side in (server, client)]
            victim.connection.tear(after_s[0], after_s[1])

    def _stick(self) -> None:
        victim = self._victim()
        if victim is not None and victim.connection is not None:
            self._stage.ledger.disturbed.add(victim.name)
            victim.connection.stick(self._world.rng.choice([0.5, 2.0, 3.9, 4.5, 10.0]))

    def _kill_manager(self) -> None:
        victim = self._victim()
        if victim is not None:
            self._stage.ledger.disturbed.add(victim.name)
            victim.kill()
            if self._world.chance(0.7):
                # Another interchange could not know that this is another manager of the same name.
                again = self._world.chance(0.5) and not self.scenario.interchange_dies
                name = victim.name if again else None
                self._world.after(self._world.between(0.1, 2), self._add_random_manager, name)

    def _stop_manager(self) -> None:
        victim = self._victim()
        if victim is not None:
            self._stage.ledger.disturbed.add(victim.name)
            victim.terminate("it got SIGTERM")

    def _interrupt_manager(self) -> None:
        victim = self._victim()
        if victim is not None:
            self._stage.ledger.disturbed.add(victim.name)
            victim.interrupt()

    def _kill_worker(self) -> None:
        victim = self._victim()
        if victim is not None and victim.workers:
            self._world.rng.choice(list(victim.workers.values())).die(by_itself=True)

    def _hold_block(self) -> None:
        victim = self._victim()
        if victim is not None:
            self.submit_side.hold([victim.block])

    def _spoil_a_message(self) -> None:
        """A message of a manager, of the interchange to one, or of the submit side makes no sense."""
        victim, who = self._victim(), self._world.rng.choice(["manager", "interchange", "submit side"])
        if who == "submit side":
            self.submit_side.spoils_next = True
        elif victim is not None:
            self._stage.ledger.disturbed.add(victim.name)
            if who == "manager":
                victim.spoils_next = self._world.rng.choice([get_args(Report), (Message,)])
            else:
                self.interchange.spoils_next = victim.name

    def _freeze_manager(self) -> None:
        victim = self._victim()
        if victim is not None:
            self._stage.ledger.slept.add(victim.name)
            victim.freeze(self._world.rng.choice(_PAUSES_S))

    def _freeze_interchange(self) -> None:
        if self.interchange.alive:
            self._disturb_all()
            self.interchange.freeze(self._world.rng.choice(_PAUSES_S))

    def _jump(self) -> None:
        self._disturb_all()
        self._world.jump(self._world.rng.choice([*_PAUSES_S, 60.0]))

    def _disturb_all(self) -> None:
        self._stage.ledger.disturbed.update(manager.name for manager in self.managers)

    def _drain_block(self) -> None:
        victim = self._victim()
        if victim is not None:
            self.submit_side.drain([victim.block])
            if self._world.chance(0.5):
                self._stage.ledger.disturbed.add(victim.name)
                self._world.after(self._world.between(0, 0.5), victim.kill)

    def _ask(self) -> None:
        ids = list(self._stage.ledger.plans)
        self.submit_side.ask(self._world.rng.sample(ids, min(len(ids), 5)))

    def _kill_interchange(self) -> None:
        if self.interchange.alive:
            self.interchange.die()

    # -- time --------------------------------------------------------------------------------------------------

    def _run_until(self, end_s: float, done: Callable[[], bool]) -> bool:
        """Let time pass until ``end_s``, or until it is done: True."""
        end = round(end_s / TICK_S)
        while not done():
            next_tick = self._world.next_tick
            due, service = self._next_deadline()
            if min(due, end if next_tick is None else next_tick) >= end:
                self._world.ticks = max(self._world.ticks, end)
                return False
            if service is not None and (next_tick is None or due < next_tick):
                self._world.ticks = max(self._world.ticks, int(due))
                self._pass_deadline(service)
            else:
                self._world.step()
        return True

    def _next_deadline(self) -> tuple[float, Service | None]:
        """The earliest, in ticks."""
        earliest: tuple[float, Service | None] = (math.inf, None)
        services: list[Service] = [self.interchange, *self.managers]
        for service in services:
            deadline = service.next_deadline()
            if deadline is not None and deadline < earliest[0]:
                earliest = (deadline, service)
        return (math.ceil(earliest[0] / TICK_S) if earliest[1] is not None else math.inf), earliest[1]

    def _pass_deadline(self, service: Service) -> None:
        deadline = service.next_deadline()
        assert deadline is not None
        self._world.at_least = deadline
        service.on_deadline()
        later = service.next_deadline()
        if later is not None and later <= self._world.now:
            raise LivenessViolation(f"{service} is busy for nothing: its next deadline is over already")

    # -- the end -----------------------------------------------------------------------------------------------

    def _settled(self) -> bool:
        """Whether every task has ended, those who live know each other, and who wanted to leave has left."""
        ledger, interchange = self._stage.ledger, self.interchange
        if len(ledger.outcomes) < len(ledger.plans):
            nobody_comes = not self.scenario.rescue and interchange.alive
            if not nobody_comes or len(ledger.waiting) != interchange.state.pending:
                return False
        known = interchange.state.managers if interchange.alive else {}
        alive = {manager.name: manager.block for manager in self.managers if manager.alive}
        if not self.submit_side.drained_blocks.isdisjoint(alive.values()):
            return False
        return set(alive) == set(known) and not any(manager.draining for manager in known.values())

    def _unsettled(self) -> str:
        waiting = self.waiting
        alive = sorted(manager.name for manager in self.managers if manager.alive)
        known = sorted(self.interchange.state.managers)
        return (
            f"after {_AMPLE_S:g} s without faults, these tasks have not ended: {waiting}; "
            f"managers that are alive: {alive}, that the interchange knows: {known}"
        )

    def _story(self) -> str:
        lines = [f"{now:8.2f} {who}: {what}"[:_LINE_LENGTH] for now, who, what in self._stage.trace]
        return "\n".join([f"Simulation seed {self.seed}, {self.scenario}. The last events:", *lines])
