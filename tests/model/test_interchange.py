"""The interchange's machine against a dictionary that says where each task is."""

from __future__ import annotations

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from trellis.executors.htex.interchange import (
    AHEAD_S,
    CLOSED_GRACE_S,
    MOST_AHEAD_PER_WORKER,
    REBALANCE_S,
    InterchangeState,
)
from trellis.executors.htex.interchange_events import (
    AnswerHeartbeat,
    AskBack,
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
    TasksReturned,
    TasksSubmitted,
    WelcomeManager,
)
from trellis.testing.simulated_manager import registration
from trellis.wire.messages import Register

THRESHOLD_S = 10.0
NAMES = st.sampled_from(["a", "b", "c"])
BLOCKS = st.sampled_from(["0", "1", "2", "3"])
# For what ends something: else nothing would go on for long.
SELDOM = st.sampled_from([False] * 9 + [True])


class Known:
    """What the model knows of a manager."""

    def __init__(self, hello: Register, now: float, shut: bool) -> None:
        self.block = hello.block
        self.workers = hello.workers
        self.capacity = hello.capacity
        self.heard = now
        self.closed: float | None = None
        self.shut = shut  # held or draining: it gets nothing
        self.asked = False  # for tasks back, and it has not answered
        self.mean_s: float | None = None

    @property
    def open(self) -> bool:
        return not self.shut and self.closed is None

    def note(self, count: int, duration_s: float) -> None:
        mean_s = duration_s / count
        for _ in range(count):  # one by one
            longer = self.mean_s is None or mean_s > self.mean_s
            self.mean_s = mean_s if longer else self.mean_s * 0.9 + mean_s * 0.1  # type: ignore[operator]

    def ahead(self, tolerance: float) -> int:
        """How many it may have beyond its capacity; the sums may round otherwise than the machine's."""
        if self.mean_s is None or self.mean_s > AHEAD_S * (1 + tolerance):
            return 0
        each = AHEAD_S / self.mean_s * (1 + tolerance) if self.mean_s > 0 else MOST_AHEAD_PER_WORKER
        return int(min(MOST_AHEAD_PER_WORKER, each)) * self.workers


class InterchangeModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.next_id = 0
        self.queued: dict[int, tuple[float, int]] = {}  # by priority, then by what counts up, for returned tasks down
        self.front = 0
        self.priority: dict[int, float] = {}
        self.cancelled: set[int] = set()  # while they were at a manager
        self.at: dict[int, str] = {}
        self.managers: dict[str, Known] = {}
        self.held_blocks: set[str] = set()

    @initialize(selection=st.sampled_from(["random", "block_id"]), seed=st.integers(0, 9))
    def start(self, selection: str, seed: int) -> None:
        self.machine = InterchangeState(THRESHOLD_S, selection, Random(seed))  # type: ignore[arg-type]
        for name in "ab":
            self.handle(ManagerRegistered(registration(name, "0", workers=2, prefetch=3)))

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
                    self.managers[name] = Known(hello, self.now, shut=hello.block in self.held_blocks)
                case AskBack(name, count):
                    assert isinstance(event, DeadlinePassed)
                    known = self.managers[name]
                    assert not known.asked, "it has not answered yet"
                    known.asked = True
                    assert not self.queued
                    assert 0 < count <= min(self.idle, self.count(name) - known.workers)
                    rest.append(action)
                case _:
                    rest.append(action)
        self.machine.check_invariants()
        return rest

    def on_sent(self, name: str, ids: list[int]) -> None:
        known = self.managers[name]
        assert known.open
        assert ids == sorted(self.queued, key=lambda id_: self.queued[id_])[: len(ids)], "not in their order"
        before = self.count(name)
        for id_ in ids:
            del self.queued[id_]
            self.at[id_] = name
        after = self.count(name)
        others = {other: known for other, known in self.managers.items() if known.open and other != name}
        if after > known.workers:
            assert not any(self.count(other) < others[other].workers for other in others), "others have idle workers"
        if after > known.capacity:
            assert before >= known.capacity
            assert not any(self.count(other) < others[other].capacity for other in others), "others have room"
            assert after <= known.capacity + known.ahead(1e-9)
            assert not self.queued or len(ids) >= known.ahead(-1e-9) // 2, "one by one"

    def count(self, name: str) -> int:
        """Tasks there."""
        return list(self.at.values()).count(name)

    @property
    def idle(self) -> int:
        """Workers without a task, where tasks may be sent."""
        return sum(max(0, known.workers - self.count(name)) for name, known in self.managers.items() if known.open)

    @property
    def waiting(self) -> int:
        """Tasks that managers could be asked for."""
        counts = {name: self.count(name) - known.workers for name, known in self.managers.items() if not known.asked}
        return sum(max(0, count) for count in counts.values())

    def hear(self, name: str) -> bool:
        if name in self.managers:
            self.managers[name].heard = self.now
        return name in self.managers

    # -- what the submit side does -----------------------------------------------------------------------------

    @rule(priorities=st.lists(st.sampled_from([-1.0, 0.0, 0.0, 3.0]), min_size=1, max_size=8))
    def submit(self, priorities: list[float]) -> None:
        ids = range(self.next_id, self.next_id + len(priorities))
        self.next_id += len(priorities)
        self.priority.update(zip(ids, priorities, strict=True))
        self.queued.update((id_, (self.priority[id_], id_)) for id_ in ids)
        plain = not any(priorities)
        assert self.handle(TasksSubmitted(ids, None if plain else priorities)) == []

    @rule(count=st.integers(5, 150), seldom=SELDOM)
    def submit_many(self, count: int, seldom: bool) -> None:
        if seldom:
            self.submit([0.0] * count)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.integers(0, self.next_id + 1), min_size=1, max_size=4, unique=True))
        dropped = [id_ for id_ in ids if id_ in self.queued]
        wanted: dict[str, list[int]] = {}
        for id_ in ids:
            if id_ in self.at:
                wanted.setdefault(self.at[id_], []).append(id_)
                self.cancelled.add(id_)
        for id_ in dropped:
            del self.queued[id_]
        expected: list[object] = [ReportCancelled(dropped)] if dropped else []
        assert self.handle(CancelRequested(ids)) == expected + [SendCancel(name, ids) for name, ids in wanted.items()]

    @rule(name=NAMES, block=BLOCKS, by_name=st.booleans(), seldom=SELDOM)
    def hold(self, name: str, block: str, by_name: bool, seldom: bool) -> None:
        if not seldom:
            return
        for other, known in self.managers.items():
            known.shut |= other == name if by_name else known.block == block
        if not by_name:
            self.held_blocks.add(block)
        assert self.handle(HoldRequested([name] if by_name else [], [] if by_name else [block])) == []

    # -- what managers do --------------------------------------------------------------------------------------

    @rule(name=NAMES, block=BLOCKS, workers=st.integers(1, 3), prefetch=st.integers(0, 4), seldom=SELDOM)
    def register(self, name: str, block: str, workers: int, prefetch: int, seldom: bool) -> None:
        again = name in self.managers
        if again and not seldom:
            return
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
        ids = self.own(name)[: data.draw(st.sampled_from([0, 1, 3, 200]))] + ids
        duration_s = data.draw(st.sampled_from([None, 0.0, 0.0, 0.001, 0.004, 0.1])) if ids else None
        known = self.hear(name)
        for id_ in ids:
            if self.at.get(id_) == name:
                del self.at[id_]
        if duration_s is not None and known:
            self.managers[name].note(len(ids), duration_s)
        rest = self.handle(TasksEnded(name, ids, duration_s))
        assert set(map(type, rest)) <= {DismissManager}
        assert known or rest

    def own(self, name: str) -> list[int]:
        return [id_ for id_, place in self.at.items() if place == name]

    @rule(name=NAMES, data=st.data())
    def give_back(self, name: str, data: st.DataObject) -> None:
        """Asked or not: some of its own, and others that it cannot have."""
        ids = self.own(name)[-data.draw(st.integers(1, 4)) :]
        ids += data.draw(st.lists(st.integers(0, self.next_id).filter(lambda id_: id_ not in ids), max_size=1))
        known = self.hear(name)
        crossed = [id_ for id_ in ids if self.at.get(id_) == name and id_ in self.cancelled]
        back = [id_ for id_ in ids if self.at.get(id_) == name and id_ not in self.cancelled]
        self.front -= len(back)
        for place, id_ in enumerate(back):
            self.queued[id_] = (self.priority[id_], self.front + place)
        for id_ in back + crossed:
            del self.at[id_]
        if known:
            self.managers[name].asked = False
        rest = self.handle(TasksReturned(name, ids))
        assert [action for action in rest if isinstance(action, ReportCancelled)] == (
            [ReportCancelled(crossed)] if crossed else []
        )
        assert {type(action) for action in rest} <= {ReportCancelled, DismissManager}
        assert known or rest

    @rule(name=NAMES, seldom=SELDOM)
    def drain(self, name: str, seldom: bool) -> None:
        if name in self.managers and not seldom:
            return
        if self.hear(name):
            self.managers[name].shut = True
        done = name not in self.at.values()
        assert [type(action) for action in self.handle(ManagerDraining(name))] == ([DismissManager] if done else [])

    @rule(name=NAMES, seldom=SELDOM)
    def leave(self, name: str, seldom: bool) -> None:
        if name in self.managers and not seldom:
            return
        known = name in self.managers
        rest = self.handle(ManagerLeft(name, "goodbye"))
        assert [type(action) for action in rest] == ([ReportManagerLost] if known else [])

    @rule(name=NAMES, seldom=SELDOM)
    def disconnect(self, name: str, seldom: bool) -> None:
        if name in self.managers and not seldom:
            return
        if name in self.managers and self.managers[name].closed is None:
            self.managers[name].closed = self.now
        assert self.handle(ManagerDisconnected(name)) == []

    @rule(seconds=st.sampled_from([0.01, REBALANCE_S, REBALANCE_S, REBALANCE_S, 0.1, 0.5, 3.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        over = {
            name
            for name, known in self.managers.items()
            if (known.heard + THRESHOLD_S <= self.now and known.closed is None)
            or (known.closed is not None and known.closed + CLOSED_GRACE_S <= self.now)
        }
        owed = 0 if self.queued else min(self.idle, self.waiting)
        rest = self.handle(DeadlinePassed())
        asked = sum(action.count for action in rest if isinstance(action, AskBack))
        assert asked in ([owed] if seconds >= REBALANCE_S else [0, owed])
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
            if self.queued and known.open:
                beyond = self.count(name) - known.capacity
                assert beyond >= 0, "work waits beside a free slot"
                assert not known.ahead(-1e-9) or beyond >= known.ahead(-1e-9) // 2, "too little is sent ahead"


TestInterchange = InterchangeModel.TestCase
TestInterchange.settings = settings(settings(), max_examples=100, stateful_step_count=50)
