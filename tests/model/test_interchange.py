"""The interchange's machine against a dictionary that says where each task is."""

from __future__ import annotations

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from trellis.executors.htex.interchange import CLOSED_GRACE_S, InterchangeState
from trellis.executors.htex.interchange_events import (
    AnswerHeartbeat,
    CancelRequested,
    DeadlinePassed,
    DismissManager,
    Event,
    HeartbeatReceived,
    HoldRequested,
    ManagerDisconnected,
    ManagerDraining,
    ManagerLeft,
    ManagerRegistered,
    ReportCancelled,
    ReportManagerLost,
    SendCancel,
    SendTasks,
    TasksEnded,
    TasksSubmitted,
    WelcomeManager,
)
from trellis.testing.simulated_manager import registration

THRESHOLD_S = 10.0
NAMES = st.sampled_from(["a", "b", "c"])
BLOCKS = st.sampled_from(["0", "1"])


class Known:
    """What the model knows of a manager."""

    def __init__(self, block: str, capacity: int, now: float) -> None:
        self.block = block
        self.capacity = capacity
        self.heard = now
        self.closed: float | None = None
        self.shut = False  # held or draining: it gets nothing


class InterchangeModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.next_id = 0
        self.queued: dict[int, float] = {}  # the priority
        self.at: dict[int, str] = {}
        self.managers: dict[str, Known] = {}
        self.held_blocks: set[str] = set()

    @initialize(selection=st.sampled_from(["random", "block_id"]), seed=st.integers(0, 9))
    def start(self, selection: str, seed: int) -> None:
        self.machine = InterchangeState(THRESHOLD_S, selection, Random(seed))  # type: ignore[arg-type]

    def handle(self, event: Event) -> list[object]:
        """Give it the event, and believe nothing that it says before it was compared with the model."""
        rest: list[object] = []
        for action in self.machine.handle(event, self.now):
            match action:
                case SendTasks(name, ids):
                    self.on_sent(name, ids)
                case ReportManagerLost(name, block, hostname, ids):
                    known = self.managers.pop(name)
                    assert (block, hostname) == (known.block, f"host-{name}")
                    assert ids == sorted(id_ for id_, place in self.at.items() if place == name)
                    for id_ in ids:
                        del self.at[id_]
                    rest.append(action)
                case WelcomeManager(name):
                    assert isinstance(event, ManagerRegistered)
                    hello = event.registration
                    self.managers[name] = Known(hello.block, hello.capacity, self.now)
                    self.managers[name].shut = hello.block in self.held_blocks
                case _:
                    rest.append(action)
        self.machine.check_invariants()
        return rest

    def on_sent(self, name: str, ids: list[int]) -> None:
        known = self.managers[name]
        assert not known.shut
        assert known.closed is None
        assert ids == sorted(self.queued, key=lambda id_: (self.queued[id_], id_))[: len(ids)], "not in their order"
        for id_ in ids:
            del self.queued[id_]
            self.at[id_] = name
        assert list(self.at.values()).count(name) <= known.capacity

    def hear(self, name: str) -> bool:
        if name in self.managers:
            self.managers[name].heard = self.now
        return name in self.managers

    # -- what the submit side does -----------------------------------------------------------------------------

    @rule(priorities=st.lists(st.sampled_from([-1.0, 0.0, 3.0]), min_size=1, max_size=4))
    def submit(self, priorities: list[float]) -> None:
        ids = range(self.next_id, self.next_id + len(priorities))
        self.next_id += len(priorities)
        self.queued.update(zip(ids, priorities, strict=True))
        plain = not any(priorities)
        assert self.handle(TasksSubmitted(ids, None if plain else priorities)) == []

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.integers(0, self.next_id + 1), min_size=1, max_size=4, unique=True))
        dropped = [id_ for id_ in ids if id_ in self.queued]
        wanted: dict[str, list[int]] = {}
        for id_ in ids:
            if id_ in self.at:
                wanted.setdefault(self.at[id_], []).append(id_)
        for id_ in dropped:
            del self.queued[id_]
        expected: list[object] = [ReportCancelled(dropped)] if dropped else []
        assert self.handle(CancelRequested(ids)) == expected + [SendCancel(name, ids) for name, ids in wanted.items()]

    @rule(name=NAMES, block=BLOCKS, by_name=st.booleans(), sure=st.integers(0, 3))
    def hold(self, name: str, block: str, by_name: bool, sure: int) -> None:
        if sure:
            return
        for other, known in self.managers.items():
            known.shut |= other == name if by_name else known.block == block
        if not by_name:
            self.held_blocks.add(block)
        assert self.handle(HoldRequested([name] if by_name else [], [] if by_name else [block])) == []

    # -- what managers do --------------------------------------------------------------------------------------

    @rule(name=NAMES, block=BLOCKS, workers=st.integers(1, 3), prefetch=st.integers(0, 2))
    def register(self, name: str, block: str, workers: int, prefetch: int) -> None:
        again = name in self.managers
        rest = self.handle(ManagerRegistered(registration(name, block, workers, prefetch)))
        assert [type(action) for action in rest] == ([ReportManagerLost] if again else [])

    @rule(name=NAMES)
    def heartbeat(self, name: str) -> None:
        answer = AnswerHeartbeat if self.hear(name) else DismissManager
        assert [type(action) for action in self.handle(HeartbeatReceived(name))] == [answer]

    @rule(name=NAMES, data=st.data())
    def end_tasks(self, name: str, data: st.DataObject) -> None:
        # Its own, and others that it reports late or twice.
        ids = data.draw(st.lists(st.integers(0, self.next_id), min_size=1, max_size=3))
        own = [id_ for id_, place in self.at.items() if place == name]
        ids = own[: data.draw(st.integers(0, 3))] + ids
        known = self.hear(name)
        for id_ in ids:
            if self.at.get(id_) == name:
                del self.at[id_]
        rest = self.handle(TasksEnded(name, ids))
        assert set(map(type, rest)) <= {DismissManager}
        assert known or rest

    @rule(name=NAMES)
    def drain(self, name: str) -> None:
        if self.hear(name):
            self.managers[name].shut = True
        done = name not in self.at.values()
        assert [type(action) for action in self.handle(ManagerDraining(name))] == ([DismissManager] if done else [])

    @rule(name=NAMES)
    def leave(self, name: str) -> None:
        known = name in self.managers
        rest = self.handle(ManagerLeft(name, "goodbye"))
        assert [type(action) for action in rest] == ([ReportManagerLost] if known else [])

    @rule(name=NAMES)
    def disconnect(self, name: str) -> None:
        if name in self.managers and self.managers[name].closed is None:
            self.managers[name].closed = self.now
        assert self.handle(ManagerDisconnected(name)) == []

    @rule(seconds=st.sampled_from([0.1, 0.5, 3.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        over = {
            name
            for name, known in self.managers.items()
            if (known.heard + THRESHOLD_S <= self.now and known.closed is None)
            or (known.closed is not None and known.closed + CLOSED_GRACE_S <= self.now)
        }
        rest = self.handle(DeadlinePassed())
        assert {action.manager for action in rest if isinstance(action, ReportManagerLost)} == over
        assert {action.manager for action in rest if isinstance(action, DismissManager)} == over
        deadline = self.machine.next_deadline()
        assert deadline is None or deadline > self.now, "busy for nothing"

    # -- always ------------------------------------------------------------------------------------------------

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "machine"):
            return
        assert (self.machine.pending, self.machine.running) == (len(self.queued), len(self.at))
        assert {name: known.tasks for name, known in self.machine.managers.items()} == {
            name: {id_ for id_, place in self.at.items() if place == name} for name in self.managers
        }
        for name, known in self.managers.items():
            full = list(self.at.values()).count(name) == known.capacity
            assert full or known.shut or known.closed is not None or not self.queued, "work waits beside a free slot"


TestInterchange = InterchangeModel.TestCase
TestInterchange.settings = settings(settings(), max_examples=100, stateful_step_count=50)
