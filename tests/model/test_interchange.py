"""The interchange's machine against a dictionary that says where each task is."""

from __future__ import annotations

from random import Random

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.simulation.simulated_manager import registration
from trellis.executors.common.lookahead import AHEAD_S, MOST_AHEAD_PER_WORKER
from trellis.executors.htex.interchange.events import (
    AnswerHeartbeat,
    AskBack,
    AskToRegister,
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
    SendCheck,
    SendTasks,
    TasksEnded,
    TasksMissing,
    TasksReturned,
    TasksStarted,
    TasksSubmitted,
    TasksWithdrawn,
    WelcomeManager,
    WitnessReported,
)
from trellis.executors.htex.interchange.manager_table import CLOSED_GRACE_S, WITNESS_GRACE_S
from trellis.executors.htex.interchange.state import REBALANCE_S, InterchangeState
from trellis.wire.messages import Register

THRESHOLD_S = 10.0
NAMES = st.sampled_from(["a", "b", "c"])
BLOCKS = st.sampled_from(["0", "1", "2", "3"])
# For what ends something: else nothing would go on for long.
SELDOM = st.sampled_from([False] * 9 + [True])


def hello_of(name: str, block: str, workers: int, prefetch: int) -> Register:
    return registration(name, block, workers, prefetch, witnessed=name == "a")


