"""The interchange's machine and tasks of many kinds: what is sent fits, and nobody waits for ever."""

from __future__ import annotations

from random import Random

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.simulation.simulated_manager import registration
from trellis.executors.htex.interchange.demands import ONE_SLOT, DemandOnNode, demand_on
from trellis.executors.htex.interchange.events import (
    Action,
    CancelRequested,
    DeadlinePassed,
    Event,
    ManagerLeft,
    ManagerRegistered,
    ReportCancelled,
    ReportInfeasible,
    ReportManagerLost,
    ResumeEnded,
    SendTasks,
    TasksEnded,
    TasksReturned,
    TasksStarted,
    TasksSubmitted,
)
from trellis.executors.htex.interchange.infeasible import INFEASIBLE_S
from trellis.executors.htex.interchange.manager_table import ENDS_MARGIN_S
from trellis.executors.htex.interchange.selection import ManagerSelector
from trellis.executors.htex.interchange.state import REBALANCE_S, InterchangeState
from trellis.executors.htex.settings import RECOVERY_S
from trellis.wire.messages import Demand, Register

NAMES = st.sampled_from("abc")
DEMANDS = st.sampled_from(
    [None, None, Demand(cores=1), Demand(cores=2), Demand(cores=3), Demand(nodes=1), Demand(nodes=3)]
)
WALLTIMES_S = st.sampled_from([0.0, 0.0, 50.0])


class LastFirst(ManagerSelector):
    def sort_managers(self, ready_managers: object, manager_list: object) -> list[bytes]:
        return sorted(manager_list, reverse=True)  # type: ignore[call-overload, no-any-return]


class KindsModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.next_id = 0
        self.waiting: set[int] = set()
        self.at: dict[int, str] = {}
        self.started: set[int] = set()
        self.unwanted: set[int] = set()
        self.asks: dict[int, tuple[Demand | None, float]] = {}
        self.nodes: dict[str, tuple[Register, float]] = {}  # and when each ends

    @initialize(selection=st.sampled_from(["random", "block_id", LastFirst()]), resumed=st.booleans(), data=st.data())
    def start(self, selection: object, resumed: bool, data: st.DataObject) -> None:
        self.machine = InterchangeState(1e9, selection, Random(0))  # type: ignore[arg-type]
        if resumed:
            ids = self.make(data.draw(st.lists(st.tuples(DEMANDS, WALLTIMES_S), max_size=4)))
            self.submit_ids(ids, resumed=True)
            assert self.machine.running == len(ids)
            self.handle(ResumeEnded("ab"))
            for name in "ab":
                holding = data.draw(st.lists(st.sampled_from(ids), unique=True)) if ids else []
                mine = [id_ for id_ in holding if id_ in self.waiting]
                self.waiting.difference_update(mine)
                self.at.update(dict.fromkeys(mine, name))
                hello = self.hello(name, 3, 1, 3, None)
                self.handle(ManagerRegistered(msgspec.structs.replace(hello, resumed=True, holding=holding)))

    def hello(self, name: str, workers: int, prefetch: int, nodes: int, ends_in_s: float | None) -> Register:
        hello = registration(name, name, workers, prefetch)
        hello = msgspec.structs.replace(hello, nodes=nodes, ends_in_s=ends_in_s)
        self.nodes[name] = (hello, 1e9 if ends_in_s is None else self.now + ends_in_s)
        return hello

    def make(self, asks: list[tuple[Demand | None, float]]) -> list[int]:
        ids = list(range(self.next_id, self.next_id + len(asks)))
        self.next_id += len(asks)
        self.asks.update(zip(ids, asks, strict=True))
        return ids

    def submit_ids(self, ids: list[int], resumed: bool = False) -> None:
        self.waiting.update(ids)
        demands, walltimes_s = [self.asks[id_][0] for id_ in ids], [self.asks[id_][1] for id_ in ids]
        priorities = [float(id_ % 3 == 0) for id_ in ids]
        self.handle(TasksSubmitted(ids, priorities, demands, walltimes_s, resumed))

    def handle(self, event: Event) -> list[Action]:
        actions = self.machine.handle(event, self.now)
        for action in actions:
            match action:
                case SendTasks(name, ids):
                    self.on_sent(name, ids)
                case ReportManagerLost(name, _, _, ids):
                    assert set(ids) == {id_ for id_ in self.own(name) if id_ in self.started}
                    self.waiting.update(id_ for id_ in self.own(name) if id_ not in self.started)
                    for id_ in self.own(name):
                        del self.at[id_]
                    del self.nodes[name]
                case ReportInfeasible(ids):
                    for id_ in ids:
                        assert self.nodes
                        assert not any(demand_on(hello, self.asks[id_][0]) for hello, _ in self.nodes.values())
                        self.waiting.remove(id_)
                case ReportCancelled(ids):
                    assert self.unwanted.issuperset(ids)
                    self.waiting.difference_update(ids)
        self.machine.check_invariants()
        self.ask()
        return actions

    def ask(self) -> None:
        """Whoever asks is told where each task is, and of each manager why not there."""
        queued = [id_ for id_ in self.asks if id_ in self.machine.waiting]
        standings = {id_: self.machine.standing(1, id_, self.now) for id_ in self.asks}
        assert sorted(standings[id_].position for id_ in queued) == list(range(len(queued)))
        for id_, standing in standings.items():
            assert standing.manager == self.machine._managers.manager_of.get(id_, "")
            assert (standing.stage == "assigned") == bool(standing.manager)
            if id_ in queued:
                assert (standing.stage, standing.queue) == ("queued", len(queued))
                assert all(obstacle.reason != "it has room" for obstacle in standing.obstacles), "why is it not there?"
                assert bool(standing.obstacles) == bool(self.machine.managers)

    def own(self, name: str) -> list[int]:
        return [id_ for id_, place in self.at.items() if place == name]

    def demands(self, name: str) -> list[DemandOnNode]:
        hello = self.nodes[name][0]
        return [demand_on(hello, self.asks[id_][0]) or ONE_SLOT for id_ in self.own(name)]

    def on_sent(self, name: str, ids: list[int]) -> None:
        hello, ends_at = self.nodes[name]
        assert self.waiting.issuperset(ids)
        for id_ in ids:
            demand, walltime_s = self.asks[id_]
            before, taken = self.demands(name), demand_on(hello, demand)
            assert taken is not None, "it can never hold it"
            assert not walltime_s or self.now + walltime_s + ENDS_MARGIN_S <= ends_at, "it has not the time"
            assert sum(each.slots for each in before) < hello.capacity, "nothing is free there"
            assert not taken.nodes or sum(each.nodes for each in before) < hello.nodes, "no node is free there"
            self.waiting.remove(id_)
            self.at[id_] = name

    @rule(asks=st.lists(st.tuples(DEMANDS, WALLTIMES_S), min_size=1, max_size=6))
    def submit(self, asks: list[tuple[Demand | None, float]]) -> None:
        self.submit_ids(self.make(asks))

    @rule(
        name=NAMES,
        workers=st.integers(1, 4),
        prefetch=st.integers(0, 2),
        nodes=st.sampled_from([0, 2, 4]),
        ends_in_s=st.sampled_from([None, 40.0, 100.0]),
    )
    def register(self, name: str, workers: int, prefetch: int, nodes: int, ends_in_s: float | None) -> None:
        if name not in self.nodes:
            self.handle(ManagerRegistered(self.hello(name, workers, prefetch, nodes, ends_in_s)))

    @rule(name=NAMES, count=st.integers(1, 4))
    def start_and_end(self, name: str, count: int) -> None:
        ids = self.own(name)[:count]
        if name in self.nodes and ids:
            self.started.update(ids)
            self.handle(TasksStarted(name, ids))
            for id_ in ids[:-1]:
                del self.at[id_]
            self.handle(TasksEnded(name, ids[:-1]))

    @rule(name=NAMES, count=st.integers(1, 3))
    def give_back(self, name: str, count: int) -> None:
        ids = [id_ for id_ in self.own(name) if id_ not in self.started][-count:]
        if name in self.nodes:
            for id_ in ids:
                del self.at[id_]
            self.waiting.update(ids)
            self.handle(TasksReturned(name, ids))

    @rule(name=NAMES)
    def lose(self, name: str) -> None:
        if name in self.nodes:
            self.handle(ManagerLeft(name, "gone"))

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ids = [id_ for id_ in sorted(self.waiting) if data.draw(st.booleans())]
        self.unwanted.update(ids)
        self.handle(CancelRequested(ids))

    @rule(seconds=st.sampled_from([REBALANCE_S, 1.0, RECOVERY_S, INFEASIBLE_S, 60.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.handle(DeadlinePassed())
        deadline = self.machine.next_deadline()
        assert deadline is None or deadline > self.now, "busy for nothing"

    def teardown(self) -> None:
        """When all that is at managers ends, all that waits gets its turn, wherever it fits."""
        if not hasattr(self, "machine"):
            return
        self.now += RECOVERY_S
        self.handle(DeadlinePassed())
        while self.at:
            for name in list(self.nodes):
                ids = self.own(name)
                for id_ in ids:
                    del self.at[id_]
                self.handle(TasksEnded(name, ids))
        for id_ in self.waiting:
            demand, walltime_s = self.asks[id_]
            for hello, ends_at in self.nodes.values():
                in_time = not walltime_s or self.now + walltime_s + ENDS_MARGIN_S <= ends_at
                assert not in_time or demand_on(hello, demand) is None, f"task {id_} waits for nothing"
        assert self.machine.pending == len(self.waiting)


TestInterchangeKinds = KindsModel.TestCase
TestInterchangeKinds.settings = settings(settings(), max_examples=100, stateful_step_count=40)
