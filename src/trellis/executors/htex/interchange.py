"""Which task is where, between the submit side and the managers. No sockets, clocks or threads here."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from trellis.executors.htex.pending import PendingQueue
from trellis.executors.htex.selection import ReadySet, block_order
from trellis.version import VERSION
from trellis.wire.messages import PROTOCOL_VERSION, Register

# A connection that closes is the end of its manager: what was under way on it is gone, and nobody could tell what
# that was. But messages that came before may still be unread: so long they count before the loss is reported.
CLOSED_GRACE_S = 0.5
_UNKNOWN = "the interchange does not know it (it was given up as lost)"

Selection = Literal["random", "block_id"]

# -- events ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class TasksSubmitted:
    ids: Sequence[int]
    priorities: Sequence[float] | None = None  # lower is sooner


@dataclass(slots=True)
class CancelRequested:
    ids: Sequence[int]


@dataclass(slots=True)
class ManagerRegistered:
    registration: Register


@dataclass(slots=True)
class HeartbeatReceived:
    manager: str


@dataclass(slots=True)
class TasksEnded:
    """A manager reported how these tasks ended, whichever way."""

    manager: str
    ids: Sequence[int]


@dataclass(slots=True)
class ManagerDisconnected:
    manager: str  # its connection closed, or another took its place


@dataclass(slots=True)
class ManagerLeft:
    """A manager said goodbye, or broke the protocol."""

    manager: str
    reason: str


@dataclass(slots=True)
class ManagerDraining:
    manager: str


@dataclass(slots=True)
class HoldRequested:
    managers: Sequence[str]
    blocks: Sequence[str]


@dataclass(slots=True)
class DeadlinePassed:
    pass


Event = (
    TasksSubmitted
    | CancelRequested
    | ManagerRegistered
    | HeartbeatReceived
    | TasksEnded
    | ManagerDisconnected
    | ManagerLeft
    | ManagerDraining
    | HoldRequested
    | DeadlinePassed
)

# -- actions ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class SendTasks:
    manager: str
    ids: list[int]


@dataclass(slots=True)
class SendCancel:
    manager: str
    ids: list[int]


@dataclass(slots=True)
class ReportCancelled:
    ids: list[int]


@dataclass(slots=True)
class WelcomeManager:
    manager: str


@dataclass(slots=True)
class RefuseManager:
    manager: str
    hostname: str
    reason: str
    versions: tuple[str, str] | None = None  # ours and the manager's, when they are the reason


@dataclass(slots=True)
class AnswerHeartbeat:
    manager: str


@dataclass(slots=True)
class DismissManager:
    manager: str
    reason: str


@dataclass(slots=True)
class ReportManagerLost:
    manager: str
    block: str
    hostname: str
    ids: list[int]
    reason: str


Action = (
    SendTasks
    | SendCancel
    | ReportCancelled
    | WelcomeManager
    | RefuseManager
    | AnswerHeartbeat
    | DismissManager
    | ReportManagerLost
)

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

    @property
    def free(self) -> int:
        return 0 if self.held or self.draining or self.closed else self.registration.capacity - len(self.tasks)


class InterchangeState:
    """The machine of the interchange.

    Args:
        heartbeat_threshold_s: a manager that sends nothing for so long is lost.
        selection: which manager gets the next task; ``rng`` is the chance in it.
    """

    def __init__(self, heartbeat_threshold_s: float, selection: Selection, rng: Random) -> None:
        self._threshold_s = heartbeat_threshold_s
        self._selection = selection
        self._rng = rng
        self._queue = PendingQueue()
        self._where: dict[int, str | None] = {}  # every task that has not ended: its manager; None: in the queue
        self._pending = 0
        self._managers: dict[str, Manager] = {}
        self._ready = ReadySet()
        self._silence: list[tuple[float, str]] = []  # heap: look then whether this manager was heard
        self._blocks: dict[str, None] = {}  # of all managers ever, in order of appearance
        self._held_blocks: set[str] = set()
        self._handlers: dict[type, Callable[[Any, float], list[Action]]] = {
            TasksSubmitted: self._on_tasks_submitted,
            CancelRequested: self._on_cancel_requested,
            ManagerRegistered: self._on_manager_registered,
            HeartbeatReceived: self._on_heartbeat,
            TasksEnded: self._on_tasks_ended,
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
        return self._silence[0][0] if self._silence else None

    # -- events ------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Action]:
        return self._handlers[type(event)](event, now)

    def _on_tasks_submitted(self, event: TasksSubmitted, now: float) -> list[Action]:
        self._where.update(dict.fromkeys(event.ids))
        self._pending += len(event.ids)
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
                del self._where[id_]
                self._pending -= 1
                dropped.append(id_)
            else:
                forwarded.setdefault(manager, []).append(id_)
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
                del self._where[id_]
        if not manager.tasks and manager.idle_since is None:
            manager.idle_since = now
        self._update_ready(event.manager)
        return self._dispatch() + self._dismiss_when_drained(event.manager)

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
        self._ready.discard(name)
        for id_ in manager.tasks:
            del self._where[id_]
        registration = manager.registration
        return [ReportManagerLost(name, registration.block, registration.hostname, sorted(manager.tasks), reason)]

    def _update_ready(self, name: str) -> None:
        self._ready.put(name, self._managers[name].free > 0)

    def _dismiss_when_drained(self, name: str) -> list[Action]:
        # Only here it is known that nothing is under way to it: had it left by itself, such tasks would be lost.
        manager = self._managers[name]
        return [DismissManager(name, "it is drained")] if manager.draining and not manager.tasks else []

    def _dispatch(self) -> list[Action]:
        actions: list[Action] = []
        while self._pending and self._ready:
            name = self._choose()
            manager = self._managers[name]
            ids = self._take(manager.free)
            manager.tasks.update(ids)
            manager.idle_since = None
            for id_ in ids:
                self._where[id_] = name
            self._update_ready(name)
            actions.append(SendTasks(name, ids))
        return actions

    def _choose(self) -> str:
        if self._selection == "random":
            return self._ready.pick(self._rng)
        return min(self._ready, key=lambda name: (block_order(self._managers[name].registration.block), name))

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
            assert len(manager.tasks) <= manager.registration.capacity, f"{name} has more tasks than its capacity"
            assert (name in self._ready) == (manager.free > 0), f"{name}: ready is wrong"
            assert (manager.idle_since is None) == bool(manager.tasks), f"{name}: idle_since is wrong"
            assert (manager.look_at, name) in self._silence, f"{name}: nobody watches for its silence"
        assert not (self._pending and self._ready), "work waits beside a free slot"
