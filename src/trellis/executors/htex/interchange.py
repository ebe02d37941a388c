"""Which task is where, between the submit side and the managers. No sockets, clocks or threads here."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from trellis.executors.htex.interchange_events import (
    Action,
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
    RefuseManager,
    ReportCancelled,
    ReportManagerLost,
    SendCancel,
    SendTasks,
    TasksEnded,
    TasksReturned,
    TasksSubmitted,
    WelcomeManager,
)
from trellis.executors.htex.pending import PendingQueue
from trellis.executors.htex.selection import OrderedReadySet, ReadySet, block_order
from trellis.version import VERSION
from trellis.wire.messages import PROTOCOL_VERSION, Register

# A connection that closes is the end of its manager: what was under way on it is gone, and nobody could tell what
# that was. But messages that came before may still be unread: so long they count before the loss is reported.
CLOSED_GRACE_S = 0.5
# While a manager runs what it has, the next results and tasks travel: it may be sent as many tasks beyond its capacity
# as its workers need for this long, going by how long its tasks took, so that tasks shorter than the way to the
# manager and back keep the workers busy; tasks longer than this are never sent ahead.
AHEAD_S = 0.005
MOST_AHEAD_PER_WORKER = 64
# How quickly the estimate of a manager's task durations follows shorter tasks; it follows longer ones at once.
_SMOOTHING = 0.1
# When workers have been idle at one manager for so long while tasks wait at another, they are asked back.
REBALANCE_S = 0.02
_UNKNOWN = "the interchange does not know it (it was given up as lost)"

Selection = Literal["random", "block_id"]

# -- state -----------------------------------------------------------------------------------------------------


def _refusal(registration: Register) -> RefuseManager | None:
    name, hostname, theirs = registration.manager, registration.hostname, registration.trellis_version
    if registration.protocol != PROTOCOL_VERSION:
        return RefuseManager(
            name,
            hostname,
            "it speaks another protocol; use the same Trellis version on both sides",
            (f"Trellis {VERSION}, protocol {PROTOCOL_VERSION}", f"Trellis {theirs}, protocol {registration.protocol}"),
        )
    if registration.workers < 1 or registration.capacity < registration.workers:
        reason = f"it has {registration.workers} workers and capacity {registration.capacity}"
        return RefuseManager(name, hostname, reason)
    return None


@dataclass(slots=True)
class Manager:
    """A manager that was welcomed and is not lost."""

    registration: Register
    last_heard: float
    idle_since: float | None
    tasks: set[int] = field(default_factory=set)
    held: bool = False
    draining: bool = False
    closed: bool = False  # its connection; it is about to be lost
    look_at: float = 0.0  # when to look whether it was heard
    mean_s: float | None = None  # estimate of how long its tasks run
    asked_back: bool = False  # an answer to AskBack is to come

    @property
    def takes_tasks(self) -> bool:
        return not (self.held or self.draining or self.closed)

    @property
    def free(self) -> int:
        """Tasks that it may be sent to fill its capacity."""
        return self.registration.capacity - len(self.tasks) if self.takes_tasks else 0

    @property
    def ahead(self) -> int:
        """Tasks that it may have beyond its capacity."""
        if self.mean_s is None or self.mean_s > AHEAD_S:
            return 0
        per_worker = min(MOST_AHEAD_PER_WORKER, int(AHEAD_S / max(self.mean_s, 1e-9)))
        return per_worker * self.registration.workers

    def note_duration(self, count: int, duration_s: float) -> None:
        mean_s = duration_s / count
        if self.mean_s is None or mean_s > self.mean_s:
            self.mean_s = mean_s
        else:
            self.mean_s += (mean_s - self.mean_s) * (1 - (1 - _SMOOTHING) ** count)


class InterchangeState:
    """The machine of the interchange.

    Args:
        heartbeat_threshold_s: a manager that sends nothing for so long is lost.
        selection: which manager gets the next task; ``rng`` is the chance in it.
    """

    def __init__(self, heartbeat_threshold_s: float, selection: Selection, rng: Random) -> None:
        self._threshold_s = heartbeat_threshold_s
        self._rng = rng
        self._queue = PendingQueue()
        self._where: dict[int, str | None] = {}  # every task that has not ended: its manager; None: in the queue
        self._pending = 0
        self._managers: dict[str, Manager] = {}
        self._priorities: dict[int, float] = {}  # of those tasks that have one
        self._unwanted: set[int] = set()  # tasks at managers that were told to cancel them

        def ready_set() -> ReadySet | OrderedReadySet:
            return ReadySet() if selection == "random" else OrderedReadySet(self._block_order)

        self._ready = ready_set()  # managers below their capacity
        self._eager = ready_set()  # others that may be sent tasks ahead
        self._hungry = ready_set()  # managers with idle workers
        self._loaded = ReadySet()  # managers with tasks that wait, which may be asked for them
        self._rebalance_at: float | None = None
        self._silence: list[tuple[float, str]] = []  # heap: look then whether this manager was heard
        self._blocks: dict[str, None] = {}  # of all managers ever, in order of appearance
        self._held_blocks: set[str] = set()
        self._handlers: dict[type, Callable[[Any, float], list[Action]]] = {
            TasksSubmitted: self._on_tasks_submitted,
            CancelRequested: self._on_cancel_requested,
            ManagerRegistered: self._on_manager_registered,
            HeartbeatReceived: self._on_heartbeat,
            TasksEnded: self._on_tasks_ended,
            TasksReturned: self._on_tasks_returned,
            ManagerDisconnected: self._on_manager_disconnected,
            ManagerLeft: self._on_manager_left,
            ManagerDraining: self._on_manager_draining,
            HoldRequested: self._on_hold_requested,
            DeadlinePassed: self._on_deadline_passed,
        }

    # -- for readers -------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Tasks in the queue."""
        return self._pending

    @property
    def running(self) -> int:
        """Tasks at managers."""
        return len(self._where) - self._pending

    @property
    def managers(self) -> dict[str, Manager]:
        """Managers that are connected; not to be changed."""
        return self._managers

    @property
    def blocks(self) -> list[str]:
        """Blocks of which a manager ever registered."""
        return list(self._blocks)

    def next_deadline(self) -> float | None:
        silence = self._silence[0][0] if self._silence else None
        if self._rebalance_at is None or silence is None:
            return silence
        return min(silence, self._rebalance_at)

    # -- events ------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Action]:
        actions = self._handlers[type(event)](event, now)
        if self._rebalance_at is None and self._hungry and self._loaded and not self._pending:
            self._rebalance_at = now + REBALANCE_S
        return actions

    def _on_tasks_submitted(self, event: TasksSubmitted, now: float) -> list[Action]:
        self._where.update(dict.fromkeys(event.ids))
        self._pending += len(event.ids)
        if event.priorities is not None:
            self._priorities.update((i, p) for i, p in zip(event.ids, event.priorities, strict=True) if p)
        self._queue.push(event.ids, event.priorities)
        return self._dispatch()

    def _on_cancel_requested(self, event: CancelRequested, now: float) -> list[Action]:
        dropped: list[int] = []
        forwarded: dict[str, list[int]] = {}
        for id_ in event.ids:
            if id_ not in self._where:  # it has ended meanwhile
                continue
            manager = self._where[id_]
            if manager is None:
                self._forget(id_)
                self._pending -= 1
                dropped.append(id_)
            else:
                forwarded.setdefault(manager, []).append(id_)
                self._unwanted.add(id_)
        actions: list[Action] = [SendCancel(manager, ids) for manager, ids in forwarded.items()]
        return [ReportCancelled(dropped), *actions] if dropped else actions

    def _on_manager_registered(self, event: ManagerRegistered, now: float) -> list[Action]:
        registration = event.registration
        name = registration.manager
        refusal = _refusal(registration)
        if refusal is not None:
            return [refusal]
        actions: list[Action] = []
        if name in self._managers:
            # Whatever it had before is gone: a manager registers when it starts, and only then.
            actions += self._lose(name, "it registered again")
        self._managers[name] = Manager(registration, now, now, held=registration.block in self._held_blocks)
        self._blocks[registration.block] = None
        self._look_at(name, now + self._threshold_s)
        self._update_ready(name)
        return [*actions, WelcomeManager(name), *self._dispatch()]

    def _on_heartbeat(self, event: HeartbeatReceived, now: float) -> list[Action]:
        if not self._heard(event.manager, now):
            return [DismissManager(event.manager, _UNKNOWN)]
        return [AnswerHeartbeat(event.manager)]

    def _on_tasks_ended(self, event: TasksEnded, now: float) -> list[Action]:
        if not self._heard(event.manager, now):
            return [DismissManager(event.manager, _UNKNOWN)]
        manager = self._managers[event.manager]
        for id_ in event.ids:
            if id_ in manager.tasks:
                manager.tasks.remove(id_)
                self._forget(id_)
        if event.duration_s is not None and event.ids:
            manager.note_duration(len(event.ids), event.duration_s)
        return self._after_tasks_left(event.manager, now)

    def _on_tasks_returned(self, event: TasksReturned, now: float) -> list[Action]:
        if not self._heard(event.manager, now):
            return [DismissManager(event.manager, _UNKNOWN)]
        manager = self._managers[event.manager]
        manager.asked_back = False
        back = [id_ for id_ in event.ids if id_ in manager.tasks]
        manager.tasks.difference_update(back)
        self._where.update(dict.fromkeys(back))
        self._pending += len(back)
        self._queue.push_front(back, [self._priorities.get(id_, 0.0) for id_ in back])
        crossed = [id_ for id_ in back if id_ in self._unwanted]  # by their cancelling, on the way
        return self._on_cancel_requested(CancelRequested(crossed), now) + self._after_tasks_left(event.manager, now)

    def _after_tasks_left(self, name: str, now: float) -> list[Action]:
        manager = self._managers[name]
        if not manager.tasks and manager.idle_since is None:
            manager.idle_since = now
        self._update_ready(name)
        return self._dispatch() + self._dismiss_when_drained(name)

    def _on_manager_disconnected(self, event: ManagerDisconnected, now: float) -> list[Action]:
        manager = self._managers.get(event.manager)
        if manager is not None and not manager.closed:
            manager.closed = True
            self._update_ready(event.manager)
            self._look_at(event.manager, now + CLOSED_GRACE_S)
        return []

    def _on_manager_left(self, event: ManagerLeft, now: float) -> list[Action]:
        return self._lose(event.manager, event.reason) if event.manager in self._managers else []

    def _on_manager_draining(self, event: ManagerDraining, now: float) -> list[Action]:
        if not self._heard(event.manager, now):
            return [DismissManager(event.manager, _UNKNOWN)]
        self._managers[event.manager].draining = True
        self._update_ready(event.manager)
        return self._dismiss_when_drained(event.manager)

    def _on_hold_requested(self, event: HoldRequested, now: float) -> list[Action]:
        self._held_blocks.update(event.blocks)
        for name, manager in self._managers.items():
            if name in event.managers or manager.registration.block in event.blocks:
                manager.held = True
                self._update_ready(name)
        return []

    def _on_deadline_passed(self, event: DeadlinePassed, now: float) -> list[Action]:
        actions: list[Action] = []
        if self._rebalance_at is not None and now >= self._rebalance_at:
            self._rebalance_at = None
            actions += self._rebalance()
        while self._silence and self._silence[0][0] <= now:
            due, name = heapq.heappop(self._silence)
            manager = self._managers.get(name)
            if manager is None or manager.look_at != due:  # looked after by a later entry
                continue
            if manager.closed:
                reason = "its connection closed: it ended or was killed"
            elif manager.last_heard + self._threshold_s > now:
                self._look_at(name, manager.last_heard + self._threshold_s)
                continue
            else:
                reason = f"it sent nothing for {now - manager.last_heard:.0f} s"
            # It may be alive, cut off or back on another connection: what it has is given up, so it must end.
            actions += [*self._lose(name, reason), DismissManager(name, reason)]
        return actions

    # -- common parts ------------------------------------------------------------------------------------------

    def _heard(self, name: str, now: float) -> bool:
        """Note a sign of life; False when the manager is not known."""
        if name not in self._managers:
            return False
        self._managers[name].last_heard = now
        return True

    def _look_at(self, name: str, when: float) -> None:
        self._managers[name].look_at = when
        heapq.heappush(self._silence, (when, name))

    def _lose(self, name: str, reason: str) -> list[Action]:
        manager = self._managers.pop(name)
        for among in (self._ready, self._eager, self._hungry, self._loaded):
            among.discard(name)
        for id_ in manager.tasks:
            self._forget(id_)
        registration = manager.registration
        return [ReportManagerLost(name, registration.block, registration.hostname, sorted(manager.tasks), reason)]

    def _forget(self, id_: int) -> None:
        del self._where[id_]
        if self._priorities:
            self._priorities.pop(id_, None)
        if self._unwanted:
            self._unwanted.discard(id_)

    def _update_ready(self, name: str) -> None:
        manager = self._managers[name]
        tasks, workers, ahead = len(manager.tasks), manager.registration.workers, manager.ahead
        free = manager.free
        self._ready.put(name, free > 0)
        # Not for every single task: half of what may be ahead goes out in one message.
        self._eager.put(name, manager.takes_tasks and free <= 0 and ahead > 0 and -free <= ahead // 2)
        self._hungry.put(name, tasks < workers and manager.takes_tasks)
        self._loaded.put(name, tasks > workers and not manager.asked_back)

    def _dismiss_when_drained(self, name: str) -> list[Action]:
        # Only here it is known that nothing is under way to it: had it left by itself, such tasks would be lost.
        manager = self._managers[name]
        return [DismissManager(name, "it is drained")] if manager.draining and not manager.tasks else []

    def _dispatch(self) -> list[Action]:
        actions: list[Action] = []
        while self._pending and (self._ready or self._eager):
            # Idle workers everywhere first, then free capacity: what is sent there has to wait, and could be asked back
            # only to be sent there again.
            name = (self._hungry or self._ready or self._eager).pick(self._rng)
            manager = self._managers[name]
            if len(self._hungry) > 1:
                most = manager.registration.workers - len(manager.tasks)
            else:
                most = manager.free if manager.free > 0 else manager.ahead + manager.free
            ids = self._take(most)
            manager.tasks.update(ids)
            manager.idle_since = None
            for id_ in ids:
                self._where[id_] = name
            self._update_ready(name)
            actions.append(SendTasks(name, ids))
        return actions

    def _block_order(self, name: str) -> tuple[int, int, str]:
        return block_order(self._managers[name].registration.block)

    def _rebalance(self) -> list[Action]:
        """Ask tasks back that wait at some managers, as many as other managers have idle workers."""
        if self._pending or not self._hungry:
            return []
        idle = sum(self._managers[n].registration.workers - len(self._managers[n].tasks) for n in self._hungry)
        actions: list[Action] = []
        for name in sorted(self._loaded, key=lambda name: -len(self._managers[name].tasks)):
            manager = self._managers[name]
            count = min(idle, len(manager.tasks) - manager.registration.workers)
            manager.asked_back = True
            self._update_ready(name)
            actions.append(AskBack(name, count))
            idle -= count
            if idle <= 0:
                break
        return actions

    def _take(self, most: int) -> list[int]:
        count = min(most, self._pending)
        ids: list[int] = []
        while len(ids) < count:
            id_ = self._queue.pop()
            if id_ in self._where:  # else cancelled
                ids.append(id_)
        self._pending -= count
        return ids

    def check_invariants(self) -> None:
        at_managers = [id_ for manager in self._managers.values() for id_ in manager.tasks]
        assert len(at_managers) == len(set(at_managers)), "a task is at two managers"
        assert set(at_managers) == {id_ for id_, place in self._where.items() if place is not None}, (
            "the managers' tasks and the places of tasks differ"
        )
        assert self._pending == sum(place is None for place in self._where.values()), "the count of pending is wrong"
        for name, manager in self._managers.items():
            most = manager.registration.capacity + MOST_AHEAD_PER_WORKER * manager.registration.workers
            assert len(manager.tasks) <= most, f"{name} has more tasks than it may ever have"
            assert (name in self._ready) == (manager.free > 0), f"{name}: ready is wrong"
            assert (manager.idle_since is None) == bool(manager.tasks), f"{name}: idle_since is wrong"
            assert (manager.look_at, name) in self._silence, f"{name}: nobody watches for its silence"
        assert not (self._pending and self._ready), "work waits beside a free slot"
        assert not (self._pending and self._eager), "work waits beside a manager that may be sent more ahead"
        assert self._priorities.keys() <= self._where.keys(), "priorities are kept of tasks that have ended"
        assert self._unwanted <= set(at_managers), "cancelling is remembered of tasks that are at no manager"
        waits = bool(self._hungry and self._loaded and not self._pending)
        assert not waits or self._rebalance_at is not None, "workers idle while tasks wait, and nobody looks"