class Known:
    """What the model knows of a manager."""

    def __init__(self, hello: Register, now: float, shut: bool) -> None:
        self.block = hello.block
        self.workers = hello.workers
        self.capacity = hello.capacity
        self.heard = now
        self.closed: float | None = None
        self.shut = shut  # held or draining: it gets nothing
        self.draining = False
        self.asked = False  # for tasks back, and it has not answered
        self.mean_s: float | None = None
        self.started: set[int] = set()
        self.witnessed = hello.witnessed
        self.unstarted: set[int] | None = None  # as its witness has said
        self.doubtful: set[int] = set()  # at the latest break of its connection
        self.asked_about: set[int] = set()

    @property
    def lost_at(self) -> float:
        """When it is given up, unless it comes back or is heard."""
        if self.closed is None:
            return self.heard + THRESHOLD_S
        return self.closed + (WITNESS_GRACE_S if self.witnessed and self.unstarted is None else CLOSED_GRACE_S)

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
        self.dropped: set[int] = set()  # of those, that came back
        self.managers: dict[str, Known] = {}
        self.departed: set[str] = set()
        self.held_blocks: set[str] = set()
        self.held_managers: set[str] = set()

    @initialize(selection=st.sampled_from(["random", "block_id"]), seed=st.integers(0, 9))
    def start(self, selection: str, seed: int) -> None:
        self.machine = InterchangeState(THRESHOLD_S, selection, Random(seed))  # type: ignore[arg-type]
        for name in "ab":
            self.handle(ManagerRegistered(hello_of(name, "0", workers=2, prefetch=3)))

    def handle(self, event: Event) -> list[object]:
        """Give it the event, and believe nothing that it says before it was compared with the model."""
        rest: list[object] = []
        for action in self.machine.handle(event, self.now):
            match action:
                case SendTasks(name, ids):
                    self.on_sent(name, ids)
                case ReportManagerLost(name, block, hostname, ids, _, requeued):
                    known = self.managers.pop(name)
                    known.started.difference_update(known.unstarted or ())
                    assert (block, hostname) == (known.block, f"host-{name}")
                    here = sorted(self.own(name))
                    assert ids == [id_ for id_ in here if id_ in known.started]
                    back = [id_ for id_ in here if id_ not in known.started]
                    for id_ in ids:
                        del self.at[id_]
                    assert requeued == len(self.requeue(back))
                    self.departed.add(name)
                    rest.append(action)
                case WelcomeManager(name):
                    assert isinstance(event, ManagerRegistered)
                    hello = event.registration
                    if name not in self.managers:
                        shut = hello.block in self.held_blocks or name in self.held_managers
                        self.managers[name] = Known(hello, self.now, shut)
                    self.departed.discard(name)
                    rest.append(action)
                case ReportCancelled(ids):
                    self.dropped.difference_update(ids)
                    rest.append(action)
                case AskBack(name, count) if isinstance(event, DeadlinePassed):
                    known = self.managers[name]
                    assert not known.asked, "it has not answered yet"
                    known.asked = True
                    assert not self.queued
                    assert 0 < count <= min(self.idle, self.count(name) - known.workers)
                    rest.append(action)
                case _:
                    rest.append(action)
        self.machine.check_invariants()
        assert not self.dropped, "cancelled tasks came back, and nobody was told"
        return rest

    def requeue(self, ids: list[int]) -> list[int]:
        """These are back, before others; those that were cancelled meanwhile are dropped."""
        back = [id_ for id_ in ids if id_ not in self.cancelled]
        self.dropped.update(self.cancelled.intersection(ids))
        self.front -= len(back)
        for place, id_ in enumerate(back):
            self.queued[id_] = (self.priority[id_], self.front + place)
        for id_ in ids:
            del self.at[id_]
        return back

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
        (self.held_managers if by_name else self.held_blocks).add(name if by_name else block)
        assert self.handle(HoldRequested([name] if by_name else [], [] if by_name else [block])) == []

    # -- what managers do --------------------------------------------------------------------------------------

    @rule(name=NAMES, block=BLOCKS, workers=st.integers(1, 3), prefetch=st.integers(0, 4), seldom=SELDOM)
    def register(self, name: str, block: str, workers: int, prefetch: int, seldom: bool) -> None:
        again = name in self.managers
        if again and not seldom:
            return
        rest = self.handle(ManagerRegistered(hello_of(name, block, workers, prefetch)))
        expected = [ReportManagerLost, WelcomeManager] if again else [WelcomeManager]
        assert [type(action) for action in rest if not isinstance(action, ReportCancelled)] == expected

    @rule(name=NAMES, data=st.data())
    def come_back(self, name: str, data: st.DataObject) -> None:
        """It holds some of what it should, and sometimes what it should not."""
        if name not in self.managers and name not in self.departed:
            return
        known = self.managers.get(name)
        holding = [id_ for id_ in self.own(name) if data.draw(st.booleans())]
        holding += data.draw(st.lists(st.integers(0, self.next_id).filter(lambda i: i not in holding), max_size=2))
        started = holding[: data.draw(st.integers(0, 3))]
        block, workers, capacity = (known.block, known.workers, known.capacity) if known else ("0", 1, 1)
        hello = hello_of(name, block, workers, capacity - workers)
        hello = msgspec.structs.replace(hello, resumed=True, holding=holding, started=started)
        expected: list[object] = [DismissManager]
        if known is not None:
            known.heard, known.closed, known.asked, known.unstarted = self.now, None, False, None
            check = sorted(id_ for id_ in known.doubtful.intersection(self.own(name)) if id_ not in holding)
            known.doubtful.clear()
            known.asked_about.update(check)
            strangers = [id_ for id_ in holding if id_ not in self.queued and self.at.get(id_) != name]
            for id_ in set(holding).intersection(self.queued):
                del self.queued[id_]
                self.at[id_] = name
            known.started.update(set(started).intersection(self.own(name)))
            cancel = strangers + sorted(self.cancelled.intersection(self.own(name)))
            expected = [WelcomeManager(name)]
            expected += [SendCancel(name, cancel)] if cancel else []
            expected += [SendCheck(name, check)] if check else []
            if known.draining:
                own = self.own(name)
                known.asked = bool(own)
                expected.append(AskBack(name, len(own)) if own else DismissManager(name, "it is drained"))
        rest = self.handle(ManagerRegistered(hello))
        assert (rest if known else [type(action) for action in rest]) == expected

    @rule(name=NAMES, data=st.data())
    def miss(self, name: str, data: st.DataObject) -> None:
        """It was asked, or not, and has never got some of its tasks."""
        ids = [id_ for id_ in self.own(name) if data.draw(st.booleans())]
        known = self.managers.get(name)
        if known is not None:
            self.hear(name)
            missing = [id_ for id_ in ids if id_ in known.asked_about]
            known.asked_about.difference_update(missing)
            known.started.difference_update(missing)
            self.requeue(missing)
        rest = self.handle(TasksMissing(name, ids))
        assert {type(action) for action in rest} <= {ReportCancelled, *self.said_to(name)}

    def said_to(self, name: str) -> set[type]:
        """The answer to a manager that is not known."""
        if name in self.managers:
            return {DismissManager} if not self.own(name) else set()
        return {DismissManager} if name in self.departed else {AskToRegister}

    @rule(name=NAMES, data=st.data())
    def start_tasks(self, name: str, data: st.DataObject) -> None:
        ids = self.own(name)[: data.draw(st.integers(0, 4))]
        ids += data.draw(st.lists(st.integers(0, self.next_id), max_size=1))
        if self.hear(name):
            self.managers[name].started.update(set(ids).intersection(self.own(name)))
        rest = self.handle(TasksStarted(name, ids))
        assert {type(action) for action in rest} == (set() if name in self.managers else self.said_to(name))

    @rule(name=NAMES, data=st.data())
    def withdraw_tasks(self, name: str, data: st.DataObject) -> None:
        ids = self.own(name)[: data.draw(st.integers(0, 4))]
        ids += data.draw(st.lists(st.integers(0, self.next_id), max_size=1))
        if self.hear(name):
            self.managers[name].started.difference_update(ids)
        rest = self.handle(TasksWithdrawn(name, ids))
        assert {type(action) for action in rest} == (set() if name in self.managers else self.said_to(name))

    @rule(name=NAMES, seldom=SELDOM, data=st.data())
    def witness(self, name: str, seldom: bool, data: st.DataObject) -> None:
        """It is dead, and its witness has a part in what was there, or speaks of what was not."""
        known = self.managers.get(name)
        if known is not None and not seldom and known.closed is None:
            return
        running = self.own(name)[: data.draw(st.integers(0, 2))]
        unstarted = [id_ for id_ in self.own(name) if id_ not in running and data.draw(st.booleans())]
        unstarted += data.draw(st.lists(st.integers(0, self.next_id).filter(lambda i: i not in running), max_size=1))
        if known is not None:
            known.started.update(running)
            known.unstarted = set(unstarted)
            known.closed = self.now if known.closed is None else known.closed
        assert self.handle(WitnessReported(name, running, unstarted)) == []

    @rule(name=NAMES)
    def heartbeat(self, name: str) -> None:
        answer = {AnswerHeartbeat} if self.hear(name) else self.said_to(name)
        assert {type(action) for action in self.handle(HeartbeatReceived(name))} == answer

    @rule(name=NAMES, data=st.data())
    def end_tasks(self, name: str, data: st.DataObject) -> None:
        # Its own, and others that it reports late or twice.
        ids = data.draw(st.lists(st.integers(0, self.next_id), min_size=1, max_size=3))
        ids = self.own(name)[: data.draw(st.sampled_from([0, 1, 3, 200]))] + ids
        duration_s = data.draw(st.sampled_from([None, 0.0, 0.0, 0.001, 0.004, 0.1])) if ids else None
        known = self.hear(name)
        elsewhere: dict[str, list[int]] = {}
        for id_ in dict.fromkeys(ids):
            if self.at.get(id_) == name:
                del self.at[id_]
                self.managers[name].started.discard(id_)
            elif id_ in self.queued:
                del self.queued[id_]
            elif id_ in self.at and id_ not in self.cancelled:
                elsewhere.setdefault(self.at[id_], []).append(id_)
                self.cancelled.add(id_)
        if duration_s is not None and known:
            self.managers[name].note(len(ids), duration_s)
        rest = self.handle(TasksEnded(name, ids, duration_s))
        cancels = [action for action in rest if isinstance(action, SendCancel)]
        assert cancels == [SendCancel(other, ids) for other, ids in elsewhere.items()]
        assert {type(action) for action in rest} - {SendCancel} <= self.said_to(name)
        assert known or rest

    def own(self, name: str) -> list[int]:
        return [id_ for id_, place in self.at.items() if place == name]

    @rule(name=NAMES, data=st.data())
    def give_back(self, name: str, data: st.DataObject) -> None:
        """Asked or not: some of its own, and others that it cannot have."""
        ids = self.own(name)[-data.draw(st.integers(1, 4)) :]
        ids += data.draw(st.lists(st.integers(0, self.next_id).filter(lambda id_: id_ not in ids), max_size=1))
        known = self.hear(name)
        if known:
            self.requeue([id_ for id_ in ids if self.at.get(id_) == name])
            self.managers[name].asked = False
            self.managers[name].started.difference_update(ids)
        rest = self.handle(TasksReturned(name, ids))
        assert {type(action) for action in rest} <= {ReportCancelled, *self.said_to(name)}
        assert known or rest

    @rule(name=NAMES, seldom=SELDOM)
    def drain(self, name: str, seldom: bool) -> None:
        if name in self.managers and not seldom:
            return
        known, own = self.hear(name), self.own(name)
        if known:
            self.managers[name].shut = self.managers[name].draining = True
            self.managers[name].asked = bool(own)
        rest = self.handle(ManagerDraining(name))
        if known and own:
            assert rest == [AskBack(name, len(own))]
        else:
            assert {type(action) for action in rest} == self.said_to(name)

    @rule(name=NAMES, seldom=SELDOM)
    def leave(self, name: str, seldom: bool) -> None:
        if name in self.managers and not seldom:
            return
        known = name in self.managers
        rest = self.handle(ManagerLeft(name, "goodbye"))
        kinds = [type(action) for action in rest if not isinstance(action, ReportCancelled)]
        assert kinds == ([ReportManagerLost] if known else [])

    @rule(name=NAMES, seldom=SELDOM)
    def disconnect(self, name: str, seldom: bool) -> None:
        if name in self.managers and not seldom:
            return
        known = self.managers.get(name)
        if known is not None:
            known.closed = self.now if known.closed is None else known.closed
            known.doubtful = set(self.own(name))
            known.asked_about.clear()
        assert self.handle(ManagerDisconnected(name)) == []

    @rule(seconds=st.sampled_from([0.01, REBALANCE_S, REBALANCE_S, REBALANCE_S, 0.1, 0.5, 3.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        over = {name for name, known in self.managers.items() if known.lost_at <= self.now}
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
            assert self.machine.managers[name].started == known.started
            if self.queued and known.open:
                beyond = self.count(name) - known.capacity
                assert beyond >= 0, "work waits beside a free slot"
                assert not known.ahead(-1e-9) or beyond >= known.ahead(-1e-9) // 2, "too little is sent ahead"


TestInterchange = InterchangeModel.TestCase
TestInterchange.settings = settings(settings(), max_examples=100, stateful_step_count=50)
